"""sft: the student imitates the teacher's jokes, with the loss on the joke alone.

"Small But Funny" (arXiv 2402.18113), imitation phase: maximum likelihood on the teacher's paraphrases.
"""

from collections.abc import Iterator

from pipeline import jsonl, pairs
from pipeline.config import Config
from pipeline.context import Context
from pipeline.lessons import Imitation
from pipeline.progress import Progress
from pipeline.records import Joke
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
    split_of = {literal.id: literal.split for literal in context.literals("train", "validation")}
    jokes = [joke for joke in context.rows("teacher", Joke) if joke.literal_id in split_of]
    told, texts = {joke.literal_id: joke.literal for joke in jokes}, {joke.id: joke.text for joke in jokes}
    longest = getattr(arguments, "max_length", None)  # transformers' own trainer has none
    with Progress(f"{context.step}, rows", len(jokes)) as progress:
        found = student.measure(context.config, tokenizer, longest, told, texts, progress)
    rows, dropped = pairs.imitations(jokes, *found)
    for literal, what, reason in dropped:
        context.drop(literal, what, reason)
    held_out = [row for row in rows if split_of[row.literal_id] == "validation"]
    yield from (row for row in rows if split_of[row.literal_id] == "train")
    jsonl.write(context.folder / HELD_OUT, held_out)
    context.files.append(context.folder / HELD_OUT)
    if len(rows) == len(held_out):
        return
    imitation.train(context, arguments, tokenizer, context.folder / HELD_OUT if held_out else None)
