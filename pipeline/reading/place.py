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
    tie_bands: dict[tuple[str, str | None], float]
    """By role and judge's name; None for the role's own."""
    file: str = ""
    faults: list[str] = field(default_factory=list)
    otherwise: list[tuple[frozenset[str], str]] = field(default_factory=list)
    """What today's rules would have made otherwise of the same answers or rows: a fault, unless one
    of the rules named, as recipes name them, has changed since."""
    reasons: Counter[str] = field(default_factory=Counter)
    learned: set[str] = field(default_factory=set)
    """Preferences and rankings."""
    prompts: set[str] = field(default_factory=set)
    """The literals of llmr's prompts."""
    subjects: set[str] = field(default_factory=set)
    """What the reward model learned from pairs about."""
    margins: set[str] = field(default_factory=set)
    judged: dict[tuple[str, str, str], list[Judged]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """The judges' verdicts by split, aspect and contestant."""
    sets: dict[tuple[str, str], list[tuple[str | None, str, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """Who judged sets, their first answers and scores, by split and contestant."""
    probes: dict[str, list[Probe]] = field(default_factory=lambda: defaultdict(list))
    """By judge."""
    figured: set[str] = field(default_factory=set)
    """The judges that figures name."""

    def tie_band(self, role: str, judge: str | None) -> float:
        """A judge's; the role's where the recipe has not this name."""
        return self.tie_bands.get((role, judge), self.tie_bands[role, None])

    def judges(self) -> set[str]:
        """Those whose verdicts there are, and all together where there are several."""
        named = {one.judge for own in self.judged.values() for one in own} - {None}
        return {name for name in named if name} | ({POOLED} if len(named) > 1 else set())

    def of(self, row: Metric, contestant: str) -> list[Judged]:
        """The verdicts that a figure is of."""
        judged = self.judged.get((row.split, row.aspect, contestant), [])
        return [one for one in judged if is_by(one.judge, row)]


def is_by(judge: str | None, row: Metric) -> bool:
    """Whether a verdict's judge is the one of a figure, or one of them."""
    return judge is None or row.judge in (POOLED, judge)
