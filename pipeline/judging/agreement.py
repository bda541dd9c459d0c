"""How verdicts agree with people's. Values in, values out."""

from collections.abc import Sequence
from typing import Any

from pipeline.judging.metrics import clustered, clustered_rate, mean
from pipeline.rows.records import Label, Order, Verdict


def agreement(verdicts: Sequence[Verdict], labels: Sequence[Label]) -> dict[str, Any]:
    """How the critic's verdicts agree with people's ("Small But Funny", arXiv 2402.18113, table 1).

    Rates over the pairs whose verdict did not fail: agreement is the share of presentations that
    give people's answer (half for a tie), position_bias of pairs whose answer changes with the
    order, length_bias of pairs where people prefer the shorter joke and the critic (mean of both
    orders) the longer, in characters. `longer` is how often people prefer the longer one: what a
    critic has to beat, by `over_longer`, paired. Intervals are over literals, of which several
    pairs may be.
    """
    label_of = {(label.a, label.b): label.label for label in labels}
    rates: dict[str, list[float]] = {
        name: [] for name in ("agreement", "position_bias", "length_bias", "longer", "over_longer")
    }
    valid = [verdict for verdict in verdicts if verdict.outcome != "failed"]
    for verdict in valid:
        label = label_of[verdict.a, verdict.b]
        longer = _longer(verdict)
        own = [agrees(order, label) for order in verdict.orders]
        answers = {order.answer for order in verdict.orders}
        misled = longer is not None and label != longer and _prefers(verdict) == longer
        rates["agreement"].append(sum(own) / len(own))
        rates["position_bias"].append(float(len(answers) > 1))
        rates["length_bias"].append(float(misled))
        rates["longer"].append(0.5 if longer is None else float(label == longer))
        rates["over_longer"].append(rates["agreement"][-1] - rates["longer"][-1])
    figures: dict[str, Any] = {"n": len(valid), "failed": len(verdicts) - len(valid)}
    literals = [verdict.literal_id for verdict in valid]
    for name, values in rates.items():
        of = clustered if name == "over_longer" else clustered_rate
        low, high = of(values, literals)
        figures |= {name: mean(values), f"{name}_low": low, f"{name}_high": high}
    return figures


def agrees(order: Order, label: str) -> float:
    """1 for people's answer, a half for a tie."""
    if order.answer == "tie":
        return 0.5
    return float(order.answer == label)


def _longer(verdict: Verdict) -> str | None:
    """Which joke has more characters; None where they have as many."""
    a = len(verdict.a_text)
    b = len(verdict.b_text)
    if a == b:
        return None
    return "a" if a > b else "b"


def _prefers(verdict: Verdict) -> str | None:
    """Which joke the mean of both orders prefers."""
    p_a = verdict.p_a or 0.0
    if p_a == 0.5:
        return None
    return "a" if p_a > 0.5 else "b"
