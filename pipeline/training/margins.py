"""What learning did to each preference or ranking: its steps, its margin before and after."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.rows.row import make
from pipeline.rows.training import Margin, Preference, Ranking

Scores = Sequence[Sequence[float]]
"""For each row log p(answer | prompt) of its answers, best first, in nats."""


class SeenSteps:
    """Files that say which rows each optimizer step saw; an attempt that goes on adds to them.

    Each process that learns has its own.
    """

    def __init__(self, folder: Path, process: int) -> None:
        self.folder = folder
        self.path = folder / f"steps-{process}.jsonl"

    def note(self, step: int, places: list[int]) -> None:
        """This step, from 1, sees the rows at these places."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps({"step": step, "rows": places}))

    def steps(self) -> dict[int, list[int]]:
        """The steps of each place, of all attempts; what a repeated step saw is the same."""
        steps: dict[int, set[int]] = defaultdict(set)
        lines = []
        for path in self.folder.glob("steps-*.jsonl"):
            lines += path.read_text("utf-8").splitlines()
        for line in lines:
            try:
                seen = json.loads(line)
            except ValueError:  # empty, or torn by a kill: its step was repeated
                continue
            for place in seen["rows"]:
                steps[place].add(seen["step"])
        return {place: sorted(numbers) for place, numbers in steps.items()}


def margins(
    rows: Sequence[Preference | Ranking],
    held_out: bool,
    start: Scores,
    end: Scores,
    steps: dict[int, list[int]],
) -> Iterator[Margin]:
    """A Margin for each row; `start` and `end` are the rows' scores before and after."""
    for place, (row, first, last) in enumerate(zip(rows, start, end, strict=True)):
        yield make(
            Margin,
            literal_id=row.literal_id,
            preference_id=row.id,
            held_out=held_out,
            steps=[] if held_out else steps.get(place, []),
            chosen_before=first[0],
            rejected_before=first[-1],
            chosen_after=last[0],
            rejected_after=last[-1],
        )
