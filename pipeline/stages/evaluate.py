"""evaluate: how often each student ties or beats its teacher, on sentences nobody trained on.

The win-tie rate is that of "Small But Funny" (arXiv 2402.18113); both orders of each pair are
judged.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations, product
from typing import Any

from pipeline import prompts as templates
from pipeline.config.whole import Config
from pipeline.execution.context import Context
from pipeline.execution.stage import Expected
from pipeline.judging import best_of, choice, metrics, tally
from pipeline.progress import Progress
from pipeline.rows import jsonl
from pipeline.rows.records import Joke, LiteralText, Metric, Verdict
from pipeline.rows.row import Row, make
from pipeline.runs.files import ANSWERS, CANDIDATES, METRICS, SELECTION
from pipeline.runs.step import Step

VERSION = 2
Verdicts = dict[tuple[str, str], list[Verdict]]
"""The judge's, by aspect and contestant."""


def sections(config: Config, round: int | None) -> Sequence[str]:
    """sample and critic are among them, as best-of-N is made with them."""
    return ("literals", "student", "sample", "critic", "evaluate", "judge")


def prompts(config: Config, round: int | None) -> Sequence[str]:
    return ("student", *templates.CRITIC, "judge")


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
    contestants = 2 + len(config.rounds) + bool(n) + bool(config.retriever)
    calls = 2 * contestants * about * len(judge.aspects)
    asked = [Expected(judge.endpoint, "judge", calls, judge.max_tokens)]
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
    verdicts: Verdicts = defaultdict(list)
    with Progress(str(context.step), 2 * len(pairs) * len(settings.aspects), "calls") as progress:
        judged = chain.from_iterable(
            choice.verdicts("judge", settings, context.door(progress), pairs, aspect)
            for aspect in settings.aspects
        )
        for verdict in tally.counted(context, settings, judged):
            verdicts[verdict.aspect, author_of[verdict.a]].append(verdict)
            yield verdict
    train = {literal.id for literal in context.literals("train")}
    trained_on = {joke.text for joke in teacher if joke.literal_id in train}
    rows = list(
        figures(literals, reference, answers, verdicts, settings.endpoint.model, trained_on)
    )
    jsonl.write(context.folder / METRICS, rows)
    context.files += [context.folder / ANSWERS, context.folder / METRICS]
    _leave_out(context, literals, reference, answers)
    print(table(rows))


def _leave_out(
    context: Context, literals: list[LiteralText], reference: dict[str, Joke], answers: list[Joke]
) -> None:
    """What was not judged.

    It is counted from the answers, as an interrupted attempt may have written some of them.
    """
    context.drops.clear()
    given = {(joke.author, joke.literal_id): joke for joke in answers}
    for literal in literals:
        if literal.id not in reference:
            context.drop(literal.id, literal.id, "literal without the teacher's reference")
            continue
        for name in _contestants(context):
            answer = given.get((name, literal.id))
            if answer is None or not answer.text:
                what = answer.id if answer else literal.id
                context.drop(
                    literal.id, what, "answer, empty or not fitting the student's context", name
                )


def _contestants(context: Context) -> dict[str, str]:
    """The contestants, and the student that answers for each."""
    n = context.config.evaluate.best_of
    contestants = {"base": "base"}
    if "retriever" in context.inputs:
        contestants["retriever"] = "retriever"
    contestants["sft"] = "sft"
    if n:
        contestants[best_of.name(n)] = "sft"
    for name in context.inputs:
        if name not in ("teacher", "retriever"):
            contestants[name] = name
    return contestants


def _answers(context: Context, literals: list[LiteralText]) -> list[Joke]:
    """One answer per contestant and literal.

    A contestant that an interrupted attempt finished is read back.
    """
    path = context.folder / ANSWERS
    if not path.exists():
        parts = []
        for name, student in _contestants(context).items():
            part = context.folder / f"answers-{name}.jsonl"
            if not part.exists():
                jsonl.write(part, _answers_of(context, name, student, literals))
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
    context: Context, name: str, student_name: str, literals: list[LiteralText]
) -> Iterable[Joke]:
    """A contestant's answers, by the student that answers for it."""
    from pipeline.models import casting, generation, student

    if name == "retriever":
        return _retrieved(context, literals)
    weights = None
    step = context.inputs.get(student_name)
    if step:
        weights = student.weights(context.run, step)
    tokenizer = student.load_tokenizer(context.config)
    model = student.load(context.config, weights)
    casting.tell(context.run, step)
    if name != student_name:
        return best_of.answers(context, model, tokenizer, literals)
    tasks = [generation.Task(literal, name, 0) for literal in literals]
    writing = generation.Writing(
        context.config, str(context.step), context.drop, context.kept(Joke)
    )
    return generation.write_jokes(writing, model, tokenizer, tasks, context.config.evaluate)


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


def figures(
    literals: list[LiteralText],
    reference: dict[str, Joke],
    answers: list[Joke],
    verdicts: Verdicts,
    judge_model: str,
    trained_on: set[str],
) -> Iterator[Metric]:
    """Metric rows per split, aspect and contestant, then the contestants' differences in pairs."""
    splits = list(dict.fromkeys(literal.split for literal in literals))
    contestants = list(dict.fromkeys(joke.author for joke in answers))
    aspects = list(dict.fromkeys(aspect for aspect, _ in verdicts)) or ["overall"]
    for split, aspect in product(splits, aspects):
        inside = {literal.id for literal in literals if literal.split == split}
        answerable = inside & reference.keys()
        common = {"split": split, "judge": judge_model, "aspect": aspect}
        judged: dict[str, list[Verdict]] = {}
        for name in contestants:
            own = verdicts.get((aspect, name), [])
            judged[name] = [verdict for verdict in own if verdict.literal_id in inside]
            given = [joke for joke in answers if joke.author == name and joke.literal_id in inside]
            texts = [joke.text for joke in given]
            yield make(
                Metric,
                contestant=name,
                **common,
                **metrics.win_tie_rate(judged[name]),
                no_reference=len(inside) - len(answerable),
                no_answer=len(answerable) - sum(bool(text) for text in texts),
                length_ratio=metrics.length_ratio(texts, [joke.literal for joke in given]),
                distinct_1=metrics.distinct(texts, 1),
                distinct_2=metrics.distinct(texts, 2),
                repeats=metrics.repeats(texts, trained_on),
            )
        for earlier, later in combinations(contestants, 2):
            difference = metrics.difference(judged[later], judged[earlier])
            yield make(Metric, contestant=later, vs=earlier, **common, **difference)


def table(rows: list[Metric]) -> str:
    """The win-tie rates and their differences, as a person reads them."""
    title = f"Win-tie rate against the teacher, judged by {rows[0].judge}" if rows else ""
    lines = [
        "",
        title,
        "",
        f"{'split':<11} {'contestant':<11} {'WTR':>6}  {'95 % interval':<15} {'n':>5} {'win':>5} "
        f"{'tie':>5} {'loss':>5}  incons.  failed",
    ]
    lines += [_rate_line(row) for row in rows if row.vs is None]
    head = f"{'split':<11} {'difference':<22} {'WTR':>7}  95 % interval, paired over literals"
    lines += ["", head]
    lines += [_difference_line(row) for row in rows if row.vs and row.delta is not None]
    return "\n".join([*lines, ""])


def _rate_line(row: Metric) -> str:
    rate = "-"
    interval = "-"
    if row.wtr is not None:
        rate = f"{row.wtr:.3f}"
        interval = f"{row.low:.3f} - {row.high:.3f}"
    return (
        f"{row.view:<11} {row.contestant:<11} {rate:>6}  {interval:<15} {row.n:>5} {row.win:>5} "
        f"{row.tie:>5} {row.loss:>5}  {row.inconsistent:>7}  {row.failed:>6}"
    )


def _difference_line(row: Metric) -> str:
    names = f"{row.contestant} - {row.vs}"
    interval = f"{row.delta_low:+.3f} - {row.delta_high:+.3f}"
    return f"{row.view:<11} {names:<22} {row.delta:>+7.3f}  {interval}"
