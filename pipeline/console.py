"""Tables, bars and styles on a terminal: the only console there is, whose texts are clean."""

import sys
from collections.abc import Iterable
from typing import Any

import rich.console
from rich.segment import Segment
from rich.text import Text

from pipeline.terminal import unguarded, visible

WIDTH = 120
"""Columns where the output is not a terminal."""


def clean(text: object) -> Text:
    """What a model wrote, without anything that a terminal would obey."""
    return Text(visible(str(text)))


class Console(rich.console.Console):
    """rich's, which sends a terminal control characters of its own making alone.

    `columns` is its width where there is no terminal.
    """

    def __init__(self, stderr: bool = False, columns: int | None = None) -> None:
        stream = sys.stderr if stderr else sys.stdout
        width = None if stream.isatty() else columns
        options: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
        super().__init__(file=unguarded(stream), width=width, **options)

    def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield segment._replace(text=visible(segment.text))
