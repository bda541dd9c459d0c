"""judge-card: what is the judge worth? It is tried on pairs whose right verdict is known.

How it leans to order and length, whether it knows a joke from what is none, whether it agrees with
people; by calls of its own, the same for every judge of a panel.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline import SPOKEN_STAGE
from pipeline.config.whole import Config, JudgeCard
from pipeline.errors import StageError
from pipeline.execution.context import Context
from pipeline.execution.stage import Code, Expected, Requests
from pipeline.judging import card, compared, labels, methods, probes, rules, tally, trust
from pipeline.judging.probes import Tried
from pipeline.judging.verdict import Pair
from pipeline.llm.database import cache_path
from pipeline.llm.ledger import spent_on
from pipeline.progress import Progress
from pipeline.rows import jsonl
from pipeline.rows.card import CardFigure, Probe
from pipeline.rows.records import Joke, Label, Verdict
from pipeline.rows.row import Row, make
from pipeline.runs.files import ANSWERS, CARD, CONTROLS, LABELS
from pipeline.runs.step import Step
from pipeline.vocabulary import Aspect
from pipeline.voting import card as voting

VERSION = 3


def sections(config: Config, round: int | None) -> Sequence[str]:
    return ("judge", "judge_card", *(("agreement",) if config.agreement else ()))


def prompts(config: Config, round: int | None) -> Sequence[str]:
    return methods.prompts("judge", *config.judge.judges.values())


def decides(config: Config, round: int | None) -> Sequence[Code]:
    judges = rules.of_verdicts(*config.judge.judges.values())
    return [*judges, Code("judging/card.py", ("figures",))]


def writes(config: Config, round: int | None) -> type[Row]:
    return Probe


def reads(config: Config, round: int | None) -> dict[str, Step]:
    read = {"teacher": Step("teacher"), "evaluate": Step("evaluate")}
    return read | methods.reads(*config.judge.judges.values())


def expected(config: Config, round: int | None, literals: Mapping[Any, int]) -> list[Expected]:
    settings = _settings(config)
    pairs = settings.answers + len(card.CONTROLS) * settings.controls
    if config.agreement:
        pairs += 2 * settings.people  # where all of them are about the run's sentences
    asked = []
    for judge in config.judge.judges.values():
        asked += methods.expected("judge", judge, pairs)
    return asked


def requests(context: Context) -> list[Requests]:
    """The bodies of every pair, for each judge."""
    pairs = [tried.pair for tried in _tried(context, _judged_by_people(context))]
    asked: list[Requests] = []
    for judge in context.config.judge.judges.values():
        bodies = methods.requests("judge", judge, pairs, _aspect(context.config))
        if bodies:
            asked.append(bodies)
    return asked


def run(context: Context) -> Iterator[Probe]:
    judged_by_people = _judged_by_people(context)
    tried = _tried(context, judged_by_people)
    _write(context, tried, judged_by_people)
    authors = {pair[0].id: pair[0].author for _, pair in tried}
    judges = context.config.judge.judges
    figures: list[CardFigure] = []
    with Progress(str(context.step), 2 * len(tried) * len(judges), "calls") as progress:
        for name in judges:
            probed = []
            calls: dict[str, None] = {}  # in order, and that of the same joke twice once
            for row in _probed(context, progress, name, tried):
                probed.append(row)
                calls |= {order.call: None for order in row.orders if order.call}
                yield row
            spent = spent_on(cache_path(), list(calls))
            figures += card.figures(name, probed, judged_by_people, authors, spent)
    jsonl.write(context.folder / CARD, figures)
    context.files.append(context.folder / CARD)
    print(f"The card of {context.config.judge_in_words}")
    people = (context.run.manifest(Step(SPOKEN_STAGE)) or {}).get("people")
    votes = voting.figures(people, list(judges), _aspect(context.config))
    print(trust.table(figures, list(votes)))


def _settings(config: Config) -> JudgeCard:
    return config.judge_card or JudgeCard()


def _aspect(config: Config) -> Aspect:
    """What the judge is tried on: the overall verdict where it gives one."""
    aspects = config.judge.aspects
    return "overall" if "overall" in aspects else aspects[0]


def _judged_by_people(context: Context) -> list[Label]:
    if context.config.agreement is None:
        return []
    return labels.load(context, _settings(context.config).people)


def _tried(context: Context, judged_by_people: Sequence[Label]) -> list[Tried]:
    """Everything that each judge is asked, once."""
    settings = _settings(context.config)
    jokes = [joke for joke in context.rows("teacher", Joke) if joke.index == 0]
    pairs = _answers(context)
    inside = {answer.literal_id for answer, _ in pairs}
    tried = probes.answers(pairs, settings.answers)
    own = [joke for joke in jokes if joke.literal_id in inside]
    tried += probes.controls(own, settings.controls, _aspect(context.config))
    tried += probes.by_people(judged_by_people, labels.pairs(judged_by_people), jokes)
    if not tried:
        raise StageError(
            f"{context.step}: there is nothing to try the judge on: evaluate has no answer, and "
            "the teacher no joke about its sentences."
        )
    return tried


def _answers(context: Context) -> list[Pair]:
    """What evaluate compared."""
    folder = context.run.at(context.inputs["evaluate"])
    return compared.pairs(
        jsonl.read(folder / ANSWERS, Joke),
        context.rows("teacher", Joke),
        context.rows("evaluate", Verdict),
    )


def _write(context: Context, tried: Sequence[Tried], judged_by_people: Sequence[Label]) -> None:
    """The texts that probes name and no earlier step has."""
    made = []
    for probe, pair in tried:
        if probe in card.CONTROLS and probe != probes.SAME:
            made.append(pair[1])
    jsonl.write(context.folder / CONTROLS, made)
    context.files.append(context.folder / CONTROLS)
    if judged_by_people:
        jsonl.write(context.folder / LABELS, judged_by_people)
        context.files.append(context.folder / LABELS)


def _probed(
    context: Context, progress: Progress, name: str, tried: Sequence[Tried]
) -> Iterator[Probe]:
    """One judge's verdicts, with what each is for."""
    judge = context.config.judge.judges[name]
    pairs = [pair for _, pair in tried]
    aspect = _aspect(context.config)
    judged = methods.verdicts(context, "judge", judge, progress, pairs, aspect, name)
    for (probe, _), verdict in zip(tried, tally.counted(context, judge, judged), strict=True):
        values = verdict.model_dump(exclude={"id", "schema_"})
        yield make(Probe, probe=probe, **values)
