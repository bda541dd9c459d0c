"""The critic's verdicts, however it comes to them: by choice, or by cloze."""

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.config.endpoint import Endpoint
from pipeline.config.judging import Critic
from pipeline.execution.context import Context
from pipeline.judging import choice, cloze
from pipeline.judging.verdict import Pair
from pipeline.progress import Progress
from pipeline.rows.records import Verdict


def verdicts(context: Context, progress: Progress, pairs: Sequence[Pair]) -> Iterator[Verdict]:
    """One verdict of the critic per pair (a, b), in order.

    Each call, or scored sentence, advances the progress.
    """
    settings = context.config.critic
    if settings.method == "choice":
        return choice.verdicts("critic", settings, context.door(progress), pairs, settings.aspect)
    if cloze.is_local(settings.endpoint):
        scored = cloze.local(settings.endpoint, context.config.runtime, pairs, progress)
    else:
        scored = cloze.asked(context.door(progress), settings.endpoint, pairs)
    return cloze.verdicts(settings, scored)


def requests(
    settings: Critic, pairs: Sequence[Pair]
) -> tuple[Endpoint, Iterator[tuple[Any, dict[str, Any]]]] | None:
    """The endpoint, and the tagged bodies of every pair; None where nobody is asked."""
    if settings.method == "choice":
        return settings.endpoint, choice.requests("critic", settings, pairs, settings.aspect)
    if cloze.is_local(settings.endpoint):
        return None
    return settings.endpoint, cloze.requests(pairs)
