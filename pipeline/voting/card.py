"""The figures of a judge's card that people's votes on a run's answers give."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.rows.card import CardFigure
from pipeline.rows.row import make
from pipeline.vocabulary import POOLED


def figures(
    facts: Mapping[str, Any] | None, judges: Sequence[str], aspect: str
) -> Iterator[CardFigure]:
    """Between floors and ceiling, of `Told.facts`; nothing where nobody has voted."""
    judged = facts["judge"] if facts else {"agreement": None}
    if judged["agreement"] is None:
        return
    judge = judges[0] if len(judges) == 1 else POOLED
    for measure, key, n in (
        ("votes", "agreement", judged["n"]),
        ("one side of votes", "constant", judged["n"]),
        ("longer of votes", "longer", judged["n"]),
        ("two voters", "voters", judged["pairs_of_voters"]),
    ):
        yield make(
            CardFigure,
            judge=judge,
            aspect=aspect,
            measure=measure,
            value=judged[key],
            low=judged.get(f"{key}_low"),
            high=judged.get(f"{key}_high"),
            n=n,
            failed=0,
            currency=None,
        )
