"""agreement: the critic judges pairs that people have judged; how often does it agree with them?

"Small But Funny" (arXiv 2402.18113) chooses its critic so: agreement with people, position bias and
length bias.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from pipeline import encoding, project
from pipeline import prompts as templates
from pipeline.config.whole import Agreement, Config
from pipeline.errors import DataError
from pipeline.execution.context import Context
from pipeline.execution.stage import Requests
from pipeline.judging import critic, metrics, tally
from pipeline.judging.verdict import Pair
from pipeline.progress import Progress
from pipeline.rows import jsonl
from pipeline.rows.records import Joke, Label, Verdict
from pipeline.rows.row import Row, content_id, make, writable
from pipeline.runs.files import LABELS
from pipeline.runs.step import Step

VERSION = 4


def sections(config: Config, round: int | None) -> Sequence[str]:
    return ("critic", "agreement")


def prompts(config: Config, round: int | None) -> Sequence[str]:
    return templates.CRITIC


def writes(config: Config, round: int | None) -> type[Row]:
    return Verdict


def reads(config: Config, round: int | None) -> dict[str, Step]:
    return {}


def requests(context: Context) -> Requests | None:
    """The bodies of every pair; None where nobody is asked."""
    return critic.requests(context.config.critic, _pairs(_labels(context)))


def run(context: Context) -> Iterator[Verdict]:
    labels = _labels(context)
    jsonl.write(context.folder / LABELS, labels)
    context.files.append(context.folder / LABELS)
    verdicts: list[Verdict] = []
    with Progress(str(context.step), 2 * len(labels), "calls") as progress:
        judged = critic.verdicts(context, progress, _pairs(labels))
        for verdict in tally.counted(context, context.config.critic, judged):
            verdicts.append(verdict)
            yield verdict
    figures = metrics.agreement(verdicts, labels)
    context.facts["agreement"] = figures
    for key, value in figures.items():
        shown = f"{value:.3f}" if isinstance(value, float) else value
        print(f"{key.replace('_', ' ')}: {shown}")


def _labels(context: Context) -> list[Label]:
    """The pairs of agreement.labels; a pair that is there twice counts once, and is dropped."""
    settings = context.config.agreement or Agreement(labels="")
    path = project.path(settings.labels)
    labels: dict[str, Label] = {}
    for number, line in enumerate(islice(encoding.lines(path), settings.limit), 1):
        if not line.strip():
            continue
        try:
            label = _label(*_texts(line, settings.literal_key))
        except ValueError as error:
            raise DataError(
                f"{path}:{number}: not a pair that people judged: {error}. It needs the texts a, b "
                f"and {settings.literal_key} (agreement.literal_key), and label, which is a or b."
            ) from None
        if label.id in labels:
            context.drop(label.literal_id, label.literal_id, "same pair twice", line.rstrip("\r\n"))
        labels.setdefault(label.id, label)
    return list(labels.values())


def _texts(line: str, literal_key: str) -> tuple[str, str, str, Any]:
    """The literal, both jokes and what was preferred; ValueError where a line lacks one."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} (column {error.colno})") from None
    except (ValueError, RecursionError):
        raise ValueError("a number too long, or too many brackets, to read") from None
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    for key in (literal_key, "a", "b"):
        if not isinstance(row.get(key), str):
            raise ValueError(f"{key} is {'no text' if key in row else 'missing'}")
    if not writable(row[literal_key] + row["a"] + row["b"]):
        raise ValueError("not Unicode text")
    if row.get("label") not in ("a", "b"):
        raise ValueError("label is neither a nor b")
    return row[literal_key], row["a"], row["b"], row["label"]


def _label(literal: str, a: str, b: str, preferred: Any) -> Label:
    """The jokes' ids are those that `_joke` gives them."""
    literal_id = content_id("l", literal)
    return make(
        Label,
        literal_id=literal_id,
        literal=literal,
        a=_joke(literal_id, literal, a).id,
        b=_joke(literal_id, literal, b).id,
        a_text=a,
        b_text=b,
        label=preferred,
    )


def _pairs(labels: list[Label]) -> list[Pair]:
    pairs = []
    for label in labels:
        a = _joke(label.literal_id, label.literal, label.a_text)
        b = _joke(label.literal_id, label.literal, label.b_text)
        pairs.append((a, b))
    return pairs


def _joke(literal_id: str, literal: str, text: str) -> Joke:
    return make(
        Joke, literal_id=literal_id, literal=literal, text=text, author="people", index=0, call=None
    )
