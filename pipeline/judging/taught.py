"""A model that people's verdicts taught: what it learns from, says, and how often it is right."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pipeline.execution.context import Context
from pipeline.judging import labels, metrics, scored
from pipeline.judging.scored import BATCH, Score, Tag
from pipeline.judging.verdict import Pair
from pipeline.progress import Progress
from pipeline.rows.row import make
from pipeline.rows.training import Comparison


def comparisons(context: Context) -> Iterator[Comparison]:
    """The pairs of reward_model.labels, to learn from or to hold out."""
    settings: Any = context.config.reward_model
    key = settings.split_key or settings.literal_key
    for label, subject in labels.judged(context, "reward_model", settings, key):
        a, b = (label.a, label.a_text), (label.b, label.b_text)
        chosen, rejected = (a, b) if label.label == "a" else (b, a)
        yield make(
            Comparison,
            literal_id=label.literal_id,
            literal=label.literal,
            label_id=label.id,
            subject=subject,
            chosen=chosen[1],
            rejected=rejected[1],
            chosen_id=chosen[0],
            rejected_id=rejected[0],
        )


def held_out(subjects: Iterable[str], share: float, seed: int) -> set[str]:
    """The subjects that nothing is learned of: this share of them, at least one and not all.

    Which ones, the seed and they themselves decide, and no order in which they come.
    """
    drawn = sorted(
        set(subjects), key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest()
    )
    most = len(drawn) - 1
    return set(drawn[: max(1, min(most, round(share * len(drawn))))])


def scores(
    context: Context, pairs: Sequence[Pair], progress: Progress
) -> Iterator[tuple[Tag, Score]]:
    """The reward of both jokes of each pair in turn; of the same joke once."""
    from pipeline.models import reward, student

    step = context.inputs["reward_model"]
    model = reward.judge(student.weights(context.run, step), context.config.runtime)
    by_text: dict[tuple[str, str], float | None] = {}
    for start in range(0, len(pairs), BATCH):
        block = list(scored.jokes(pairs[start : start + BATCH]))
        texts = {(joke.literal, joke.text): None for _, joke in block}
        new = [text for text in texts if text not in by_text]
        by_text |= zip(new, rewards(model, new), strict=True)
        for tag, joke in block:
            value = by_text[joke.literal, joke.text]
            if value is None:
                yield tag, Score(None, error=f"longer than the {model.room} tokens it reads")
            else:
                yield tag, scored.number(value, "the reward is")
        progress.advance(rows=len(block))


def rewards(model: Any, texts: Sequence[tuple[str, str]]) -> Iterator[float | None]:
    """Those of literals and jokes; None of what is longer than the model reads."""
    for start in range(0, len(texts), BATCH):
        yield from model.rewards(texts[start : start + BATCH])


def credits(rows: Sequence[Comparison], model: Any) -> list[float]:
    """Of each row 1 where the joke that people preferred has the higher reward; alike is half."""
    texts = [(row.literal, row.chosen) for row in rows]
    texts += [(row.literal, row.rejected) for row in rows]
    values: Any = list(rewards(model, texts))  # none is longer than what was trained on
    pairs = zip(values[: len(rows)], values[len(rows) :], strict=True)
    return [_higher(chosen, rejected) for chosen, rejected in pairs]


def accuracy(rows: Sequence[Comparison], right: Sequence[float]) -> dict[str, Any]:
    """How often a model is right, by `credits`, and how often the longer joke would be.

    Intervals are percentile bootstrap over subjects, with all their pairs.
    """
    longer = [_higher(len(row.chosen), len(row.rejected)) for row in rows]
    subjects = [row.subject for row in rows]
    low, high = metrics.clustered_rate(right, subjects)
    return {
        "pairs": len(rows),
        "subjects": len(set(subjects)),
        "right": metrics.mean(right),
        "low": low,
        "high": high,
        "longer_right": metrics.mean(longer),
    }


def said(figures: Mapping[str, Any], about: str) -> str:
    """`accuracy` in words; `about` names what these have in common with no pair learned from."""
    return (
        f"right about {100 * figures['right']:.1f} % [{100 * figures['low']:.1f}, "
        f"{100 * figures['high']:.1f}] of {figures['pairs']} pairs with another {about} than it "
        f"learned from ({figures['subjects']} of those); the longer joke would be about "
        f"{100 * figures['longer_right']:.1f} %"
    )


def _higher(chosen: float, rejected: float) -> float:
    if chosen == rejected:
        return 0.5
    return float(chosen > rejected)
