"""Make the embedded micro student: `python -m pipeline.pretrain SENTENCES.tsv.gz`.

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

from pipeline import ROOT
from pipeline.prompts import render

OUT = ROOT / "data/students/micro"
TEMPLATE = (
    "{% for message in messages %}"
    "{{ ('<|assistant|>' + message.content + '<|end|>') if message.role == 'assistant' "
    "else ('<|user|>' + message.content) }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
RUDE = re.compile(
    r"\b(\w*fuck\w*|\w*shit\w*|bitch\w*|ass|asses|asshole\w*|bastard\w*|crap\w*|damn\w*|dick\w*|piss\w*|slut\w*|"
    r"whore\w*|cunt\w*|fag\w*|nigg\w*|retard\w*|rape\w*|sex\w*|porn\w*|nazi\w*|kill\w*|suicid\w*|murder\w*)\b",
    re.IGNORECASE,
)


def literals(split: str) -> list[str]:
    """The bundled literal sentences of one split."""
    lines = (ROOT / f"data/literals/{split}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def pairs(path: Path, held_out: set[str]) -> Iterator[tuple[str, str]]:
    """(sentence, next sentence of the same dialogue); rude, very short and very long sentences are
    left out."""
    last_dialogue, last_text = "", ""
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
            last_dialogue, last_text = dialogue, text if usable else ""


def train_tokenizer(texts: list[str], vocabulary: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

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
    """One training document in the student's chat format; half of them carry the words of
    prompts/student.j2."""
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


def main(argv: list[str] | None = None) -> None:
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
    args = parser.parse_args(argv)

    import torch
    from transformers import (
        GenerationConfig,
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
    )

    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    held_out = {text.lower() for split in ("validation", "test", "ood") for text in literals(split)}
    train = literals("train")
    chat = list(pairs(args.sentences, held_out))
    tokenizer = (
        PreTrainedTokenizerFast.from_pretrained(args.tokenizer)
        if args.tokenizer
        else train_tokenizer([text for text, _ in chat] + train, 4096)
    )
    texts = [
        document(sentence, sentence if rng.random() < 1 / 3 else answer, rng.random() < 0.5)
        for sentence, answer in chat
    ] + [document(text, text, instructed) for text in train for instructed in (True, False)]
    documents = [ids for ids in tokenizer(texts)["input_ids"] if len(ids) <= 96]
    print(f"{len(documents):,} documents, {sum(map(len, documents)):,} tokens")

    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=args.hidden,
            intermediate_size=args.hidden * 8 // 3,
            num_hidden_layers=args.layers,
            num_attention_heads=args.hidden // 32,
            num_key_value_heads=args.hidden // 32,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    print(f"{model.num_parameters():,} parameters")
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    optimizers = [
        torch.optim.Muon(matrices, lr=0.01, weight_decay=0.05, momentum=0.95),
        torch.optim.AdamW(rest, lr=3e-3, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    peaks = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]

    def pad(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(map(len, rows))
        ids = torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row in rows])
        return ids, ids.masked_fill(ids == tokenizer.pad_token_id, -100)

    copies = [document(text, text, True) for text in literals("validation")]
    copy_ids, copy_labels = pad(tokenizer(copies)["input_ids"])
    answer_start = (
        (copy_ids == tokenizer.convert_tokens_to_ids("<|assistant|>")).int().argmax(1, keepdim=True)
    )
    answers = (torch.arange(copy_ids.shape[1])[None] > answer_start) & (copy_labels != -100)

    @torch.no_grad()
    def copied() -> float:
        """Share of the tokens after the first of each answer that argmax copies, given the ones
        before."""
        guess = model(input_ids=copy_ids).logits[:, :-1].argmax(-1)
        later = answers[:, 1:] & (torch.arange(copy_ids.shape[1] - 1)[None] > answer_start)
        return float((guess == copy_ids[:, 1:])[later].float().mean())

    started = time.monotonic()
    warmup, stream = 100, batches(documents, args.batch, rng)
    for step in range(1, args.steps + 1):
        ids, labels = pad(next(stream))
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scale = min(step / warmup, 0.5 * (1 + math.cos(math.pi * step / args.steps)) * 0.95 + 0.05)
        groups = (group for optimizer in optimizers for group in optimizer.param_groups)
        for group, peak in zip(groups, peaks, strict=True):
            group["lr"] = peak * scale
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if step % 100 == 0 or step == args.steps:
            seconds = time.monotonic() - started
            print(
                f"step {step}/{args.steps}  loss {loss.item():.3f}  copied {copied():.3f}  "
                f"{seconds:.0f} s",
                flush=True,
            )

    model = model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, max_new_tokens=64
    )
    model.save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)


if __name__ == "__main__":
    main()
