"""sft: the student imitates the teacher's jokes, with the loss on the joke alone.

"Small But Funny" (arXiv 2402.18113), imitation phase: maximum likelihood on the teacher's paraphrases.
"""

from collections.abc import Iterator

from pipeline import jsonl
from pipeline.config import Config
from pipeline.context import Context
from pipeline.progress import Progress
from pipeline.records import Imitation, Joke, make
from pipeline.runs import HELD_OUT, Step

SECTIONS = ("literals", "student", "sft")
PROMPTS = ("student",)


def writes(config: Config, round: int | None) -> type[Imitation]:
    return Imitation


def reads(config: Config, round: int | None) -> dict[str, Step]:
    return {"teacher": Step("teacher")}


def run(context: Context) -> Iterator[Imitation]:
    from pipeline import imitation, student, trainers

    arguments = trainers.imitation_arguments(context.config, context.folder)
    tokenizer = student.load_tokenizer(context.config)
    room = student.room(context.config, getattr(arguments, "max_length", None))
    split_of = {literal.id: literal.split for literal in context.literals("train", "validation")}
    held_out: list[Imitation] = []
    trained = 0
    jokes = [joke for joke in context.rows("teacher", Joke) if joke.literal_id in split_of]
    with Progress(f"{context.step}, rows", len(jokes)) as progress:
        for joke in jokes:
            prompt = student.prompt(tokenizer, joke.literal)
            row = make(Imitation, literal_id=joke.literal_id, joke_id=joke.id, prompt=prompt, completion=joke.text)
            if student.length(tokenizer, row.completion) + 1 > room(student.length(tokenizer, row.prompt)):
                context.drop(joke.literal_id, joke.id, "longer than max_length")
            elif split_of[joke.literal_id] == "validation":
                held_out.append(row)
            else:
                trained += 1
                yield row
            progress.advance()
    jsonl.write(context.folder / HELD_OUT, held_out)
    context.files.append(context.folder / HELD_OUT)
    if not trained:
        return
    imitation.train(context, arguments, tokenizer, context.folder / HELD_OUT if held_out else None)
