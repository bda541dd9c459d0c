"""reward-model: pairs that people judged teach a model what is funny.

As critic, judge or chooser of best-of-N (method = "reward_model") it asks nobody. How often it is
right is told of subjects that it learned nothing of.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.config.whole import Config
from pipeline.errors import StageError
from pipeline.execution.context import Context
from pipeline.judging import taught
from pipeline.rows import jsonl
from pipeline.rows.row import Row
from pipeline.rows.training import Comparison
from pipeline.runs.files import HELD_OUT, WEIGHTS
from pipeline.runs.step import Step

VERSION = 1


def sections(config: Config, round: int | None) -> Sequence[str]:
    return ("reward_model",)


def prompts(config: Config, round: int | None) -> Sequence[str]:
    return ()


def writes(config: Config, round: int | None) -> type[Row]:
    return Comparison


def reads(config: Config, round: int | None) -> dict[str, Step]:
    return {}


def run(context: Context) -> Iterator[Comparison]:
    from pipeline.models import reward
    from pipeline.training import reward as training

    arguments = training.arguments(context.config, context.folder)
    tokenizer = reward.load_tokenizer(context.config)
    fits = reward.measure(context.config, tokenizer, arguments.max_length)
    rows = []
    for row in taught.comparisons(context):
        if fits(row.literal, row.chosen) and fits(row.literal, row.rejected):
            rows.append(row)
        else:
            context.drop(row.literal_id, row.label_id, "longer than max_length")
    subjects = {row.subject for row in rows}
    settings: Any = context.config.reward_model
    if len(subjects) < 2:
        left_out = [f"{count} {reason}" for reason, count in context.drops.reasons.items()]
        raise StageError(
            f"{context.step}: {settings.labels} has {len(rows)} pairs about {len(subjects)} "
            f"{settings.split_key or settings.literal_key}: some have to be held out, to tell how "
            "often it is right about others. Name another reward_model.split_key, or give more. "
            f"Dropped: {', '.join(left_out) or 'none'}."
        )
    out = taught.held_out(subjects, settings.held_out, context.config.seed)
    learned = [row for row in rows if row.subject not in out]
    yield from learned
    told = {row.literal_id for row in learned}
    held_out = []
    for row in rows:
        if row.subject not in out:
            continue
        if row.literal_id in told:
            context.drop(row.literal_id, row.label_id, "held out, but its literal is learned from")
        else:
            held_out.append(row)
    if not held_out:
        raise StageError(
            f"{context.step}: every pair that could be held out is about what others are learned "
            "from. Name a reward_model.split_key that is wider than the literal."
        )
    context.hold_out(held_out)


def learn(context: Context) -> None:
    from pipeline.models import reward
    from pipeline.training import reward as training

    rows = jsonl.load(context.records, Comparison)
    held_out = jsonl.load(context.folder / HELD_OUT, Comparison)
    training.train(context, rows, held_out, reward.load_tokenizer(context.config))
    model = reward.judge(context.folder / WEIGHTS, context.config.runtime)
    figures = taught.accuracy(held_out, taught.credits(held_out, model))
    context.facts["held_out"] = figures
    settings: Any = context.config.reward_model
    about = settings.split_key or settings.literal_key
    print(f"{context.step}: {taught.said(figures, about)}")
