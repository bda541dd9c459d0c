"""A Llama-like checkpoint of transformers as the GGUF file that llama.cpp reads.

It is for what is exported of the bundled student: weights in full precision, and a byte-level BPE
tokenizer with GPT-2's pattern. `python -m tests.bench.to_gguf FOLDER FILE CONTEXT`, in an environment
with gguf, writes the file and reads it again; other models want llama.cpp's own converter. llama.cpp
gives no request more than CONTEXT tokens.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
from gguf import (
    MODEL_ARCH,
    GGUFReader,
    GGUFWriter,
    LlamaFileType,
    TokenType,
    get_tensor_name_map,
)
from safetensors.numpy import load_file


def main() -> None:
    folder = Path(sys.argv[1])
    target = Path(sys.argv[2])
    config = json.loads((folder / "config.json").read_text())
    config["max_position_embeddings"] = int(sys.argv[3])
    tensors = dict(renamed(load_file(folder / "model.safetensors"), config))
    write(folder, config, tensors, target)
    read = {tensor.name: tensor.data for tensor in GGUFReader(target).tensors}
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype, name
        assert numpy.array_equal(read[name], tensor), name
    print(f"{len(read)} tensors re-read exactly", flush=True)


def renamed(
    weights: dict[str, numpy.ndarray], config: dict[str, Any]
) -> Iterator[tuple[str, numpy.ndarray]]:
    """The tensors under llama.cpp's names, the queries' and keys' rows in its order."""
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, tensor in weights.items():
        heads = None
        if name.endswith("q_proj.weight"):
            heads = config["num_attention_heads"]
        if name.endswith("k_proj.weight"):
            heads = config["num_key_value_heads"]
        if heads:
            tensor = interleaved(tensor, heads)
        yield names.get_name(name, try_suffixes=(".weight",)), tensor.astype(numpy.float32)


def interleaved(weight: numpy.ndarray, heads: int) -> numpy.ndarray:
    """Rows in the order of llama.cpp's rotary positions.

    transformers turns row i of a head with row i + half, llama.cpp neighbours.
    """
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, weight.shape[1])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def write(
    folder: Path, config: dict[str, Any], tensors: dict[str, numpy.ndarray], target: Path
) -> None:
    writer = GGUFWriter(target, "llama")
    writer.add_name(folder.name)
    writer.add_file_type(LlamaFileType.ALL_F32)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    add_tokenizer(writer, folder, config)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer: GGUFWriter, folder: Path, config: dict[str, Any]) -> None:
    """The words, how they are joined, and the chat template."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    special = {token["content"] for token in tokenizer["added_tokens"]}
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    assert [vocabulary[token] for token in tokens] == list(range(config["vocab_size"]))
    kinds = []
    for token in tokens:
        kinds.append(TokenType.CONTROL if token in special else TokenType.NORMAL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template((folder / "chat_template.jinja").read_text("utf-8"))


if __name__ == "__main__":
    main()
