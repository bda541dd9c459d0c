"""vote: what people said of the students' answers beside their teacher's.

The votes are in the ballot box (pipeline/voting/box.py); the step is what of them is about this
run's answers. `humor-distill vote` opens the page, and makes the step when it is closed.
"""

from collections.abc import Iterator, Sequence

from pipeline.config.whole import Config
from pipeline.errors import StageError
from pipeline.execution.context import Context
from pipeline.judging import compared, labels, methods
from pipeline.rows import jsonl
from pipeline.rows.records import Joke, Verdict
from pipeline.rows.row import Row, make
from pipeline.rows.vote import Vote
from pipeline.runs.files import ANSWERS
from pipeline.runs.step import Step
from pipeline.voting import figures, words
from pipeline.voting.box import Ballot, Box, every_question

VERSION = 1


def sections(config: Config, round: int | None) -> Sequence[str]:
    return ()


def prompts(config: Config, round: int | None) -> Sequence[str]:
    return ()


def writes(config: Config, round: int | None) -> type[Row]:
    return Vote


def reads(config: Config, round: int | None) -> dict[str, Step]:
    read = {"teacher": Step("teacher"), "evaluate": Step("evaluate")}
    return read | methods.reads(*config.judge.judges.values())


def run(context: Context) -> Iterator[Vote]:
    folder = context.run.at(context.inputs["evaluate"])
    verdicts = context.rows("evaluate", Verdict)
    answers = jsonl.read(folder / ANSWERS, Joke)
    pairs = compared.pairs(answers, context.rows("teacher", Joke), verdicts)
    by_ids = {(a.id, b.id): (a, b) for a, b in pairs}
    box = Box(context.run.name, every_question(pairs), {a.id: a.literal_id for a, _ in pairs})
    votes = []
    for ballot in box.ballots():
        pair = by_ids.get((ballot.question.a, ballot.question.b))
        if pair is None:
            literal = ballot.literal_id
            context.drop(literal, literal, "vote on an answer of before", ballot.voter)
            continue
        vote = _vote(ballot, *pair)
        votes.append(vote)
        yield vote
    box.close()
    if not votes and not context.drops.reasons:
        raise StageError(
            f"{context.step}: nobody has voted yet. Open the page: humor-distill vote --run "
            f"{context.run.name}"
        )
    splits = {literal.id: literal.split for literal in context.literals()}
    authors = {a.id: a.author for a, _ in pairs}
    told = figures.told(votes, authors, splits, _of_strangers(context, verdicts))
    context.facts["people"] = told.facts()
    print("\n".join(words.lines(told)))


def _of_strangers(context: Context, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Without those of a judge that people taught on the sentences that they taught it by."""
    told = labels.learned(context)
    taught = {
        name
        for name, judge in context.config.judge.judges.items()
        if judge.method == "reward_model"
    }
    return [row for row in verdicts if row.judge not in taught or row.literal_id not in told]


def _vote(ballot: Ballot, a: Joke, b: Joke) -> Vote:
    return make(
        Vote,
        literal_id=a.literal_id,
        literal=a.literal,
        **ballot.question._asdict(),
        a_text=a.text,
        b_text=b.text,
        shown=ballot.shown,
        answer=ballot.answer,
        offensive=ballot.offensive,
        voter=ballot.voter,
        again=ballot.again,
        ms=ballot.ms,
        at=ballot.at,
    )
