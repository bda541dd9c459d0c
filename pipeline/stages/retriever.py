"""retriever: a student that answers with the teacher's nearest joke, in about a millisecond.

G2R (Kim et al., arXiv 2108.12582). Data level: a large model's jokes are what is learned from and
what is searched. Model level: what it, or the critic, makes of each of them is learned, too.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations
from typing import Any

from pipeline.config.whole import Config
from pipeline.errors import StageError
from pipeline.execution.context import Context
from pipeline.execution.stage import Code, Expected
from pipeline.judging import methods, watching
from pipeline.judging.verdict import Pair
from pipeline.progress import Progress
from pipeline.rows import jsonl
from pipeline.rows.records import Joke, Verdict
from pipeline.rows.row import Row, make
from pipeline.rows.training import Retrieval
from pipeline.runs.files import INDEX, SELECTION, WEIGHTS
from pipeline.runs.step import Step

VERSION = 2


def sections(config: Config, round: int | None) -> Sequence[str]:
    names = ["literals", "student", "retriever"]
    if _scored_by_critic(config):
        names.append("critic")
    return [*names, "guards"] if config.guards.keep_out else names


def prompts(config: Config, round: int | None) -> Sequence[str]:
    critics = methods.prompts("critic", config.critic) if _scored_by_critic(config) else ()
    return ["student", *critics, *watching.prompts(config)]


def _scored_by_critic(config: Config) -> bool:
    return config.retriever is not None and config.retriever.scores == "critic"


def losses(config: Config, round: int | None) -> Code | None:
    return Code("training/losses/retrieval.py", ("both",))


def writes(config: Config, round: int | None) -> type[Row]:
    return Retrieval


def reads(config: Config, round: int | None) -> dict[str, Step]:
    settings: Any = config.retriever
    read = {"teacher": Step("teacher")}
    if "student" in settings.jokes:
        read["student"] = Step("sample", config.samples_students[-1])
    if settings.scores in ("ll", "mi") and settings.scorer is None:
        read["scorer"] = Step("sft")
    if _scored_by_critic(config):
        read |= methods.reads(config.critic)
    return read


def expected(config: Config, round: int | None, literals: Mapping[Any, int]) -> list[Expected]:
    if not _scored_by_critic(config):
        return []
    settings: Any = config.retriever
    jokes = {"teacher": config.teacher.most, "student": config.sample.k}
    k = sum(jokes[whose] for whose in settings.jokes)
    pairs = k * (k - 1) // 2 * (literals["train"] + literals["validation"])
    return methods.expected("critic", config.critic, pairs)


def run(context: Context) -> Iterator[Retrieval]:
    from pipeline.retrieval import encoder, index

    # a typo, and a library that is missing, are said at once
    encoder.arguments(context.config, context.folder)
    index.faiss()
    split_of = {literal.id: literal.split for literal in context.literals("train", "validation")}
    groups = _groups(context)
    train = [group for group in groups if split_of[group[0].literal_id] == "train"]
    others = [group for group in groups if split_of[group[0].literal_id] != "train"]
    _enough(context, train)
    held_out = []
    for row in _scored(context, train + others):
        if split_of[row.literal_id] == "train":
            yield row
        else:
            held_out.append(row)
    context.hold_out(held_out)


def learn(context: Context) -> None:
    from pipeline.retrieval import encoder, index

    settings: Any = context.config.retriever
    train = jsonl.load(context.records, Retrieval)
    encoder.train(context, train)
    model = encoder.load(context.config, context.folder / WEIGHTS)
    ids: list[str] = []
    jokes: list[str] = []
    for row in train:
        ids += row.joke_ids
        jokes += row.jokes
    built = index.build(encoder.vectors(model, jokes), ids, settings.exact_below)
    index.save(built, context.folder / INDEX)
    context.files.append(context.folder / INDEX)
    context.facts["index"] = {"jokes": len(jokes), "exact": len(jokes) < settings.exact_below}
    if context.held_out:
        held_out = jsonl.load(context.held_out, Retrieval)
        context.facts["held_out"] = encoder.figures(encoder.ranks(model, held_out, train))


def _groups(context: Context) -> list[list[Joke]]:
    """The jokes about each train and validation literal, each text once."""
    known = {literal.id for literal in context.literals("train", "validation")}
    groups: dict[str, dict[str, Joke]] = defaultdict(dict)
    settings: Any = context.config.retriever
    for name in settings.jokes:
        jokes = context.rows(name, Joke)
        out = watching.kept_out(context, jokes)
        for joke in jokes:
            if joke.literal_id not in known:
                continue
            if joke.id in out:
                context.drop(joke.literal_id, joke.id, out[joke.id])
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
            f"{context.step}: there are jokes about {len(train)} train literals, and a retriever "
            "needs two. Name more literals in literals.files, and make the teacher's jokes again: "
            f"{Step('teacher').command(name)} --force"
        )
    if settings.scores != "none" and max(map(len, train)) < 2:
        raise StageError(
            f"{context.step}: every literal has one joke, so that retriever.scores = "
            f'"{settings.scores}" has none to '
            f"tell apart. Set teacher.jokes above 1 and run {Step('teacher').command(name)} "
            "--force, or learn from the "
            "jokes alone: --set retriever.scores=none"
        )


def _scored(context: Context, groups: list[list[Joke]]) -> Iterator[Retrieval]:
    """A row for each group, as its scores come.

    Those of train literals that an interrupted attempt has are not made again. The critic is asked
    for all of them, since its answers are kept elsewhere.
    """
    scores = context.config.retriever.scores if context.config.retriever else "none"
    kept: dict[str, Retrieval] = {}
    if scores != "critic":
        kept = {row.literal_id: row for row in context.kept(Retrieval)}
    scored = _scores(context, [group for group in groups if group[0].literal_id not in kept])
    for group in groups:
        literal = group[0].literal_id
        if literal in kept:
            yield kept[literal]
            continue
        _, values = next(scored)
        if values is None and scores != "none":
            context.drop(literal, literal, "no verdict")
            continue
        yield make(
            Retrieval,
            literal_id=literal,
            literal=group[0].literal,
            joke_ids=[joke.id for joke in group],
            jokes=[joke.text for joke in group],
            scores=values,
        )


def _scores(context: Context, groups: list[list[Joke]]) -> Iterator[tuple[str, list[float] | None]]:
    """Each group's literal, and what the teacher, or the critic, makes of its jokes.

    None where it made nothing.
    """
    scores = context.config.retriever.scores if context.config.retriever else "none"
    if scores == "critic":
        yield from _judged(context, groups)
    elif scores == "none":
        for group in groups:
            yield group[0].literal_id, None
    elif groups:
        from pipeline.retrieval.scores import likelihoods

        yield from likelihoods(context, groups)


def _judged(context: Context, groups: list[list[Joke]]) -> Iterator[tuple[str, list[float] | None]]:
    """Bradley-Terry scores, in nats, of the critic's verdicts on all pairs.

    None where none of them is valid.
    """
    from pipeline.judging import swiss

    pairs: list[Pair] = []
    for group in groups:
        pairs += combinations(group, 2)
    verdicts: dict[str, list[Verdict]] = defaultdict(list)
    with Progress(f"{context.step}, critic", 2 * len(pairs), "calls") as progress:
        for verdict in methods.critics(context, progress, pairs):
            verdicts[verdict.literal_id].append(verdict)
    jsonl.write(context.folder / SELECTION, chain.from_iterable(verdicts.values()))
    context.files.append(context.folder / SELECTION)
    for group in groups:
        literal = group[0].literal_id
        place = {joke.id: number for number, joke in enumerate(group)}
        judged = []
        for verdict in verdicts[literal]:
            if verdict.p_a is not None:
                judged.append((place[verdict.a], place[verdict.b], verdict.p_a))
        if judged or len(group) == 1:
            scores, _ = swiss.scores(len(group), judged)
            yield literal, [float(score) for score in scores]
        else:
            yield literal, None
