"""Best-of-N: of N sampled answers of one student, the one that the critic prefers.

No training, N times the work.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.execution.context import Context
from pipeline.judging import methods
from pipeline.llm.database import cache_path
from pipeline.llm.ledger import spent_on
from pipeline.progress import Progress
from pipeline.rows import jsonl
from pipeline.rows.records import Joke, LiteralText, Verdict
from pipeline.runs.files import CANDIDATES, SELECTION
from pipeline.runs.step import Step

if TYPE_CHECKING:
    from pipeline.serving.students import Students


def name(n: int) -> str:
    """The contestant's."""
    return f"best-of-{n}"


def write(
    context: Context, students: "Students", step: Step | None, literals: Sequence[LiteralText]
) -> None:
    """Have the student write n candidates for each literal into a side file, as [sample] says.

    Those of an interrupted attempt stay.
    """
    from pipeline.models.generation import Task

    path = context.folder / CANDIDATES
    n = context.config.evaluate.best_of or 1
    if not path.exists():
        tasks = []
        for literal in literals:
            tasks += [Task(literal, name(n), number) for number in range(n)]
        jsonl.write(path, students.write(step, tasks, context.config.sample))


def choose(context: Context) -> list[Joke]:
    """The best of the candidates for each literal; the verdicts go to a side file.

    They meet in a knockout: the best so far against the next, both orders, so that n candidates
    take n - 1 verdicts. The one so far stays where a verdict is tied, inconsistent or failed.
    """
    n = context.config.evaluate.best_of or 1
    waiting = _candidates(context)
    best = {literal: jokes.pop(0) for literal, jokes in waiting.items()}
    verdicts: list[Verdict] = []
    left = sum(len(jokes) for jokes in waiting.values())
    with Progress(f"{context.step}, {name(n)}", 2 * left, "calls") as progress:
        while any(waiting.values()):
            challengers = {literal: jokes.pop(0) for literal, jokes in waiting.items() if jokes}
            pairs = [(best[literal], challenger) for literal, challenger in challengers.items()]
            for verdict in methods.critics(context, progress, pairs):
                verdicts.append(verdict)
                if verdict.outcome == "b":
                    best[verdict.literal_id] = challengers[verdict.literal_id]
    jsonl.write(context.folder / SELECTION, verdicts)
    return list(best.values())


def _candidates(context: Context) -> dict[str, list[Joke]]:
    """Of each literal its candidates without empty ones and repeats."""
    groups: dict[str, list[Joke]] = defaultdict(list)
    jokes = jsonl.load(context.folder / CANDIDATES, Joke)
    for joke in sorted(jokes, key=lambda joke: (joke.literal_id, joke.index)):
        groups[joke.literal_id].append(joke)
    different = {literal: _different(jokes) for literal, jokes in groups.items()}
    return {literal: jokes for literal, jokes in different.items() if jokes}


def cost(context: Context) -> dict[str, Any]:
    """What choosing took: calls, tokens, money; None where a price is unknown."""
    calls = []
    for verdict in jsonl.load(context.folder / SELECTION, Verdict):
        calls += [order.call for order in verdict.orders if order.call]
    return spent_on(cache_path(), calls)


def _different(jokes: list[Joke]) -> list[Joke]:
    """Without empty ones and repeats; the first of those that are alike stays."""
    kept: dict[str, Joke] = {}
    for joke in jokes:
        text = " ".join(joke.text.lower().split())
        if text:
            kept.setdefault(text, joke)
    return list(kept.values())
