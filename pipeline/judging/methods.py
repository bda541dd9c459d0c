"""Verdicts by whichever method a section names: choice, cloze or reward_model."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.config.judging import Judging
from pipeline.config.rounds import Round
from pipeline.config.whole import Config
from pipeline.execution.context import Context
from pipeline.execution.stage import Expected, Requests
from pipeline.judging import choice, cloze, scored, taught
from pipeline.judging.pairs import most as most_pairs
from pipeline.judging.verdict import Pair, Role
from pipeline.progress import Progress
from pipeline.rows.records import Verdict
from pipeline.runs.recipes import BATCH
from pipeline.runs.step import Step
from pipeline.vocabulary import Aspect


def verdicts(
    context: Context,
    role: Role,
    settings: Judging,
    progress: Progress,
    pairs: Sequence[Pair],
    aspect: Aspect = "overall",
    judge: str | None = None,
) -> Iterator[Verdict]:
    """One verdict per pair (a, b), in order.

    Each call, or scored joke, advances the progress.
    """
    if settings.method == "choice":
        door = context.door(progress)
        return choice.verdicts(role, settings, door, pairs, aspect, judge)
    if settings.method == "reward_model":
        scores = taught.scores(context, pairs, progress)
    elif cloze.is_local(settings.server):
        runtime = context.config.runtime
        scores = cloze.local(settings.server, settings.template(role), runtime, pairs, progress)
    else:
        door = context.door(progress)
        scores = cloze.asked(door, settings.server, settings.template(role), pairs)
    return scored.verdicts(role, settings.tie_band, scores, aspect, judge)


def critics(context: Context, progress: Progress, pairs: Sequence[Pair]) -> Iterator[Verdict]:
    """`verdicts` of the critic."""
    settings = context.config.critic
    return verdicts(context, "critic", settings, progress, pairs, settings.aspect)


def asks(settings: Judging) -> bool:
    """Whether anybody is asked."""
    if settings.method == "reward_model":
        return False
    return settings.method == "choice" or not cloze.is_local(settings.server)


def requests(
    role: Role, settings: Judging, pairs: Sequence[Pair], aspect: Aspect = "overall"
) -> Requests | None:
    """The endpoint, and the tagged bodies of every pair; None where nobody is asked."""
    if not asks(settings):
        return None
    if settings.method == "choice":
        return settings.server, choice.requests(role, settings, pairs, aspect)
    return settings.server, cloze.requests(settings.template(role), pairs)


def expected(role: Role, settings: Judging, pairs: int) -> list[Expected]:
    """What so many pairs cost at most."""
    if settings.method == "reward_model":
        return []
    return [Expected(settings.server, settings.template(role), 2 * pairs, settings.max_tokens)]


EPOCHS = 3
"""transformers' default of num_train_epochs, as trainers have it."""
LOGGING_STEPS = 10
"""TRL's default of logging_steps, which is that of eval_steps."""


def expected_while_training(
    config: Config, learned: Round, literals: Mapping[Any, int]
) -> list[Expected]:
    """What the rates cost at most by which a round is stopped: one at each evaluation."""
    stop = config.stopping(learned)
    if stop is None or not config.stops_by_rate(learned):
        return []
    given = config.trainer_keys(learned)
    epoch, steps = steps_at_most(config, learned, literals)
    numbers = _numbers(given)
    every: float = epoch
    if given.get("eval_strategy") == "steps":
        every = numbers.get("eval_steps") or numbers.get("logging_steps", LOGGING_STEPS)
        if every < 1:
            every = math.ceil(every * steps)  # a share of them
    evaluations = 1 + math.ceil(steps / max(1, every))
    return expected(
        "critic", config.critic, evaluations * min(stop.literals, literals["validation"])
    )


def steps_at_most(
    config: Config, learned: Round | None, literals: Mapping[Any, int]
) -> tuple[int, int]:
    """Steps of an epoch, and of the whole training of a round, or of sft."""
    given = config.sft.trainer if learned is None else config.trainer_keys(learned)
    numbers = _numbers(given)
    batch = math.prod(numbers.get(key, default) for key, default in BATCH.items())
    rows = literals["train"]
    if learned is None or learned.learning.reads == "jokes":
        rows *= config.teacher.most
    elif learned.learning.judges and not learned.rankings and config.dpo.pairing != "divpo":
        rows *= most_pairs(config, learned)
    epoch = math.ceil(rows / max(1, batch * config.runtime.processes))
    steps = numbers.get("max_steps", -1)
    if steps <= 0:
        steps = epoch * numbers.get("num_train_epochs", EPOCHS)
    return epoch, math.ceil(steps)


def _numbers(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if isinstance(value, (int, float))}


def prompts(role: Role, *sections: Judging) -> Sequence[str]:
    """The templates that decide the verdicts of these sections."""
    asked = [settings for settings in sections if settings.method != "reward_model"]
    return list(dict.fromkeys(settings.template(role) for settings in asked))


def reads(*sections: Judging) -> dict[str, Step]:
    """The step whose model judges, where one of these sections names it."""
    if any(settings.method == "reward_model" for settings in sections):
        return {"reward_model": Step("reward-model")}
    return {}
