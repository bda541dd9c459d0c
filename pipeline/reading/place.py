"""What the rows of a step under examination say of each other. For verify."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pipeline.judging import devices
from pipeline.rows.card import Probe
from pipeline.rows.records import Metric
from pipeline.vocabulary import POOLED


class Judged(NamedTuple):
    """What figures need of a verdict of a judge's."""

    judge: str | None
    """None of a run before judges had names, which had one."""
    literal_id: str
    outcome: str
    score: float | None
    answer: devices.Answer
    teachers: devices.Answer


@dataclass
class Place:
    """The step under examination, and what its own files say of each other."""

    folder: Path
    tie_bands: dict[str, float]
    file: str = ""
    faults: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    learned: set[str] = field(default_factory=set)
    """Preferences and rankings."""
    prompts: set[str] = field(default_factory=set)
    """The literals of llmr's prompts."""
    margins: set[str] = field(default_factory=set)
    judged: dict[tuple[str, str, str], list[Judged]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """The judges' verdicts by split, aspect and contestant."""
    sets: dict[tuple[str, str], list[tuple[str | None, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """Who judged sets, and their scores, by split and contestant."""
    probes: dict[tuple[str, str], list[Probe]] = field(default_factory=lambda: defaultdict(list))
    """By judge and what they are for."""

    def tie_band(self, judge: str) -> float:
        """Of a judge's name, or of a role; a name that the recipe has not is the judge's."""
        return self.tie_bands.get(judge, self.tie_bands["judge"])

    def of(self, row: Metric, contestant: str) -> list[Judged]:
        """The verdicts that a figure is of."""
        judged = self.judged.get((row.split, row.aspect, contestant), [])
        return [one for one in judged if is_by(one.judge, row)]


def is_by(judge: str | None, row: Metric) -> bool:
    """Whether a verdict's judge is the one of a figure, or one of them."""
    return judge is None or row.judge in (POOLED, judge)
