"""dpo: the round's student learns from the critic's verdicts.

"Small But Funny" (arXiv 2402.18113), critique phase; the loss is Rafailov et al., arXiv 2305.18290, eq. 7.
"""

from collections.abc import Iterator

from pipeline import pairs, records
from pipeline.config import Config
from pipeline.context import Context
from pipeline.records import Preference, Verdict
from pipeline.runs import HELD_OUT, Step, student_step

ROW = Preference
SECTIONS = ("literals", "student", "dpo")
PROMPTS = ("student",)


def reads(config: Config, round: int | None) -> dict[str, Step]:
    return {"critic": Step("critic", round), "student": student_step(config, round or 1)}


def run(context: Context) -> Iterator[Preference]:
    from pipeline import student, trainers

    arguments = trainers.dpo_arguments(context.config, context.folder)
    tokenizer = student.load_tokenizer(context.config)
    longest = student.room(context.config, arguments.max_length)
    verdicts = context.rows("critic", Verdict)
    prompts = {verdict.literal_id: student.prompt(tokenizer, verdict.literal) for verdict in verdicts}
    texts = {joke: text for verdict in verdicts for joke, text in _jokes(verdict)}
    rows, dropped = pairs.preferences(
        verdicts,
        prompts,
        {joke: student.length(tokenizer, text) for joke, text in texts.items()},
        context.config.dpo.length_ratio,
        {literal: longest - student.length(tokenizer, prompt) - 1 for literal, prompt in prompts.items()},
    )
    for verdict, reason in dropped:
        context.drop(verdict.literal_id, verdict.id, reason)
    validation = {literal.id for literal in context.literals("validation")}
    held_out = [row for row in rows if row.literal_id in validation]
    yield from (row for row in rows if row.literal_id not in validation)
    records.write(context.folder / HELD_OUT, held_out)
    context.files.append(context.folder / HELD_OUT)
    if len(rows) == len(held_out):
        return
    trainers.train_dpo(context, arguments, tokenizer, context.folder / HELD_OUT if held_out else None)


def _jokes(verdict: Verdict) -> list[tuple[str, str]]:
    return [(verdict.a, verdict.a_text), (verdict.b, verdict.b_text)]
