"""llmr: prompts for the student to answer, and policy gradient on what it writes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.config.whole import Config
from pipeline.errors import DataError, StudentError
from pipeline.execution.context import Context
from pipeline.models import student, student_prompt
from pipeline.models.teacher import Teacher, teacher_room, teacher_tokenizer
from pipeline.rows import jsonl
from pipeline.rows.records import LiteralText
from pipeline.rows.row import make
from pipeline.rows.training import SPECIAL_TOKEN, Prompt, Rollout
from pipeline.runs.files import ROLLOUTS
from pipeline.runs.hashes import folder_hash
from pipeline.training import world
from pipeline.training.fit import finish, without_held_out
from pipeline.training.logits.llmr_trainer import LlmrTrainer
from pipeline.training.selection import stop_early


def prompts(context: Context, tokenizer: Any, literals: list[LiteralText]) -> Iterator[Prompt]:
    """A row for each literal; those too long for student or teacher are left out and counted."""
    settings: Any = context.config.llmr
    taught = teacher_tokenizer(context.config, "llmr", tokenizer)
    student_room = student_prompt.room(context.config)
    room_of_teacher = teacher_room(context.config, "llmr")
    special = [student_prompt.special_tokens(reader) for reader in (tokenizer, taught)]
    for literal in literals:
        if any(tokens.search(literal.text) for tokens in special):
            context.drop(literal.id, literal.id, SPECIAL_TOKEN)
            continue
        text = student_prompt.prompt(tokenizer, literal.text)
        room = student_room(student_prompt.length(tokenizer, text))
        for name in settings.prompts:
            view = student_prompt.prompt(taught, literal.text, name)
            room = min(room, room_of_teacher(student_prompt.length(taught, view)))
        if room < settings.max_new_tokens:
            reason = "longer than the student's or the teacher's context"
            context.drop(literal.id, literal.id, reason)
            continue
        yield make(Prompt, literal_id=literal.id, prompt=text)


def train(context: Context, arguments: Any, tokenizer: Any) -> None:
    """Policy gradient on the step's prompts, from the round's starting student.

    Weights, curve, facts and rollouts, what the student wrote on the way, go to the context.
    """
    config = context.config
    settings: Any = config.llmr
    start = context.inputs["student"]
    without_held_out(arguments, context, context.held_out)
    weights = student.weights(context.run, start)
    model = student.load(config, weights, train=True)
    teacher = Teacher(config, "llmr", tokenizer)
    text_of = {literal.id: literal.text for literal in context.literals("train", "validation")}

    def encoded(path: Path) -> list[dict[str, Any]]:
        return examples(config, jsonl.load(path, Prompt), text_of, tokenizer, teacher.tokenizer)

    context.facts["start"] = {"step": str(start), "sha256": folder_hash(weights)}
    context.facts["teacher"] = teacher.identity
    trainer = LlmrTrainer(
        config=config,
        teacher=teacher,
        model=model,
        args=arguments,
        train_dataset=encoded(context.records),
        eval_dataset=encoded(context.held_out) if context.held_out else None,
        processing_class=tokenizer,
    )
    stop_early(context, trainer, tokenizer)
    finish(trainer, context, tokenizer)
    world.together()  # what each process wrote is there
    written = _last_attempts(trainer.rollouts.parent)
    unfinished = sum(not row.finished for row in written)
    if unfinished == len(written):
        raise StudentError(
            f"{context.step}: none of {len(written)} samples ended within llmr.max_new_tokens = "
            f"{settings.max_new_tokens}, so that nothing was learned. Raise it, or train sft "
            f"longer; then: {context.step.command(context.run.name)} --force"
        )
    context.facts["rollouts"] = {"written": len(written), "unfinished": unfinished}
    if world.first():
        jsonl.write(context.folder / ROLLOUTS, written)
    context.files.append(context.folder / ROLLOUTS)


def examples(
    config: Config, rows: list[Prompt], text_of: dict[str, str], tokenizer: Any, taught: Any
) -> list[dict[str, Any]]:
    """Rows as token ids: the student's prompt, and the teacher's by each of its templates."""
    settings: Any = config.llmr
    examples = []
    for row in rows:
        views = []
        for name in settings.prompts:
            view = student_prompt.prompt(taught, text_of[row.literal_id], name)
            views.append(taught(view)["input_ids"])
        prompt = tokenizer(row.prompt)["input_ids"]
        examples.append({"literal_id": row.literal_id, "prompt": prompt, "views": views})
    return examples


def _last_attempts(folder: Path) -> list[Rollout]:
    """The rollouts of a training, in order; of steps that were repeated after a kill, the last."""
    rollouts: dict[str, Rollout] = {}
    for path in sorted(folder.glob(f"*-{ROLLOUTS}")):
        for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
            if not line:
                continue
            try:
                row = jsonl.parse(line, Rollout, f"{path}:{number}")
            except DataError:  # torn by a kill: its step is after the last checkpoint, and repeated
                continue
            rollouts[row.id] = row
    return sorted(rollouts.values(), key=lambda row: row.step)
