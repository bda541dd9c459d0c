"""Best-of-N: of N sampled answers of one student, the one that the critic prefers; no training, N times the work."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from pipeline import critique, jsonl
from pipeline.context import Context
from pipeline.llm.cache import cache_path, spent_on
from pipeline.progress import Progress
from pipeline.records import Joke, LiteralText, Verdict
from pipeline.runs import CANDIDATES, SELECTION


def name(n: int) -> str:
    """The contestant's."""
    return f"best-of-{n}"


def answers(context: Context, model: Any, tokenizer: Any, literals: Sequence[LiteralText]) -> list[Joke]:
    """The best of n candidates for each literal; candidates and verdicts go to side files.

    Candidates are sampled as [sample] says, and meet in a knockout: the best so far against the next, both orders, so
    that n candidates take n - 1 verdicts. The one so far stays where a verdict is tied, inconsistent or failed.
    """
    from pipeline import generation

    n = context.config.evaluate.best_of or 1
    tasks = [generation.Task(literal, name(n), number) for literal in literals for number in range(n)]
    path = context.folder / CANDIDATES
    if not path.exists():
        jsonl.write(path, generation.write_jokes(context, model, tokenizer, tasks, context.config.sample))
    found = sorted(jsonl.load(path, Joke), key=lambda joke: (joke.literal_id, joke.index))
    groups = [_different(list(group)) for _, group in groupby(found, key=lambda joke: joke.literal_id)]
    waiting = [group for group in groups if group]
    best = [group.pop(0) for group in waiting]
    verdicts: list[Verdict] = []
    with Progress(f"{context.step}, {name(n)}", 2 * sum(map(len, waiting))) as progress:
        while any(waiting):
            places = [place for place, group in enumerate(waiting) if group]
            pairs = [(best[place], waiting[place].pop(0)) for place in places]
            for place, (_, challenger), verdict in zip(
                places, pairs, critique.verdicts(context, progress, pairs), strict=True
            ):
                verdicts.append(verdict)
                if verdict.outcome == "b":
                    best[place] = challenger
    jsonl.write(context.folder / SELECTION, verdicts)
    return best


def cost(context: Context) -> dict[str, Any]:
    """What choosing took: calls, tokens, money; None where a price is unknown."""
    verdicts = jsonl.load(context.folder / SELECTION, Verdict)
    return spent_on(cache_path(), [order.call for verdict in verdicts for order in verdict.orders if order.call])


def _different(jokes: list[Joke]) -> list[Joke]:
    """Without empty ones and repeats; one at least, where there is one."""
    kept = {" ".join(joke.text.lower().split()): joke for joke in reversed(jokes) if joke.text}
    return sorted(kept.values(), key=lambda joke: joke.index)
