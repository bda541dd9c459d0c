"""The student's samples beside a batched `model.generate` of the same rows: `make bench-sampling`.

Both write as many rows to the same prompts in the same process, alternating; tokens are those of
the answers up to their end, per second of wall time.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from pipeline import project
from pipeline.config.file import load, validate
from pipeline.models import decoding, student, student_prompt
from pipeline.rows import jsonl
from pipeline.rows.records import LiteralText

K = 6
"""Candidates for each sentence."""


def ours(model: Any, tokenizer: Any, config: Any, texts: Sequence[str], batch: int) -> int:
    """Tokens written, as the sample stage writes them."""
    ids = tokenizer(list(texts))["input_ids"]
    written: list[list[int]] = []
    for start in range(0, len(ids), batch):
        part = ids[start : start + batch]
        seeds = range(start, start + len(part))
        written += decoding.write(model, tokenizer, part, config.sample, seeds)
    return sum(map(len, written))


def bare(model: Any, tokenizer: Any, config: Any, texts: Sequence[str], batch: int) -> int:
    """Tokens written by transformers' own loop, in batches of the same rows."""
    torch.manual_seed(0)
    stops = student_prompt.stop_tokens(model, tokenizer)
    settings = GenerationConfig(
        do_sample=True,
        temperature=config.sample.temperature,
        top_p=config.sample.top_p,
        top_k=0,
        max_new_tokens=config.sample.max_new_tokens,
        eos_token_id=stops,
        pad_token_id=tokenizer.pad_token_id,
    )
    tokens = 0
    for start in range(0, len(texts), batch):
        inputs = tokenizer(list(texts[start : start + batch]), return_tensors="pt", padding=True)
        with torch.no_grad():
            out = model.generate(**inputs.to(model.device), generation_config=settings)
        for row in out[:, inputs["input_ids"].shape[1] :].tolist():
            tokens += len(decoding.up_to_stop(row, stops))
    return tokens


def main() -> None:
    parser = argparse.ArgumentParser(description="Sampling beside model.generate.")
    parser.add_argument("--rows", type=int, default=192)
    parser.add_argument("--batch", type=int, help="rows at a time; all of them")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--student", type=Path, help="a folder of weights; the micro student's")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    args = parser.parse_args()
    path = project.path("configs/demo.toml")
    config = validate({**load(path), "runtime": {"device": args.device}}, str(path))
    batch = args.batch or args.rows
    tokenizer = student.load_tokenizer(config)
    model = student.load(config, args.student)
    literals = jsonl.load(project.path("data/literals/train.jsonl"), LiteralText)
    prompts = [student_prompt.prompt(tokenizer, literal.text) for literal in literals]
    chosen = sorted(prompts[: -(-args.rows // K)], key=len)
    texts = [text for text in chosen for _ in range(K)][: args.rows]
    rates: dict[str, list[float]] = {"model.generate": [], "humor-distill": []}
    for _ in range(args.times + 1):
        for name, write in (("model.generate", bare), ("humor-distill", ours)):
            start = time.perf_counter()
            tokens = write(model, tokenizer, config, texts, batch)  # on the CPU by now
            rates[name].append(tokens / (time.perf_counter() - start))
    print(
        f"{args.rows} rows, {batch} at a time, on {model.device}, {torch.get_num_threads()} threads"
    )
    for name, each in rates.items():
        print(f"{name:<16} {statistics.median(each[1:]):8.0f} tokens/s")
    theirs, own = rates.values()
    ratios = [left / right for left, right in zip(own[1:], theirs[1:], strict=True)]
    print(
        f"ratio {statistics.median(ratios):.2f} (of {args.times} pairs {min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
