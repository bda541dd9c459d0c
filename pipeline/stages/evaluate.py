"""evaluate: how often each student ties or beats its teacher, on sentences nobody trained on.

The win-tie rate is that of "Small But Funny" (arXiv 2402.18113); both orders of each pair are
judged.
"""

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

from pipeline import prompts as templates
from pipeline.config.student import Generation, Sampled
from pipeline.config.whole import Config
from pipeline.execution.context import Context
from pipeline.execution.stage import Expected
from pipeline.judging import best_of, choice, figures, sets, tally
from pipeline.progress import Progress
from pipeline.rows import jsonl
from pipeline.rows.records import Joke, LiteralText, SetVerdict, Verdict
from pipeline.rows.row import Row, make
from pipeline.runs.files import ANSWERS, CANDIDATES, METRICS, SELECTION, SETS
from pipeline.runs.step import Step

VERSION = 3


def sections(config: Config, round: int | None) -> Sequence[str]:
    """sample and critic are among them, as best-of-N is made with them."""
    return ("literals", "student", "sample", "critic", "evaluate", "judge")


def prompts(config: Config, round: int | None) -> Sequence[str]:
    names = ["student", *templates.CRITIC, "judge"]
    if config.judge.sets:
        names.append(sets.PROMPT)
    return names


def writes(config: Config, round: int | None) -> type[Row]:
    return Verdict


def reads(config: Config, round: int | None) -> dict[str, Step]:
    """The teacher, and the students that it is compared with, in the order of their training."""
    read = {"teacher": Step("teacher"), "sft": Step("sft")}
    for number in range(1, len(config.rounds) + 1):
        read[f"round-{number}"] = Step("dpo", number)
    if config.retriever:
        read["retriever"] = Step("retriever")
    return read


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
    calls = 2 * answers * len(judge.aspects)
    asked = [Expected(judge.endpoint, "judge", calls, judge.max_tokens)]
    if judge.sets:
        whole = sum(literals[split] // judge.sets for split in config.evaluate.splits)
        calls = 2 * contestants * whole
        asked.append(Expected(judge.endpoint, sets.PROMPT, calls, judge.max_tokens))
    if n:
        asked.append(Expected(critic.endpoint, "critic", 2 * (n - 1) * about, critic.max_tokens))
    return asked


def run(context: Context) -> Iterator[Verdict]:
    settings = context.config.judge
    literals = context.literals(*context.config.evaluate.splits)
    teacher = context.rows("teacher", Joke)
    reference = {joke.literal_id: joke for joke in teacher if joke.index == 0}
    answers = _answers(context, [literal for literal in literals if literal.id in reference])
    pairs = [(joke, reference[joke.literal_id]) for joke in answers if joke.text]
    author_of = {joke.id: joke.author for joke in answers}
    decodings = _decodings(context)
    verdicts: dict[tuple[str, str], list[Verdict]] = defaultdict(list)
    with Progress(str(context.step), 2 * len(pairs) * len(settings.aspects), "calls") as progress:
        judged = chain.from_iterable(
            choice.verdicts("judge", settings, context.door(progress), pairs, aspect)
            for aspect in settings.aspects
        )
        for verdict in tally.counted(context, settings, judged):
            author = author_of[verdict.a]
            verdicts[verdict.aspect, author].append(verdict)
            yield verdict.model_copy(update={"decoding": decodings[author]})
    train = {literal.id for literal in context.literals("train")}
    evaluation = figures.Evaluation(
        literals,
        reference,
        answers,
        verdicts,
        _set_verdicts(context, literals, answers, reference),
        settings.endpoint.model,
        {joke.text for joke in teacher if joke.literal_id in train},
        decodings,
        _encoder(context),
    )
    rows = list(figures.rows(evaluation))
    jsonl.write(context.folder / METRICS, rows)
    context.files += [context.folder / ANSWERS, context.folder / METRICS]
    _leave_out(context, literals, reference, answers)
    print(figures.table(rows))


def _set_verdicts(
    context: Context,
    literals: list[LiteralText],
    answers: list[Joke],
    reference: dict[str, Joke],
) -> list[SetVerdict]:
    """The judge's verdicts on sets of answers, where it is asked for them."""
    settings = context.config.judge
    if settings.sets is None:
        return []
    given: dict[str, dict[str, Joke]] = defaultdict(dict)
    for joke in answers:
        given[joke.author].setdefault(joke.literal_id, joke)
    shown = []
    for own in given.values():
        shown += sets.sets(literals, own, reference, settings.sets)
    with Progress(f"{context.step}, sets", 2 * len(shown), "calls") as progress:
        judged = list(sets.verdicts(settings, context.door(progress), shown))
    jsonl.write(context.folder / SETS, judged)
    context.files.append(context.folder / SETS)
    return judged


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


def _leave_out(
    context: Context, literals: list[LiteralText], reference: dict[str, Joke], answers: list[Joke]
) -> None:
    """What was not judged.

    It is counted from the answers, as an interrupted attempt may have written some of them.
    """
    context.drops.clear()
    given: dict[tuple[str, str], list[Joke]] = defaultdict(list)
    for joke in answers:
        given[joke.author, joke.literal_id].append(joke)
    for literal in literals:
        if literal.id not in reference:
            context.drop(literal.id, literal.id, "literal without the teacher's reference")
            continue
        for name in _contestants(context):
            own = given[name, literal.id]
            missing = [joke.id for joke in own if not joke.text] if own else [literal.id]
            for what in missing:
                context.drop(
                    literal.id, what, "answer, empty or not fitting the student's context", name
                )


class Contestant(NamedTuple):
    """Who answers, and how."""

    student: str
    """The input whose weights they are; base for none, retriever for one that looks up."""
    how: Literal["decoded", "chosen", "sampled", "looked up"] = "decoded"


def _contestants(context: Context) -> dict[str, Contestant]:
    """The contestants by their names; the last is the last round's student as it is exported."""
    settings = context.config.evaluate
    contestants = {"base": Contestant("base")}
    if "retriever" in context.inputs:
        contestants["retriever"] = Contestant("retriever", "looked up")
    for name in context.inputs:
        if name in ("teacher", "retriever"):
            continue
        if settings.sampled:
            contestants[f"{name}-sampled"] = Contestant(name, "sampled")
        contestants[name] = Contestant(name)
        if name == "sft" and settings.best_of:
            contestants[best_of.name(settings.best_of)] = Contestant("sft", "chosen")
    return contestants


def _decodings(context: Context) -> dict[str, str | None]:
    """How each contestant's answers come about."""
    from pipeline.models import student

    encoder_decoder = student.is_encoder_decoder(context.config)
    evaluated = context.config.evaluate
    said: dict[str, str | None] = {
        "decoded": evaluated.decoding(encoder_decoder),
        "chosen": context.config.sample.decoding(encoder_decoder),
        "sampled": evaluated.how_sampled().decoding(encoder_decoder),
        "looked up": None,
    }
    return {name: said[contestant.how] for name, contestant in _contestants(context).items()}


def _answers(context: Context, literals: list[LiteralText]) -> list[Joke]:
    """The answers of each contestant, one for each literal unless they are sampled.

    A contestant that an interrupted attempt finished is read back.
    """
    path = context.folder / ANSWERS
    if not path.exists():
        parts = []
        for name, contestant in _contestants(context).items():
            part = context.folder / f"answers-{name}.jsonl"
            if not part.exists():
                jsonl.write(part, _answers_of(context, name, contestant, literals))
            parts.append(part)
        jsonl.write(path, chain.from_iterable(jsonl.read(part, Joke) for part in parts))
    for part in context.folder.glob("answers-*.jsonl"):
        part.unlink()
    answers = jsonl.load(path, Joke)
    n = context.config.evaluate.best_of
    if n:
        context.files += [context.folder / CANDIDATES, context.folder / SELECTION]
        chosen = sum(joke.author == best_of.name(n) for joke in answers)
        context.facts["best_of"] = {"n": n, "answers": chosen, **best_of.cost(context)}
    return answers


def _answers_of(
    context: Context, name: str, contestant: Contestant, literals: list[LiteralText]
) -> Iterable[Joke]:
    """A contestant's answers, by the student that answers for it."""
    from pipeline.models import casting, generation, student

    if contestant.how == "looked up":
        return _retrieved(context, literals)
    weights = None
    step = context.inputs.get(contestant.student)
    if step:
        weights = student.weights(context.run, step)
    tokenizer = student.load_tokenizer(context.config)
    model = student.load(context.config, weights)
    casting.tell(context.run, step)
    if contestant.how == "chosen":
        return best_of.answers(context, model, tokenizer, literals)
    settings: Generation = context.config.evaluate
    number = 1
    if contestant.how == "sampled":
        settings = context.config.evaluate.how_sampled()
        number = (context.config.evaluate.sampled or Sampled()).answers
    tasks = []
    for literal in literals:
        tasks += [generation.Task(literal, name, index) for index in range(number)]
    writing = generation.Writing(
        context.config, str(context.step), context.drop, context.kept(Joke)
    )
    return generation.write_jokes(writing, model, tokenizer, tasks, settings)


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
