"""What a run's steps cost together. Manifests in, values out."""

from typing import Any

from pipeline.config.objectives import OBJECTIVES


def spending(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Totals over the steps; the cost is None where one of them is unknown."""
    spent = [manifest["spent"] for manifest in manifests.values()]
    costs = [row["cost"] for row in spent if row["calls"]]
    pairs = 0
    for manifest in manifests.values():
        learned = OBJECTIVES.get(manifest.get("objective", ""))
        if learned and learned.has_reference:
            pairs += manifest["rows"]
    total = None
    if None not in costs:
        total = sum(costs)
    per_pair = None
    if total is not None and pairs:
        per_pair = total / pairs
    return {
        "calls": sum(row["calls"] for row in spent),
        "tokens": sum(row["prompt_tokens"] + row["completion_tokens"] for row in spent),
        "cost": total,
        "currency": next((row["currency"] for row in spent if row["currency"]), ""),
        "per_pair": per_pair,
        "pairs": pairs,
    }
