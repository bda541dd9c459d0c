"""The names of a step's files, and JSON files that are whole or not there."""

import json
import os
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.writing import new_file

RECORDS = "records.jsonl"
"""A step's rows."""
MANIFEST = "manifest.json"
"""Written last: where it is, the step is complete."""
DROPPED = "dropped.jsonl"
"""What was left out, row by row with the reason."""
FAILED = "failed.jsonl"
"""The requests that no attempt could get answered, with all attempts."""
SETTINGS = "config.json"
"""In a run's folder: the configuration that it last ran with."""
REPORT = "report.html"
"""In a run's folder: its report, where it was not put elsewhere."""
LOCK = ".lock"
"""Held, and empty, while a step is made."""

STARTED = "started.json"
"""The recipe of an attempt that is not complete."""
PARTIAL = "records.jsonl.partial"
"""The rows of the attempt under way."""
KEPT = "records.jsonl.kept"
"""The rows of interrupted attempts before it."""
DROPS = "dropped.jsonl.partial"
"""What the attempt under way has left out so far."""
BEFORE = ".before"
"""What --force replaces, until the new manifest is written."""

HELD_OUT = "validation.jsonl"
"""The rows that a training holds out."""
CHECKPOINTS = "checkpoints"
"""A training's checkpoints, until it is complete."""
WEIGHTS = "weights"
"""What was trained: a model's folder, or an adapter's."""
PROGRAMS = "programs.partial"
"""What programs that a step starts need, until they have ended."""
CURVE = "curve.jsonl"
"""What a training logged."""
MARGINS = "margins.jsonl"
"""What dpo did to each pair."""
ROLLOUTS = "rollouts.jsonl"
"""What llmr's student wrote, step by step."""

ANSWERS = "answers.jsonl"
"""What the contestants answered."""
SETS = "sets.jsonl"
"""The judge's verdicts on several answers at a time."""
FLAGS = "flags.jsonl"
"""What [guards] flags."""
METRICS = "metrics.jsonl"
"""evaluate's figures."""
CANDIDATES = "candidates.jsonl"
"""What best-of-N chose from."""
SELECTION = "selection.jsonl"
"""The critic's verdicts by which best-of-N chose, or a retriever's scores were made."""
INDEX = "index.faiss"
"""A retriever's vectors, which it searches."""
LABELS = "labels.jsonl"
"""What people preferred."""
CONTROLS = "controls.jsonl"
"""The texts that a judge is tried on, where no earlier step has them."""
CARD = "card.jsonl"
"""A judge's card."""


def read_json(path: Path) -> Any:
    """The JSON of a machine-written file.

    None where there is no file, DataError where it is no JSON.
    """
    if not path.is_file() and os.path.lexists(path) and path.exists():
        raise DataError(f"{path}: no file, though something of this name is there. Remove it.")
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}). Delete it and run its stage again.") from None


def write_json(path: Path, data: Any) -> None:
    """By atomic rename, so that the file is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as file:
        file.write(as_written(data))


def as_written(data: Any) -> bytes:
    """The bytes of a JSON file of ours: others may say the same, but no one here wrote them."""
    return json.dumps(data, ensure_ascii=False, indent=1).encode() + b"\n"
