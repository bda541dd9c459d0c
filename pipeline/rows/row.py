"""What all rows have: a schema, and an id that their content gives.

An id is a kind letter and 12 hex digits of the SHA-256 of what makes the row that row, so equal
content has equal ids in every run, and rows join on ids, never on position.
"""

import hashlib
import json
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field

UNESCAPED = json.JSONEncoder(ensure_ascii=False)


def content_id(letter: str, *parts: object) -> str:
    """`letter`_ and 12 hex digits.

    Parts are JSON-encoded, so no two lists of parts run together.
    """
    digest = hashlib.sha256(UNESCAPED.encode(parts).encode("utf-8", "surrogatepass"))
    return f"{letter}_{digest.hexdigest()[:12]}"


class Row(BaseModel):
    """A row knows its kind (`schema`) and its id."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    kind: ClassVar[str]
    earlier: ClassVar[tuple[str, ...]] = ()
    """Schemas of earlier versions that are read as this one; what they lack is at its default."""
    identity: ClassVar[tuple[str, ...]]
    """The letter of its ids, and the fields whose content they are of."""

    id: str
    schema_: str = Field(alias="schema")

    @classmethod
    def named_by(cls, fields: list[str], values: dict[str, Any]) -> list[str]:
        """The fields that give a row its id: those of `identity`."""
        return fields

    def line(self) -> bytes:
        """The row as one line of JSONL, in UTF-8."""
        return self.model_dump_json(by_alias=True).encode() + b"\n"


R = TypeVar("R", bound=Row)


def make(kind: type[R], **values: Any) -> R:
    """A row of this kind with its schema and content-derived id filled in."""
    return kind(id=_identity(kind, values), schema=kind.kind, **values)


def writable(text: str) -> bool:
    """Whether a row can hold a text: JSON may give half of a pair of surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def true_id(row: Row) -> str:
    """The id that a row's content gives.

    It differs from the row's own where the row was changed by hand.
    """
    return _identity(type(row), row.__dict__)


def _identity(kind: type[Row], values: dict[str, Any]) -> str:
    """The id of a row of this kind with these values."""
    letter, *fields = kind.identity
    return content_id(letter, *(values.get(field) for field in kind.named_by(fields, values)))
