"""sample: k candidates per literal.

They are from the student that the round starts from, the untrained one, or the teacher.

"Small But Funny" (arXiv 2402.18113), critique phase, has the critic choose among six candidates of
the student.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline import prompts as templates
from pipeline.config.whole import Config
from pipeline.execution.context import Context
from pipeline.execution.stage import Code, Expected, Requests
from pipeline.parsing.said import said
from pipeline.progress import Progress
from pipeline.rows.records import Joke, LiteralText
from pipeline.rows.row import Row, content_id, make
from pipeline.runs.step import Step, student_step
from pipeline.serving.said import Alike, why_none

VERSION = 3
ROUND_KEYS = ("candidates",)


def sections(config: Config, round: int | None) -> Sequence[str]:
    return ("literals", "student", "sample")


def prompts(config: Config, round: int | None) -> Sequence[str]:
    return ("student",)


def decides(config: Config, round: int | None) -> Sequence[Code]:
    """Only what a server answers is read by rules."""
    return (Code("parsing"),) if config.sample.endpoint else ()


def writes(config: Config, round: int | None) -> type[Row]:
    return Joke


def reads(config: Config, round: int | None) -> dict[str, Step]:
    candidates = config.round(round).candidates
    if candidates == "teacher":
        return {"teacher": Step("teacher")}
    if candidates == "base" or config.sample.endpoint:
        return {}
    return {"student": student_step(config, round or 1)}


def serves(config: Config, round: int | None) -> bool:
    own = config.round(round).candidates != "teacher" and not config.sample.endpoint
    return own and config.runtime.server is not None


def needs(config: Config, round: int | None, literals: Mapping[Any, int]) -> Iterator[str]:
    from pipeline.training import needs

    if config.round(round).candidates != "teacher" and not config.sample.endpoint:
        answers = config.sample.k * sum(literals[split] for split in config.sample.splits)
        yield from needs.of_writing(config, config.sample, answers)


def requests(context: Context) -> Requests | None:
    """A chat-completions body per candidate, for a student that is served elsewhere.

    None for one that is not.
    """
    endpoint = context.config.sample.endpoint
    return None if endpoint is None else (endpoint, _bodies(context))


def expected(config: Config, round: int | None, literals: Mapping[Any, int]) -> list[Expected]:
    sample = config.sample
    if sample.endpoint is None:
        return []
    calls = sample.k * sum(literals[split] for split in sample.splits)
    return [Expected(sample.endpoint, "student", calls, sample.max_new_tokens)]


def run(context: Context) -> Iterator[Joke]:
    candidates = context.round.candidates
    literals = context.literals(*context.config.sample.splits)
    if candidates == "teacher":
        wanted = {literal.id for literal in literals}
        yield from (joke for joke in context.rows("teacher", Joke) if joke.literal_id in wanted)
    elif context.config.sample.endpoint:
        yield from _served(context, "base" if candidates == "base" else "sft")
    else:
        yield from _local(context, literals)


def _local(context: Context, literals: list[LiteralText]) -> Iterator[Joke]:
    """Candidates of the run's own student."""
    from pipeline.models.generation import Task
    from pipeline.serving.students import Students

    sample = context.config.sample
    author = "base"
    start = context.inputs.get("student")
    if start:
        author = "sft" if start.round is None else f"round-{start.round}"
    tasks = []
    for literal in literals:
        tasks += [Task(literal, author, index) for index in range(sample.k)]
    with Students(context) as students:
        yield from students.write(start, tasks, sample, drop_cut=True)


def _bodies(context: Context) -> Iterator[tuple[tuple[LiteralText, int], dict[str, Any]]]:
    """Tagged with the literal and the candidate's index."""
    sample = context.config.sample
    for literal in context.literals(*sample.splits):
        content = templates.render("student", literal=literal.text)
        for index in range(sample.k):
            body = {
                "messages": [{"role": "user", "content": content}],
                "temperature": sample.temperature,
                "top_p": sample.top_p,
                "max_tokens": sample.max_new_tokens,
                "seed": int(content_id("s", context.config.seed, literal.id, index)[2:9], 16),
            }
            yield (literal, index), body


def _served(context: Context, author: str) -> Iterator[Joke]:
    """Candidates of a student that is served elsewhere."""
    sample = context.config.sample
    if sample.endpoint is None:
        return
    calls = len(context.literals(*sample.splits)) * sample.k
    alike = Alike(str(context.step), sample, sample.k, "sample.endpoint.extra_body")
    with Progress(str(context.step), calls, "calls") as progress:
        for (literal, index), answer in context.door(progress).ask(
            sample.endpoint, _bodies(context)
        ):
            text, after = said(answer.text or "")
            why = why_none(answer, drop_cut=True) or (None if text else "no answer: empty")
            if why:
                left_out = answer.error or answer.refusal or answer.text
                context.drop(literal.id, literal.id, why, left_out)
                continue
            if after:
                context.drop(literal.id, literal.id, "after the answer's end", after)
            alike.note(literal.id, text)
            yield make(
                Joke,
                literal_id=literal.id,
                literal=literal.text,
                text=text,
                author=author,
                index=index,
                call=answer.id,
            )
