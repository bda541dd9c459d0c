"""Rules of ours by which rows follow from others, as recipes name them. For verify."""

OUTCOME = "judging/verdict.py:outcome"
MEAN = "judging/verdict.py:mean"
PREFERENCES = "judging/preferences.py:preferences"
RANKINGS = "judging/preferences.py:rankings"
RATE = "judging/metrics.py:win_tie_rate"
FRESH = (
    "judging/metrics.py:fresh_credits",
    "judging/metrics.py:fresh_rate",
    "judging/devices.py:freshness",
)
DIFFERENCE = "judging/metrics.py:difference"
CARD = "judging/card.py:figures"
READING = frozenset(
    {
        "judging/choice.py:read_order",
        "judging/scored.py:orders",
        "stages/teacher.py:parse",
        "parsing",
    }
)
"""The rules by which answers are read."""
