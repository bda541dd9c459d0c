"""Which set is funnier: a contestant's answers to several sentences, or the teacher's.

A judge that sees one sentence at a time cannot notice that a contestant says one thing to all of
them.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from pipeline import prompts
from pipeline.config.judging import Judging
from pipeline.execution.context import Context
from pipeline.judging import choice
from pipeline.judging.verdict import SHOWN, Shown, mean, outcome
from pipeline.llm.door import Door
from pipeline.progress import Progress
from pipeline.rows import jsonl
from pipeline.rows.records import Joke, LiteralText, Order, SetVerdict
from pipeline.rows.row import make
from pipeline.runs.files import SETS
from pipeline.vocabulary import Split

PROMPT = "judge_sets"


class Sets(NamedTuple):
    """A contestant's answers to some literals, and the teacher's, in the same order."""

    split: Split
    a: Sequence[Joke]
    b: Sequence[Joke]


def sets(
    literals: Iterable[LiteralText], given: dict[str, Joke], reference: dict[str, Joke], size: int
) -> list[Sets]:
    """The sets of one contestant, whose answers are `given` by literal id.

    Literals are taken in the order of their ids, `size` at a time, so that every contestant has the
    same sets, with its empty answers as they are; what is over of a split is left out.
    """
    by_split: dict[Split, list[str]] = {}
    for literal in literals:
        if literal.id in reference:
            by_split.setdefault(literal.split, []).append(literal.id)
    whole = []
    for split, ids in by_split.items():
        ordered = sorted(ids)
        for start in range(0, len(ordered) - size + 1, size):
            chosen = ordered[start : start + size]
            own = [given[literal] for literal in chosen if literal in given]
            if len(own) == size:
                whole.append(Sets(split, own, [reference[literal] for literal in chosen]))
    return whole


def verdicts(
    judge: str, settings: Judging, door: Door, shown: Sequence[Sets]
) -> Iterator[SetVerdict]:
    """One verdict per pair of sets, in order; both orders are asked, as for pairs of jokes."""
    orders: list[Order] = []
    for (pair, order), answer in door.ask(settings.server, _requests(settings, shown)):
        orders.append(choice.read_order(answer, order, settings.server.json_schema))
        if order == SHOWN[-1]:
            yield make(
                SetVerdict,
                contestant=pair.a[0].author,
                split=pair.split,
                aspect="overall",
                literal_ids=[joke.literal_id for joke in pair.a],
                literals=[joke.literal for joke in pair.a],
                a=[joke.id for joke in pair.a],
                b=[joke.id for joke in pair.b],
                a_texts=[joke.text for joke in pair.a],
                b_texts=[joke.text for joke in pair.b],
                orders=orders,
                p_a=mean(orders),
                outcome=outcome(orders, settings.tie_band),
                judge=judge,
            )
            orders = []


def _requests(
    settings: Judging, shown: Sequence[Sets]
) -> Iterator[tuple[tuple[Sets, Shown], dict[str, Any]]]:
    for pair in shown:
        for order in SHOWN:
            yield (pair, order), request(settings, pair, order)


def request(settings: Judging, pair: Sets, order: Shown) -> dict[str, Any]:
    """The chat-completions body, without the model, that shows the sets in this order."""
    first, second = (pair.a, pair.b) if order == "ab" else (pair.b, pair.a)
    values: dict[str, Any] = {
        "literals": [joke.literal for joke in pair.a],
        "first": [joke.text for joke in first],
        "second": [joke.text for joke in second],
    }
    if settings.server.json_schema:
        values["json"] = True
    return choice.body(settings, prompts.render(PROMPT, **values))


def judged(
    context: Context,
    literals: list[LiteralText],
    answers: list[Joke],
    reference: dict[str, Joke],
) -> list[SetVerdict]:
    """The judges' verdicts on sets of answers, where they are asked for them."""
    settings = context.config.judge
    if settings.sets is None:
        return []
    given: dict[str, dict[str, Joke]] = defaultdict(dict)
    for joke in answers:
        given[joke.author].setdefault(joke.literal_id, joke)
    shown = []
    for own in given.values():
        shown += sets(literals, own, reference, settings.sets)
    told: list[SetVerdict] = []
    calls = 2 * len(shown) * len(settings.judges)
    with Progress(f"{context.step}, sets", calls, "calls") as progress:
        for name, judge in settings.judges.items():
            told += verdicts(name, judge, context.door(progress), shown)
    failed = sum(verdict.outcome == "failed" for verdict in told)
    context.facts["sets"] = {"verdicts": len(told), "failed": failed}
    if failed:
        print(
            f"{context.step}: {failed} of {len(told)} verdicts on sets failed; they count nowhere"
        )
    jsonl.write(context.folder / SETS, told)
    context.files.append(context.folder / SETS)
    return told
