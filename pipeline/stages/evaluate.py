"""evaluate: how often each student ties or beats its teacher, on sentences nobody trained on.

The win-tie rate is that of "Small But Funny" (arXiv 2402.18113); both orders of each pair are
judged.
"""

import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from pipeline.config.judging import Judging
from pipeline.config.whole import Config
from pipeline.errors import StageError
from pipeline.execution.context import Context
from pipeline.execution.stage import Code, Expected
from pipeline.judging import (
    best_of,
    contestants,
    figures,
    labels,
    methods,
    offence,
    rules,
    sets,
    tally,
    watching,
)
from pipeline.judging.verdict import Pair
from pipeline.judging.verdict import lost as lose
from pipeline.progress import Progress
from pipeline.rows import jsonl
from pipeline.rows.records import Flag, Joke, LiteralText, Verdict
from pipeline.rows.row import Row, make
from pipeline.runs.files import ANSWERS, CANDIDATES, FLAGS, METRICS, SELECTION
from pipeline.runs.step import Step

VERSION = 6


def sections(config: Config, round: int | None) -> Sequence[str]:
    """With best-of-N those that it is made with: sample and critic."""
    names = ["literals", "student", "evaluate", "judge"]
    if config.evaluate.best_of:
        names += ["sample", "critic"]
    return [*names, "guards"] if config.guards.watch else names


def prompts(config: Config, round: int | None) -> Sequence[str]:
    judges = config.judge.judges.values()
    names = ["student", *methods.prompts("judge", *judges)]
    if config.evaluate.best_of:
        names += methods.prompts("critic", config.critic)
    if config.judge.sets:
        names.append(sets.PROMPT)
    if config.guards.moderator:
        names.append(config.guards.moderator.template(offence.PROMPT))
    return names


def decides(config: Config, round: int | None) -> Sequence[Code]:
    judging: list[Judging] = list(config.judge.judges.values())
    if config.evaluate.best_of:
        judging.append(config.critic)
    return [
        *rules.of_verdicts(*judging),
        Code("judging/metrics.py", ("win_tie_rate", "fresh_rate", "fresh_credits", "difference")),
        Code("judging/devices.py", ("freshness",)),
    ]


def writes(config: Config, round: int | None) -> type[Row]:
    return Verdict


def needs(config: Config, round: int | None, literals: Mapping[Any, int]) -> Iterator[str]:
    from pipeline.training import needs

    about = sum(literals[split] for split in config.evaluate.splits)
    yield from needs.of_writing(config, config.evaluate, (2 + len(config.rounds)) * about)


def serves(config: Config, round: int | None) -> bool:
    return config.runtime.server is not None


def reads(config: Config, round: int | None) -> dict[str, Step]:
    """The teacher, and the students that it is compared with, in the order of their training."""
    read = {"teacher": Step("teacher"), "sft": Step("sft")}
    for number in range(1, len(config.rounds) + 1):
        read[f"round-{number}"] = Step("dpo", number)
    if config.retriever:
        read["retriever"] = Step("retriever")
    judging: list[Judging] = list(config.judge.judges.values())
    if config.evaluate.best_of:
        judging.append(config.critic)
    return read | methods.reads(*judging)


def expected(config: Config, round: int | None, literals: Mapping[Any, int]) -> list[Expected]:
    judge = config.judge
    critic = config.critic
    n = config.evaluate.best_of
    about = sum(literals[split] for split in config.evaluate.splits)
    trained = 1 + len(config.rounds)
    contestants = 1 + trained + bool(n) + bool(config.retriever)
    answers = contestants * about
    if config.evaluate.sampled:
        contestants += trained
        answers += trained * about * config.evaluate.sampled.answers
    asked = []
    for one in judge.judges.values():
        asked += methods.expected("judge", one, answers * len(judge.aspects))
        if judge.sets:
            whole = sum(literals[split] // judge.sets for split in config.evaluate.splits)
            of_sets = 2 * contestants * whole
            asked.append(Expected(one.server, sets.PROMPT, of_sets, one.max_tokens))
    moderator = config.guards.moderator
    if moderator:
        calls = answers + about
        prompt = moderator.template(offence.PROMPT)
        asked.append(Expected(moderator.server, prompt, calls, moderator.max_tokens))
    if n:
        asked += methods.expected("critic", critic, (n - 1) * about)
    return asked


def run(context: Context) -> Iterator[Verdict]:
    settings = context.config.judge
    watching.check(context)  # what is missing is said before anything is paid for
    encode = _encoder(context)
    literals = context.literals(*context.config.evaluate.splits)
    teacher = context.rows("teacher", Joke)
    reference = {joke.literal_id: joke for joke in teacher if joke.index == 0}
    _note_learned(context, literals)
    answers = _answers(context, [literal for literal in literals if literal.id in reference])
    pairs = [(joke, reference[joke.literal_id]) for joke in answers if joke.text]
    empty = [(joke, reference[joke.literal_id]) for joke in answers if not joke.text]
    author_of = {joke.id: joke.author for joke in answers}
    decodings = contestants.decodings(context)
    verdicts: dict[figures.Judged, list[Verdict]] = defaultdict(list)
    calls = 2 * len(pairs) * len(settings.aspects) * len(settings.judges)
    with Progress(str(context.step), calls, "calls") as progress:
        for verdict in _verdicts(context, progress, pairs, empty):
            author = author_of[verdict.a]
            verdicts[verdict.judge or "", verdict.aspect, author].append(verdict)
            yield verdict.model_copy(update={"decoding": decodings[author]})
    train = {literal.id for literal in context.literals("train")}
    evaluation = figures.Evaluation(
        literals,
        reference,
        answers,
        verdicts,
        sets.judged(context, literals, answers, reference),
        list(settings.judges),
        [joke for joke in teacher if joke.literal_id in train],
        decodings,
        _flags(context, [*reference.values(), *answers]),
        encode,
    )
    rows = list(figures.rows(evaluation))
    jsonl.write(context.folder / METRICS, rows)
    context.files += [context.folder / ANSWERS, context.folder / METRICS]
    lost_by = Counter(author_of[joke.id] for joke, _ in empty)
    if lost_by:
        context.facts["no_answer"] = dict(sorted(lost_by.items()))
    context.drops.clear()  # of answers that did not fit: they have lost
    for literal in literals:
        if literal.id not in reference:
            context.drop(literal.id, literal.id, "literal without the teacher's reference")
    print(figures.table(rows, context.config.judge_in_words))


def tries(context: Context, n: int) -> Iterator[Verdict]:
    """On answers of the last student that are there; StageError where none is yet."""
    path = context.folder / ANSWERS
    if not path.exists():
        raise StageError(
            f"{path}: no answers yet on which a judge could be tried. First: "
            f"{context.step.command(context.run.name)}"
        )
    jokes = [joke for joke in context.rows("teacher", Joke) if joke.index == 0]
    reference = {joke.literal_id: joke for joke in jokes}
    given = [joke for joke in jsonl.load(path, Joke) if joke.literal_id in reference and joke.text]
    last = list(contestants.named(context))[-1]
    answers = [joke for joke in given if joke.author == last][:n]
    pairs = [(joke, reference[joke.literal_id]) for joke in answers]
    settings = context.config.judge
    with Progress(str(context.step), 2 * len(pairs) * len(settings.judges), "calls") as progress:
        yield from _verdicts(context, progress, pairs, [])


def _note_learned(context: Context, literals: Sequence[LiteralText]) -> None:
    """Say where a reward model has learned from pairs about what it judges here."""
    told = labels.learned(context) & {literal.id for literal in literals}
    if told:
        context.facts["learned_from"] = len(told)
        print(
            f"{context.step}: the reward model learned from pairs about {len(told)} of "
            f"{len(literals)} sentences that it judges: of those it says what it was told."
        )


def _verdicts(
    context: Context, progress: Progress, pairs: Sequence[Pair], empty: Sequence[Pair]
) -> Iterator[Verdict]:
    """Those of every judge on every aspect; an empty answer has lost, and nobody is asked."""
    settings = context.config.judge
    for name, judge in settings.judges.items():
        judged = chain.from_iterable(
            methods.verdicts(context, "judge", judge, progress, pairs, aspect, name)
            for aspect in settings.aspects
        )
        yield from tally.counted(context, judge, judged)
        for aspect in settings.aspects:
            yield from (lose(aspect, pair, name) for pair in empty)


def _flags(context: Context, jokes: list[Joke]) -> list[Flag] | None:
    """What [guards] flags of the answers and references; None where nothing is watched for."""
    if not context.config.guards.watch:
        return None
    inside = {literal.id for literal in context.literals(*context.config.evaluate.splits)}
    flagged = list(watching.flags(context, [joke for joke in jokes if joke.literal_id in inside]))
    jsonl.write(context.folder / FLAGS, flagged)
    context.files.append(context.folder / FLAGS)
    counts = Counter(f"{flag.author}: {flag.how}" for flag in flagged)
    context.facts["flags"] = dict(sorted(counts.items()))
    return flagged


def _encoder(context: Context) -> Callable[[Sequence[str]], Any] | None:
    """Texts to embeddings, where the configuration names an encoder."""
    settings = context.config.evaluate
    if settings.encoder is None:
        return None
    from pipeline.retrieval import encoder

    model = encoder.pretrained(
        context.config, "evaluate.encoder", settings.encoder, settings.encoder_revision
    )
    return functools.partial(encoder.vectors, model)


def _answers(context: Context, literals: list[LiteralText]) -> list[Joke]:
    """The answers of each contestant, one for each literal unless they are sampled.

    Where a literal left the student no room to answer, the answer is empty. A contestant that an
    interrupted attempt finished is read back.
    """
    path = context.folder / ANSWERS
    if not path.exists():
        looked_up = functools.partial(_retrieved, context, literals)
        parts = contestants.write(context, literals, looked_up)
        jsonl.write(path, chain.from_iterable(jsonl.read(part, Joke) for part in parts))
    for part in context.folder.glob("answers-*.jsonl"):
        part.unlink()
    answers = jsonl.load(path, Joke)
    n = context.config.evaluate.best_of
    if n:
        context.files += [context.folder / CANDIDATES, context.folder / SELECTION]
        chosen = sum(joke.author == best_of.name(n) and bool(joke.text) for joke in answers)
        context.facts["best_of"] = {"n": n, "answers": chosen, **best_of.cost(context)}
    return answers


def _retrieved(context: Context, literals: list[LiteralText]) -> Iterator[Joke]:
    """The nearest of the retriever's jokes to each literal."""
    from pipeline.retrieval.searcher import NAME, Searcher

    searcher = Searcher(context.run, context.config)
    nearest = searcher.nearest([literal.text for literal in literals])
    for literal, near in zip(literals, nearest, strict=True):
        yield make(
            Joke,
            literal_id=literal.id,
            literal=literal.text,
            text=near.text,
            author=NAME,
            index=0,
            call=None,
        )
