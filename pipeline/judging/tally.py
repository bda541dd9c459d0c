"""What came of a step's judging: how much of it failed, and why."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.config.judging import Judging
from pipeline.errors import StageError
from pipeline.execution.context import Context
from pipeline.rows.records import Order, Verdict
from pipeline.runs.manifest import failures

CERTAIN = (0.0, 0.5, 1.0)
"""What an answer states without log-probabilities."""
QUOTED = 300
"""Characters of an answer that a person is shown."""


def counted(context: Context, settings: Judging, verdicts: Iterable[Verdict]) -> Iterator[Verdict]:
    """The verdicts of one judge in a step; what failed of them goes into its manifest.

    StageError after the last of them where all have failed, as nothing can be learned from that;
    calls that failed for good are left to the executor to tell.
    """
    total = 0
    failed: Counter[str] = Counter()
    example = ""
    stated = True
    for verdict in verdicts:
        total += 1
        if verdict.outcome == "failed":
            order = next(order for order in verdict.orders if order.error is not None)
            failed[_reason(order)] += 1
            example = example or order.raw or ""
        stated = stated and all(order.p_a in (*CERTAIN, None) for order in verdict.orders)
        yield verdict
    facts = _facts(total, failed)
    context.facts["judging"] = _with(facts, context.facts.get("judging"))
    if failed.total() < total:
        if stated and settings.method == "choice" and settings.server.logprobs:
            print(_no_logprobs(context, settings))
    elif total and (context.accept_failed or not context.quarantine.now):
        raise StageError(_all_failed(context, settings, facts, example))


def _facts(total: int, failed: Counter[str]) -> dict[str, Any]:
    """What a manifest says of verdicts."""
    reasons = dict(failed.most_common())
    return {"verdicts": total, "failed": failed.total(), "reasons": reasons}


def _with(facts: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
    """And of those of the judges before."""
    if before is None:
        return facts
    failed = Counter(before["reasons"]) + Counter(facts["reasons"])
    return _facts(before["verdicts"] + facts["verdicts"], failed)


def _reason(order: Order) -> str:
    """Why an order failed, without what only this one said."""
    return (order.error or "").partition(":")[0].replace("_", " ")


def _all_failed(context: Context, settings: Judging, facts: dict[str, Any], example: str) -> str:
    quoted = f"\nOne answer was: {example[:QUOTED]!r}" if example else ""
    return (
        f"{context.step}: {settings.name}: {failures({'judging': facts})}. With none "
        "left there is nothing to go on from."
        f"{quoted}\nMend the prompt, or the endpoint's section in the configuration; "
        "docs/hosted-models.md says what servers need. Answers that were paid for are kept."
    )


def _no_logprobs(context: Context, settings: Judging) -> str:
    return (
        f"{context.step}: no answer of {settings.name} had log-probabilities that could "
        "be read, so each verdict is what the answer states, 1 or 2, and no tie_band applies. Set "
        "logprobs = false in the endpoint's section, or use a server that gives them."
    )
