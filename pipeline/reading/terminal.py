"""What a terminal may be sent, and how wide its lines are where there is none."""

import re

from rich.text import Text

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What could move the cursor, colour the screen or reorder a line: shown as an escape, never
sent."""
WIDTH = 120
"""Columns where the output is not a terminal."""


def clean(text: object) -> Text:
    """What a model wrote, without anything that a terminal would obey."""
    return Text(CONTROL.sub(_escape, str(text)))


def _escape(character: re.Match[str]) -> str:
    return f"\\u{ord(character[0]):04x}"
