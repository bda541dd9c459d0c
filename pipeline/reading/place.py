"""What the rows of a step under examination say of each other. For verify."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.config.judging import recorded_judges
from pipeline.judging import devices, metrics
from pipeline.rows.card import Probe
from pipeline.rows.records import Metric
from pipeline.runs.manifest import Recipe
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


def tie_bands(recipe: Recipe) -> dict[tuple[str, str | None], float]:
    """By role, and by the name of each judge."""
    sections: dict[tuple[str, str | None], Any] = {}
    for role in ("critic", "judge"):
        sections[role, None] = recipe.get(role, {})
    for name, section in recorded_judges(recipe):
        sections["judge", name] = section
    return {key: float(section.get("tie_band", 0.0)) for key, section in sections.items()}


def credits(judged: Sequence[Judged]) -> dict[str, float]:
    """The contestant's by literal."""
    return metrics.by_literal(
        (one.literal_id, one.score) for one in judged if one.score is not None
    )


def fresh_credits(judged: Sequence[Judged]) -> dict[str, float]:
    """The same, each answer's weighed by how fresh it is."""
    weights = devices.freshness([one.answer for one in judged], [one.teachers for one in judged])
    weighed = []
    for one, weight in zip(judged, weights, strict=True):
        if one.score is not None:
            weighed.append((one.literal_id, one.score * weight))
    return metrics.by_literal(weighed)
