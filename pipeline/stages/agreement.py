"""agreement: the critic judges pairs that people have judged; how often does it agree with them?

"Small But Funny" (arXiv 2402.18113) chooses its critic so: agreement with people, position bias and length bias.
"""

import json
from collections.abc import Iterator
from typing import Any

from pipeline import ROOT, critique, jsonl, metrics, prompts
from pipeline.config import Agreement, Config
from pipeline.context import Context
from pipeline.endpoint import Endpoint
from pipeline.errors import DataError
from pipeline.progress import Progress
from pipeline.records import Joke, Label, Verdict, content_id, make
from pipeline.runs import LABELS, Step

SECTIONS = ("critic", "agreement")
PROMPTS = prompts.CRITIC


def writes(config: Config, round: int | None) -> type[Verdict]:
    return Verdict


def reads(config: Config, round: int | None) -> dict[str, Step]:
    return {}


def run(context: Context) -> Iterator[Verdict]:
    labels = _labels(context)
    jsonl.write(context.folder / LABELS, labels)
    context.files.append(context.folder / LABELS)
    found: list[Verdict] = []
    with Progress(str(context.step), 2 * len(labels)) as progress:
        for verdict in critique.verdicts(context, progress, _pairs(labels)):
            found.append(verdict)
            yield verdict
    context.facts["agreement"] = metrics.agreement(found, labels)
    for key, value in context.facts["agreement"].items():
        print(f"{key.replace('_', ' ')}: {f'{value:.3f}' if isinstance(value, float) else value}")


def requests(context: Context) -> tuple[Endpoint, Iterator[dict[str, Any]]] | None:
    """The endpoint, and the bodies of every pair; None where nobody is asked."""
    return critique.requests(context.config.critic, _pairs(_labels(context)))


def _labels(context: Context) -> list[Label]:
    """The pairs of agreement.labels; a pair that is there twice counts once, and is dropped."""
    settings = context.config.agreement or Agreement(labels="")
    path = ROOT / settings.labels
    found: dict[str, Label] = {}
    lines = path.read_text("utf-8").split("\n")  # a line of JSON may hold what splitlines would split at
    for number, line in enumerate(lines[: settings.limit], 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            label = _label(str(row[settings.literal_key]), str(row["a"]), str(row["b"]), row["label"])
        except (ValueError, LookupError, TypeError) as error:
            raise DataError(
                f"{path}:{number}: not a pair that people judged ({error!r}). It needs the keys a, b, label (a or b) "
                f"and {settings.literal_key} (agreement.literal_key)."
            ) from None
        if label.id in found:
            context.drop(label.literal_id, label.literal_id, "same pair twice", line)
        found.setdefault(label.id, label)
    return list(found.values())


def _label(literal: str, a: str, b: str, label: Any) -> Label:
    literal_id = content_id("l", literal)
    one, other = (content_id("j", literal_id, "people", 0, text) for text in (a, b))
    return make(Label, literal_id=literal_id, literal=literal, a=one, b=other, a_text=a, b_text=b, label=label)


def _pairs(labels: list[Label]) -> list[tuple[Joke, Joke]]:
    def joke(label: Label, text: str) -> Joke:
        about = {"literal_id": label.literal_id, "literal": label.literal, "author": "people"}
        return make(Joke, **about, text=text, index=0, call=None)

    return [(joke(label, label.a_text), joke(label, label.b_text)) for label in labels]
