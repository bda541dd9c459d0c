"""The critic's verdicts, however it comes to them: by choice, or by cloze."""

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline import cloze, judge
from pipeline.context import Context
from pipeline.endpoint import Endpoint
from pipeline.judging import Critic
from pipeline.progress import Progress
from pipeline.records import Joke, Verdict

Pairs = Sequence[tuple[Joke, Joke]]


def verdicts(context: Context, progress: Progress, pairs: Pairs) -> Iterator[Verdict]:
    """One verdict of the critic per pair (a, b), in order; each call, or scored sentence, advances the progress."""
    critic = context.config.critic
    if critic.method == "choice":
        return judge.verdicts("critic", critic, context.door(progress), pairs, critic.aspect)
    if cloze.is_local(critic.endpoint):
        return cloze.verdicts(critic, cloze.local(critic.endpoint, context.config.runtime, pairs, progress), pairs)
    return cloze.verdicts(critic, cloze.asked(context.door(progress), critic.endpoint, pairs), pairs)


def requests(critic: Critic, pairs: Pairs) -> tuple[Endpoint, Iterator[dict[str, Any]]] | None:
    """The endpoint, and the bodies of every pair; None where nobody is asked."""
    if critic.method == "choice":
        return critic.endpoint, judge.requests("critic", critic, pairs, critic.aspect)
    return None if cloze.is_local(critic.endpoint) else (critic.endpoint, cloze.requests(pairs))
