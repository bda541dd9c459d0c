"""Who answers in an evaluation, and how."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pipeline.config.student import Generation, Sampled
from pipeline.execution.context import Context
from pipeline.judging import best_of
from pipeline.rows import jsonl
from pipeline.rows.records import Joke, LiteralText
from pipeline.rows.row import make

if TYPE_CHECKING:
    from pipeline.serving.students import Students


class Contestant(NamedTuple):
    """Who answers, and how."""

    student: str
    """The input whose weights they are; base for none, retriever for one that looks up."""
    how: Literal["decoded", "chosen", "sampled", "looked up"] = "decoded"


def named(context: Context) -> dict[str, Contestant]:
    """The contestants by their names; the last is the last round's student as it is exported."""
    settings = context.config.evaluate
    contestants = {"base": Contestant("base")}
    if "retriever" in context.inputs:
        contestants["retriever"] = Contestant("retriever", "looked up")
    for name in context.inputs:
        if name in ("teacher", "retriever", "reward_model"):
            continue
        if settings.sampled:
            contestants[f"{name}-sampled"] = Contestant(name, "sampled")
        contestants[name] = Contestant(name)
        if name == "sft" and settings.best_of:
            contestants[best_of.name(settings.best_of)] = Contestant("sft", "chosen")
    return contestants


def all_answered(
    name: str, literals: Iterable[LiteralText], answers: Iterable[Joke]
) -> Iterator[Joke]:
    """A contestant's answers, then an empty one for each literal that has none."""
    answered = set()
    for joke in answers:
        answered.add(joke.literal_id)
        yield joke
    for literal in literals:
        if literal.id not in answered:
            yield make(
                Joke,
                literal_id=literal.id,
                literal=literal.text,
                text="",
                author=name,
                index=0,
                call=None,
            )


def decodings(context: Context) -> dict[str, str | None]:
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
    return {name: said[contestant.how] for name, contestant in named(context).items()}


def write(
    context: Context, literals: list[LiteralText], looked_up: Callable[[], Iterable[Joke]]
) -> list[Path]:
    """Write each contestant's answers into a side file; those of an interrupted attempt stay.

    `looked_up` gives a retriever's. A critic chooses, and the retriever looks up, once no student
    takes the memory any more.
    """
    from pipeline.serving.students import Students

    parts = {name: context.folder / f"answers-{name}.jsonl" for name in named(context)}
    due = {name: one for name, one in named(context).items() if not parts[name].exists()}

    def note(name: str, told: Iterable[Joke]) -> None:
        jsonl.write(parts[name], all_answered(name, literals, told))

    with Students(context) as students:
        for name, contestant in due.items():
            if contestant.how == "chosen":
                step = context.inputs[contestant.student]
                best_of.write(context, students, step, literals)
            elif contestant.how != "looked up":
                note(name, answers(context, students, name, contestant, literals))
    for name, contestant in due.items():
        if contestant.how == "chosen":
            note(name, best_of.choose(context))
        elif contestant.how == "looked up":
            note(name, looked_up())
    return list(parts.values())


def answers(
    context: Context,
    students: "Students",
    name: str,
    contestant: Contestant,
    literals: list[LiteralText],
) -> Iterable[Joke]:
    """A contestant's answers as its student writes them."""
    from pipeline.models.generation import Task

    step = context.inputs.get(contestant.student)
    settings: Generation = context.config.evaluate
    number = 1
    if contestant.how == "sampled":
        settings = context.config.evaluate.how_sampled()
        number = (context.config.evaluate.sampled or Sampled()).answers
    tasks = []
    for literal in literals:
        tasks += [Task(literal, name, index) for index in range(number)]
    return students.write(step, tasks, settings)
