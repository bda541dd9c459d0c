"""Make the embedded micro student: `python -m pipeline.models.pretrain SENTENCES.tsv.gz`.

A Llama-type model of 2.6 million parameters that can write a chat sentence and copy one, and knows
no joke. It is trained on two-sentence documents in the student's own chat format: the answer is the
next sentence of the dialogue, or (one time in three) the same sentence again. Copying is what makes
it teachable: a model this small never learns to keep the topic of a sentence from a few thousand
jokes alone.

SENTENCES is a gzipped TSV with the columns dialogue, turn, sentence and no header. Beside it only
the bundled train literals are read, and no sentence of the other splits is ever trained on.
"""

import argparse
import csv
import gzip
import json
import math
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from pipeline import project
from pipeline.prompts import render

OUT = project.BUNDLED / "data/students/micro"
TEMPLATE = (
    "{% for message in messages %}{{ ('<|assistant|>' + message.content + '<|end|>') if "
    "message.role == 'assistant' else ('<|user|>' + message.content) }}{% endfor %}{% if "
    "add_generation_prompt %}<|assistant|>{% endif %}"
)
RUDE = re.compile(
    r"\b(\w*fuck\w*|\w*shit\w*|bitch\w*|ass|asses|asshole\w*|bastard\w*|crap\w*|damn\w*|dick\w*|"
    r"piss\w*|slut\w*|whore\w*|cunt\w*|fag\w*|nigg\w*|retard\w*|rape\w*|sex\w*|porn\w*|"
    r"nazi\w*|kill\w*|suicid\w*|murder\w*)\b",
    re.IGNORECASE,
)
"""Words that the student should not learn from strangers."""
COPIED = 1 / 3
"""Share of the sentences whose answer is the sentence again."""
INSTRUCTED = 0.5
"""Share of the sentences that carry the words of prompts/student.j2."""
VOCABULARY = 4096
"""Tokens of a new vocabulary."""
LONGEST = 96
"""Tokens of a document; a longer one is left out."""
HEAD = 32
"""Numbers in an attention head."""
WARMUP = 100
"""Steps in which the learning rate rises."""


def literals(split: str) -> list[str]:
    """The bundled literal sentences of one split."""
    lines = (project.BUNDLED / f"data/literals/{split}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def pairs(path: Path, held_out: set[str]) -> Iterator[tuple[str, str]]:
    """(sentence, next sentence of the same dialogue).

    Rude, very short and very long sentences are left out.
    """
    last_dialogue = ""
    last_text = ""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for dialogue, _turn, text in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            text = " ".join(text.split())
            usable = (
                3 <= len(text.split()) <= 22
                and not RUDE.search(text)
                and text.lower() not in held_out
            )
            if usable and last_text and dialogue == last_dialogue:
                yield last_text, text
            last_dialogue = dialogue
            last_text = text if usable else ""


def train_tokenizer(texts: list[str], vocabulary: int) -> Any:
    """A byte-level BPE of so many tokens, with the chat format's own."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=special,
            initial_alphabet=alphabet,
            min_frequency=2,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=special[2:],
        chat_template=TEMPLATE,
        model_max_length=256,
    )


def document(sentence: str, answer: str, instructed: bool) -> str:
    """One training document in the student's chat format.

    Half of them carry the words of prompts/student.j2.
    """
    content = render("student", literal=sentence) if instructed else sentence
    return f"<|user|>{content}<|assistant|>{answer}<|end|>"


def batches(documents: list[list[int]], size: int, rng: random.Random) -> Iterator[list[list[int]]]:
    """Endless batches of documents of about equal length, in random order."""
    while True:
        order = sorted(range(len(documents)), key=lambda i: (len(documents[i]), rng.random()))
        groups = [order[i : i + size] for i in range(0, len(order) - size + 1, size)]
        rng.shuffle(groups)
        for group in groups:
            yield [documents[i] for i in group]


def sentences(path: Path, rng: random.Random) -> tuple[list[str], list[str]]:
    """The sentences a vocabulary is made of, and the training documents."""
    held_out: set[str] = set()
    for split in ("validation", "test", "ood"):
        held_out.update(text.lower() for text in literals(split))
    train = literals("train")
    chat = list(pairs(path, held_out))
    documents = []
    for sentence, answer in chat:
        copied = rng.random() < COPIED
        instructed = rng.random() < INSTRUCTED
        documents.append(document(sentence, sentence if copied else answer, instructed))
    for text in train:
        for instructed in (True, False):
            documents.append(document(text, text, instructed))
    return [sentence for sentence, _ in chat] + train, documents


def micro(hidden: int, layers: int, tokenizer: Any) -> LlamaForCausalLM:
    """An untrained model of this width and depth."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=hidden * 8 // 3,
            num_hidden_layers=layers,
            num_attention_heads=hidden // HEAD,
            num_key_value_heads=hidden // HEAD,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def optimizers_of(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for embeddings and norms."""
    matrices = []
    rest = []
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and "embed" not in name:
            matrices.append(parameter)
        else:
            rest.append(parameter)
    return [
        torch.optim.Muon(matrices, lr=0.01, weight_decay=0.05, momentum=0.95),
        torch.optim.AdamW(rest, lr=3e-3, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def padded(rows: list[list[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and labels (B, T), padded on the right."""
    width = max(map(len, rows))
    ids_BT = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    return ids_BT, ids_BT.masked_fill(ids_BT == pad, -100)


class Copying:
    """How well a model copies the validation sentences."""

    def __init__(self, tokenizer: Any) -> None:
        copies = [document(text, text, True) for text in literals("validation")]
        self.ids_BT, labels_BT = padded(tokenizer(copies)["input_ids"], tokenizer.pad_token_id)
        mark = tokenizer.convert_tokens_to_ids("<|assistant|>")
        start_B1 = (self.ids_BT == mark).int().argmax(1, keepdim=True)
        place_1T = torch.arange(self.ids_BT.shape[1])[None]
        answer_BT = (place_1T > start_B1) & (labels_BT != -100)
        self.later_BT = answer_BT[:, 1:] & (place_1T[:, :-1] > start_B1)

    @torch.no_grad()
    def share(self, model: LlamaForCausalLM) -> float:
        """Share of the answers' tokens that argmax copies, given the ones before.

        The first token of each answer does not count.
        """
        guess_BT = model(input_ids=self.ids_BT).logits[:, :-1].argmax(-1)
        right_BT = guess_BT == self.ids_BT[:, 1:]
        return float(right_BT[self.later_BT].float().mean())


def rate(step: int, steps: int) -> float:
    """The share of the peak learning rate at a step from 1: a warmup, then a cosine to 0.05."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return min(step / WARMUP, cosine * 0.95 + 0.05)


def train(
    model: LlamaForCausalLM, tokenizer: Any, stream: Iterator[list[list[int]]], steps: int
) -> None:
    """Train on so many batches of token ids."""
    optimizers = optimizers_of(model)
    groups = []
    for optimizer in optimizers:
        groups += optimizer.param_groups
    peaks = [group["lr"] for group in groups]
    copying = Copying(tokenizer)
    started = time.monotonic()
    for step in range(1, steps + 1):
        ids_BT, labels_BT = padded(next(stream), tokenizer.pad_token_id)
        loss = model(input_ids=ids_BT, labels=labels_BT, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group, peak in zip(groups, peaks, strict=True):
            group["lr"] = peak * rate(step, steps)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if step % 100 == 0 or step == steps:
            seconds = time.monotonic() - started
            print(
                f"step {step}/{steps}  loss {loss.item():.3f}  copied {copying.share(model):.3f}  "
                f"{seconds:.0f} s",
                flush=True,
            )


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sentences", type=Path, help="gzipped TSV: dialogue, turn, sentence")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=64, help="documents per step")
    parser.add_argument("--hidden", type=int, default=192, help="width, a multiple of 32")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument(
        "--tokenizer", type=Path, help="take this folder's vocabulary (default: make one)"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Make the micro student, and save it."""
    args = arguments(argv)
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    words, texts = sentences(args.sentences, rng)
    tokenizer: Any
    if args.tokenizer:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(args.tokenizer)
    else:
        tokenizer = train_tokenizer(words, VOCABULARY)
    documents = [ids for ids in tokenizer(texts)["input_ids"] if len(ids) <= LONGEST]
    print(f"{len(documents):,} documents, {sum(map(len, documents)):,} tokens")
    model = micro(args.hidden, args.layers, tokenizer)
    print(f"{model.num_parameters():,} parameters")
    train(model, tokenizer, batches(documents, args.batch, rng), args.steps)
    model = model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, max_new_tokens=64
    )
    model.save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)


if __name__ == "__main__":
    main()
