"""sft: the student imitates the teacher's jokes, with the loss on the joke alone.

"Small But Funny" (arXiv 2402.18113), imitation phase: maximum likelihood on the teacher's
paraphrases.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.config.whole import Config
from pipeline.execution.context import Context
from pipeline.execution.stage import Code, Expected
from pipeline.judging import devices, watching
from pipeline.judging.preferences import imitations
from pipeline.progress import Progress
from pipeline.rows.records import Joke
from pipeline.rows.row import Row
from pipeline.rows.training import Imitation
from pipeline.runs.step import Step

VERSION = 3


def sections(config: Config, round: int | None) -> Sequence[str]:
    names = ["literals", "student", "sft"]
    return [*names, "guards"] if config.guards.keep_out else names


def prompts(config: Config, round: int | None) -> Sequence[str]:
    return ["student", *watching.prompts(config)]


def decides(config: Config, round: int | None) -> Sequence[Code]:
    return (Code("judging/preferences.py", ("imitations",)),)


def writes(config: Config, round: int | None) -> type[Row]:
    return Imitation


def reads(config: Config, round: int | None) -> dict[str, Step]:
    return {"teacher": Step("teacher")}


def expected(config: Config, round: int | None, literals: Mapping[Any, int]) -> list[Expected]:
    about = literals["train"] + literals["validation"]
    return watching.expected(config, about * config.teacher.most)


def needs(config: Config, round: int | None, literals: Mapping[Any, int]) -> Iterator[str]:
    from pipeline.training import needs

    yield from needs.of_training(config, None, literals)


def run(context: Context) -> Iterator[Imitation]:
    from pipeline.models import student, student_prompt
    from pipeline.training import arguments

    trainer_arguments = arguments.of_sft(context.config, context.folder)
    tokenizer = student.load_tokenizer(context.config)
    split_of = {literal.id: literal.split for literal in context.literals("train", "validation")}
    jokes = [joke for joke in context.rows("teacher", Joke) if joke.literal_id in split_of]
    out = watching.kept_out(context, jokes)
    for joke in jokes:
        if joke.id in out:
            context.drop(joke.literal_id, joke.id, out[joke.id])
    jokes = [joke for joke in jokes if joke.id not in out]
    if context.config.sft.most_alike:
        told = [joke for joke in jokes if split_of[joke.literal_id] == "train"]
        often = devices.told_often(told, context.config.sft.most_alike)
        for joke in told:
            if joke.id in often:
                context.drop(joke.literal_id, joke.id, "its device told often enough")
        jokes = [joke for joke in jokes if joke.id not in often]
    literals = {joke.literal_id: joke.literal for joke in jokes}
    texts = {joke.id: joke.text for joke in jokes}
    longest = arguments.max_length(trainer_arguments)
    with Progress(f"{context.step}, rows", len(jokes)) as progress:
        measured = student_prompt.measure(
            context.config, tokenizer, longest, literals, texts, progress
        )
    rows, left_out = imitations(jokes, measured)
    for dropped in left_out:
        context.drop(*dropped)
    yield from (row for row in rows if split_of[row.literal_id] == "train")
    context.hold_out([row for row in rows if split_of[row.literal_id] == "validation"])


def learn(context: Context) -> None:
    from pipeline.models import student
    from pipeline.training import arguments, imitation

    trainer_arguments = arguments.of_sft(context.config, context.folder)
    imitation.train(context, trainer_arguments, student.load_tokenizer(context.config))
