"""A little judge: the student, taught the form of a verdict in a minute.

`python -m tests.bench.judge STUDENT OUT JOKES STEPS` trains an exported student on the judging
prompt of pairs of JOKES (joke rows), in free text and in JSON by turns, to prefer the shorter joke,
and writes OUT, a folder like STUDENT. It learns the form, and hardly what it says: its verdicts
mean nothing, but they are verdicts.
"""

import json
import random
import shutil
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

from pipeline.prompts import render
from pipeline.rows import jsonl
from pipeline.rows.records import Joke

BATCH = 8
REASON = "it is shorter."


def main() -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    student, out, jokes, steps = sys.argv[1:]
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(student)
    model = AutoModelForCausalLM.from_pretrained(student)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    examples = shuffled(jsonl.load(Path(jokes), Joke))
    for step in range(int(steps)):
        batch = []
        for number in range(BATCH):
            place = step * BATCH + number
            first, second = examples[place % len(examples)]
            batch.append(encoded(tokenizer, first, second, in_json=number % 2 == 0))
        loss = model(**padded(batch)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    shutil.copytree(student, out)
    model.save_pretrained(out)
    print(f"a judge: loss {loss.item():.3f} after {steps} steps")


def shuffled(jokes: list[Joke]) -> list[tuple[Joke, Joke]]:
    """Different jokes about one literal, in both orders."""
    pairs = []
    for a, b in combinations(jokes, 2):
        if a.literal_id == b.literal_id and len(a.text) != len(b.text):
            pairs += [(a, b), (b, a)]
    random.Random(0).shuffle(pairs)
    return pairs


def encoded(
    tokenizer: Any, first: Joke, second: Joke, in_json: bool
) -> tuple[list[int], list[int]]:
    """Token ids of a judging prompt with its verdict, and the labels, which are the verdict's."""
    values = {"literal": first.literal, "first": first.text, "second": second.text}
    values |= {"aspect": "overall"}
    answer = "1" if len(first.text) < len(second.text) else "2"
    verdict = f"Reason: {REASON}\nAnswer: {answer}"
    if in_json:
        values["json"] = True
        verdict = json.dumps({"reason": REASON, "answer": answer})
    message = [{"role": "user", "content": render("critic", **values)}]
    prompt = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    asked = tokenizer(prompt)["input_ids"]
    given = tokenizer(verdict + tokenizer.eos_token)["input_ids"]
    return asked + given, [-100] * len(asked) + given


def padded(batch: list[tuple[list[int], list[int]]]) -> dict[str, Any]:
    """Rows of one length: (B, T)."""
    import torch

    width = max(len(ids) for ids, _ in batch)
    ids_BT = torch.zeros(len(batch), width, dtype=torch.long)
    labels_BT = torch.full((len(batch), width), -100)
    mask_BT = torch.zeros(len(batch), width, dtype=torch.long)
    for row, (ids, labels) in enumerate(batch):
        ids_BT[row, : len(ids)] = torch.tensor(ids)
        labels_BT[row, : len(ids)] = torch.tensor(labels)
        mask_BT[row, : len(ids)] = 1
    return {"input_ids": ids_BT, "labels": labels_BT, "attention_mask": mask_BT}


if __name__ == "__main__":
    main()
