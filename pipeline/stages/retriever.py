"""retriever: a student that answers with the nearest of the teacher's jokes, in about a millisecond.

G2R (Kim et al., arXiv 2108.12582). Data level: a large model's jokes are what is learned from and what is searched.
Model level: what it, or the critic, makes of each of them is learned, too.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

from pipeline import critique, jsonl
from pipeline.config import Config
from pipeline.context import Context
from pipeline.errors import StageError
from pipeline.lessons import Retrieval
from pipeline.progress import Progress
from pipeline.records import Joke, make
from pipeline.runs import HELD_OUT, INDEX, SELECTION, Step

SECTIONS = ("literals", "student", "retriever")
PROMPTS = ("student",)


def writes(config: Config, round: int | None) -> type[Retrieval]:
    return Retrieval


def reads(config: Config, round: int | None) -> dict[str, Step]:
    settings: Any = config.retriever
    found = {"teacher": Step("teacher")}
    if "student" in settings.jokes:
        found["student"] = Step("sample", config.samples_students[-1])
    if settings.scores in ("ll", "mi") and settings.scorer is None:
        found["scorer"] = Step("sft")
    return found


def run(context: Context) -> Iterator[Retrieval]:
    from pipeline import biencoder, index

    settings: Any = context.config.retriever
    biencoder.arguments(context.config, context.folder)  # a typo, and a library that is missing, are said at once
    index.faiss()
    groups = _groups(context)
    split_of = {literal.id: literal.split for literal in context.literals("train", "validation")}
    groups.sort(key=lambda group: split_of[group[0].literal_id] != "train")
    _enough(context, [group for group in groups if split_of[group[0].literal_id] == "train"])
    train, held_out = [], []
    for row in _scored(context, groups):
        if split_of[row.literal_id] == "train":
            train.append(row)
            yield row
        else:
            held_out.append(row)
    if context.quarantine.now and not context.accept_failed:
        return  # nothing is learned from a part of the critic's verdicts
    jsonl.write(context.folder / HELD_OUT, held_out)
    context.files.append(context.folder / HELD_OUT)
    biencoder.train(context, train)
    model = biencoder.load(context.config, context.folder / "weights")
    ids, jokes = ([value for row in train for value in getattr(row, name)] for name in ("joke_ids", "jokes"))
    found = index.build(biencoder.vectors(model, jokes), ids, settings.exact_below)
    index.save(found, context.folder / INDEX)
    context.files.append(context.folder / INDEX)
    context.facts["index"] = {"jokes": len(jokes), "exact": len(jokes) < settings.exact_below}
    if held_out:
        context.facts["held_out"] = biencoder.figures(biencoder.ranks(model, held_out, train))


def _groups(context: Context) -> list[list[Joke]]:
    """The jokes about each train and validation literal, each text once."""
    known = {literal.id for literal in context.literals("train", "validation")}
    groups: dict[str, dict[str, Joke]] = defaultdict(dict)
    settings: Any = context.config.retriever
    for name in settings.jokes:
        for joke in context.rows(name, Joke):
            if joke.literal_id not in known:
                continue
            if not joke.text or joke.text in groups[joke.literal_id]:
                context.drop(joke.literal_id, joke.id, "same joke" if joke.text else "empty")
            else:
                groups[joke.literal_id][joke.text] = joke
    return [list(group.values()) for group in groups.values() if group]


def _enough(context: Context, train: list[list[Joke]]) -> None:
    """StageError where the jokes are too few to learn from."""
    settings: Any = context.config.retriever
    name = context.run.name
    if len(train) < 2:
        raise StageError(
            f"{context.step}: there are jokes about {len(train)} train literals, and a retriever needs two. "
            "Name more literals in literals.files, and make the teacher's jokes again: "
            f"{Step('teacher').command(name)} --force"
        )
    if settings.scores != "none" and max(map(len, train)) < 2:
        raise StageError(
            f'{context.step}: every literal has one joke, so that retriever.scores = "{settings.scores}" has none to '
            f"tell apart. Set teacher.jokes above 1 and run {Step('teacher').command(name)} --force, or learn from the "
            "jokes alone: --set retriever.scores=none"
        )


def _scored(context: Context, groups: list[list[Joke]]) -> Iterator[Retrieval]:
    """A row for each group, as its scores come; those of train literals that an interrupted attempt has are not made
    again. The critic is asked for all of them, since its answers are kept elsewhere."""
    settings: Any = context.config.retriever
    kept = {} if settings.scores == "critic" else {row.literal_id: row for row in context.kept(Retrieval)}
    scores = iter(_scores(context, [group for group in groups if group[0].literal_id not in kept]))
    for group in groups:
        literal = group[0].literal_id
        if literal in kept:
            yield kept[literal]
            continue
        found = next(scores)
        if found is None and settings.scores != "none":
            context.drop(literal, literal, "no verdict")
            continue
        yield make(
            Retrieval,
            literal_id=literal,
            literal=group[0].literal,
            joke_ids=[joke.id for joke in group],
            jokes=[joke.text for joke in group],
            scores=found,
        )


def _scores(context: Context, groups: list[list[Joke]]) -> Iterable[list[float] | None]:
    """What the teacher, or the critic, makes of each group's jokes; None where it made nothing."""
    settings: Any = context.config.retriever
    if settings.scores == "none" or not groups:
        return [None] * len(groups)
    if settings.scores == "critic":
        return _judged(context, groups)
    from pipeline import plausibility

    return plausibility.scores(context, groups)


def _judged(context: Context, groups: list[list[Joke]]) -> Iterator[list[float] | None]:
    """Bradley-Terry scores, in nats, of the critic's verdicts on all pairs; None where none of them is valid."""
    from pipeline import schedule

    pairs = [list(combinations(range(len(group)), 2)) for group in groups]
    asked = [(group[a], group[b]) for group, of in zip(groups, pairs, strict=True) for a, b in of]
    with Progress(f"{context.step}, critic", 2 * len(asked)) as progress:
        verdicts = list(critique.verdicts(context, progress, asked))
    jsonl.write(context.folder / SELECTION, verdicts)
    context.files.append(context.folder / SELECTION)
    said = iter(verdicts)
    for group, of in zip(groups, pairs, strict=True):
        judged = [(a, b, verdict.p_a) for (a, b), verdict in zip(of, said, strict=False) if verdict.p_a is not None]
        yield None if of and not judged else [float(one) for one in schedule.scores(len(group), judged)[0]]
