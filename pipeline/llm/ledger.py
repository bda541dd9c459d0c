"""What was paid for: the call cache as a ledger."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pipeline.llm.database import open_cache, reading, storage_errors


def spent_on(path: Path, calls: Sequence[str]) -> dict[str, Any]:
    """Calls, tokens and cost of answers in the cache, whoever paid for them.

    `calls` are ids such as c_0123456789ab.
    """
    rows = []
    if calls:
        with reading(path) as cache:
            for call in calls:
                key = call.removeprefix("c_")
                rows += cache.execute(
                    "SELECT prompt_tokens, completion_tokens, cost, currency FROM calls WHERE key "
                    ">= ? AND key < ?",
                    [key, key + "g"],
                ).fetchall()
    costs = [cost for _, _, cost, _ in rows]
    currencies = [currency for _, _, _, currency in rows if currency]
    return {
        "calls": len(rows),
        "tokens": sum((prompt or 0) + (completion or 0) for prompt, completion, _, _ in rows),
        "cost": None if None in costs else sum(costs),
        "currency": currencies[0] if currencies else None,
    }


def rename(path: Path, run: str, name: str) -> None:
    """Have what a run paid for stand under another name: a new run of its name owes none of it."""
    if not path.exists():
        return
    with storage_errors(path), closing(open_cache(path)) as cache:
        for table in ("calls", "sent"):
            cache.execute(f"UPDATE {table} SET run = ? WHERE run = ?", [name, run])


def usage(path: Path, run: str, step: str | None = None) -> dict[str, Any]:
    """What a run (or one of its steps) paid for: calls, tokens and cost.

    The cost is None where a price is unknown.
    """
    where = "run = ?"
    values = [run]
    if step:
        where = "run = ? AND step = ?"
        values = [run, step]
    with reading(path) as cache:
        calls, prompt, completion, paid, priced, currency = cache.execute(
            "SELECT COUNT(*), TOTAL(prompt_tokens), TOTAL(completion_tokens), SUM(cost), "
            f"COUNT(cost), MIN(currency) FROM calls WHERE {where}",
            values,
        ).fetchone()
    cost = None
    if priced == calls:
        cost = paid or 0.0
    return {
        "calls": calls,
        "prompt_tokens": int(prompt),
        "completion_tokens": int(completion),
        "cost": cost,
        "currency": currency,
    }
