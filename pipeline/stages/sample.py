"""sample: k candidates per literal, from the student that the round starts from, the untrained one, or the teacher.

"Small But Funny" (arXiv 2402.18113), critique phase, has the critic choose among six candidates of the student.
"""

from collections.abc import Iterator
from typing import Any

from pipeline import prompts
from pipeline.config import Config
from pipeline.context import Context
from pipeline.endpoint import Endpoint
from pipeline.progress import Progress
from pipeline.records import Joke, LiteralText, content_id, make
from pipeline.runs import Step, student_step

SECTIONS = ("literals", "student", "sample")
PROMPTS = ("student",)


def writes(config: Config, round: int | None) -> type[Joke]:
    return Joke


def reads(config: Config, round: int | None) -> dict[str, Step]:
    candidates = config.rounds[(round or 1) - 1].candidates
    if candidates == "teacher":
        return {"teacher": Step("teacher")}
    if candidates == "base" or config.sample.endpoint:
        return {}
    return {"student": student_step(config, round or 1)}


def run(context: Context) -> Iterator[Joke]:
    candidates = context.config.rounds[(context.step.round or 1) - 1].candidates
    literals = context.literals(*context.config.sample.splits)
    if candidates == "teacher":
        wanted = {literal.id for literal in literals}
        yield from (joke for joke in context.rows("teacher", Joke) if joke.literal_id in wanted)
    elif context.config.sample.endpoint:
        yield from _served(context, literals, "base" if candidates == "base" else "sft")
    else:
        yield from _local(context, literals)


def _local(context: Context, literals: list[LiteralText]) -> Iterator[Joke]:
    from pipeline import generation, student

    config = context.config
    start = context.inputs.get("student")
    author = "base" if start is None else "sft" if start.round is None else f"round-{start.round}"
    tokenizer = student.load_tokenizer(config)
    model = student.load(config, student.weights(context.run, start) if start else None)
    tasks = [generation.Task(literal, author, index) for literal in literals for index in range(config.sample.k)]
    yield from generation.write_jokes(context, model, tokenizer, tasks, config.sample)


def requests(context: Context) -> tuple[Endpoint, Iterator[dict[str, Any]]] | None:
    """A chat-completions body per candidate, for a student that is served elsewhere; None for one that is not."""
    sample = context.config.sample
    if sample.endpoint is None:
        return None
    bodies = (
        {
            "messages": [{"role": "user", "content": prompts.render("student", literal=literal.text)}],
            "temperature": sample.temperature,
            "top_p": sample.top_p,
            "max_tokens": sample.max_new_tokens,
            "seed": int(content_id("s", context.config.seed, literal.id, index)[2:9], 16),
        }
        for literal in context.literals(*sample.splits)
        for index in range(sample.k)
    )
    return sample.endpoint, bodies


def _served(context: Context, literals: list[LiteralText], author: str) -> Iterator[Joke]:
    asked, k = requests(context), context.config.sample.k
    if asked is None:
        return
    with Progress(str(context.step), len(literals) * k) as progress:
        answers = context.door(progress).ask(*asked)
        for number, answer in enumerate(answers):
            literal = literals[number // k]
            if not answer.text:
                why = (answer.error or "").partition(":")[0] or ("refused" if answer.refusal else "empty")
                context.drop(literal.id, literal.id, f"no answer: {why}", answer.error or answer.refusal)
                continue
            yield make(
                Joke,
                literal_id=literal.id,
                literal=literal.text,
                text=answer.text.strip(),
                author=author,
                index=number % k,
                call=answer.id,
            )
