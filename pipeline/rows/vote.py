"""What a person said of two answers."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.rows.row import Row
from pipeline.vocabulary import Aspect

Said = Literal["a", "b", "alike", "skip"]
LONGEST = 3_600_000
"""Milliseconds that are recorded of one vote."""


class Vote(Row):
    """One voter's answer to one question about a contestant's answer a and the teacher's joke b."""

    kind: ClassVar[str] = "vote/1"
    identity = ("b", "aspect", "a", "b", "voter", "again")
    literal_id: str
    literal: str
    aspect: Aspect
    a: str
    b: str
    a_text: str
    b_text: str
    shown: Literal["ab", "ba"]
    """ab shows a on the left."""
    answer: Said
    """skip is no answer, and counts nowhere."""
    offensive: bool
    """Whether the voter says that one of them may offend."""
    voter: str
    again: bool
    """Whether the voter had been asked before, with the sides the other way round."""
    ms: Annotated[int, Field(ge=0, le=LONGEST)]
    """Milliseconds that the voter took, or LONGEST."""
    at: str
    """When, as UTC."""
