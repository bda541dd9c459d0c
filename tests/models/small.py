"""Small models of several architectures with the micro student's vocabulary, made at random."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoTokenizer,
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertModel,
    BertTokenizerFast,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from tests import ROOT

MICRO = ROOT / "data/students/micro"


def tokenizer(ends: bool = True) -> PreTrainedTokenizerFast:
    """The micro student's vocabulary; with `ends`, every text ends in eos, as BART's and T5's
    do."""
    found = AutoTokenizer.from_pretrained(MICRO)
    made = PreTrainedTokenizerFast(
        tokenizer_object=found._tokenizer, pad_token="<|pad|>", eos_token="<|end|>"
    )
    if ends:
        special = [("<|end|>", made.eos_token_id)]
        made._tokenizer.post_processor = TemplateProcessing(
            single="$A <|end|>", special_tokens=special
        )
    return made


def _saved(model, words, folder: Path) -> Path:
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def bart(folder: Path, size: int = 64) -> Path:
    """BART's architecture, with its dropout and its start token, eos."""
    words = tokenizer()
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=len(words),
        d_model=size,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=2 * size,
        decoder_ffn_dim=2 * size,
        max_position_embeddings=256,
        pad_token_id=words.pad_token_id,
        bos_token_id=words.eos_token_id,
        eos_token_id=words.eos_token_id,
        decoder_start_token_id=words.eos_token_id,
        forced_eos_token_id=words.eos_token_id,
    )
    return _saved(BartForConditionalGeneration(config), words, folder)


def t5(folder: Path, size: int = 64) -> Path:
    """T5's architecture: relative positions, pad as the start token."""
    words = tokenizer()
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(words),
        d_model=size,
        d_kv=size // 4,
        d_ff=2 * size,
        num_layers=2,
        num_heads=4,
        pad_token_id=words.pad_token_id,
        eos_token_id=words.eos_token_id,
        decoder_start_token_id=words.pad_token_id,
    )
    return _saved(T5ForConditionalGeneration(config), words, folder)


def qwen2(folder: Path) -> Path:
    """Qwen2's architecture with the micro student's chat template."""
    words = AutoTokenizer.from_pretrained(MICRO)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    return _saved(Qwen2ForCausalLM(config), words, folder)


def bert(folder: Path) -> Path:
    """MiniLM's architecture with a vocabulary of letters."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    inside = [f"##{letter}" for letter in letters]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *".,'!", *inside]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    return _saved(BertModel(config), BertTokenizerFast(str(folder / "vocab.txt")), folder)


def tiny(folder: Path, kind: str) -> Path:
    """A Llama or T5 of a vocabulary of seven words."""
    words = {"<pad>": 0, "<eos>": 1, "<unk>": 2, "a": 3, "b": 4, "c": 5, "d": 6}
    made = Tokenizer(WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    ids = {"vocab_size": len(words), "pad_token_id": 0, "eos_token_id": 1}
    torch.manual_seed(0)
    if kind == "t5":
        sizes = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}
        return _saved(
            T5ForConditionalGeneration(T5Config(**ids, **sizes, decoder_start_token_id=0)),
            fast,
            folder,
        )
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    return _saved(LlamaForCausalLM(LlamaConfig(**ids, **sizes, bos_token_id=None)), fast, folder)
