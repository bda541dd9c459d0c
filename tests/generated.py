"""The parts of pages that are generated: `python -m tests.generated` writes them anew.

The help texts of docs/commands.md and the tables of docs/configuration.md.
"""

import ast
import inspect
import json
import os
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin

from pydantic_core import PydanticUndefined

from pipeline.commands.flags import parser
from pipeline.config.endpoint import Endpoint
from pipeline.config.file import section_of
from pipeline.config.section import Section
from pipeline.config.whole import Config
from tests.pages import DOCS, split_generated, subparsers

WIDTH = "100"
"""COLUMNS of the help texts."""


def help_texts() -> str:
    """Every command's help text under a heading of its own."""
    parts = [f"\n## humor-distill\n\n```\n{parser().format_help().rstrip()}\n```\n"]
    for name, command in subparsers().items():
        parts.append(f"\n## {name}\n\n```\n{command.format_help().rstrip()}\n```\n")
    return "".join(parts) + "\n"


def key_tables() -> str:
    """Every key of a configuration, a table for each section: its default and documentation."""
    parts = []
    heading = ""
    for key, default, text in keys(Config):
        section = re.split(r"\.|\[\]", key)[0]
        if section != heading:
            heading = section
            parts.append(f"\n## {title(section)}\n\n| key | default | |\n|---|---|---|\n")
        parts.append(f"| `{key}` | {default} | {text} |\n")
    return "".join(parts) + "\n"


def title(section: str) -> str:
    """A section's name as a configuration has it."""
    annotation = Config.model_fields[section].annotation
    if section_of(annotation) is None:
        return f"`{section}`"
    if getattr(annotation, "__origin__", None) is list:
        return f"`[[{section}]]`"
    return f"`[{section}]`"


def keys(section: type[Section], before: str = "") -> Iterator[tuple[str, str, str]]:
    """(key, default, documentation); the keys of an endpoint are given once."""
    said = documentation(section)
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        key = f"{before}{name}"
        if inner and getattr(field.annotation, "__origin__", None) is list:
            key += "[]"
        text = " ".join(said.get(name, "").split()).replace("|", "\\|")
        if inner is None:
            yield key, shown_default(field.default), f"{text} {choices(field.annotation)}".strip()
        elif inner is Endpoint and key != "teacher.endpoint":
            yield f"{key}.*", "", f"As teacher.endpoint. {text}".strip()
        else:
            if text:
                yield key, "", text
            yield from keys(inner, f"{key}.")


def choices(annotation: Any) -> str:
    """The words that a key takes, where they are given."""
    words: list[str] = []
    for part in (annotation, *get_args(annotation)):
        if get_origin(part) is Literal:
            words += [f"`{json.dumps(word)}`" for word in get_args(part)]
    words = list(dict.fromkeys(words))
    return f"One of {', '.join(words)}." if words else ""


def documentation(section: type[Section]) -> dict[str, str]:
    """The strings under a section's keys, its own and those that it inherits."""
    said: dict[str, str] = {}
    for kind in reversed(section.__mro__):
        if not issubclass(kind, Section):
            continue
        (definition,) = ast.parse(inspect.getsource(kind)).body
        for key, after in pairwise(definition.body):
            if isinstance(key, ast.AnnAssign) and isinstance(after, ast.Expr):
                said[key.target.id] = ast.literal_eval(after.value)
    return said


def shown_default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "none"
    return f"`{json.dumps(value)}`"


GENERATED = {
    DOCS / "commands.md": ("commands", help_texts),
    DOCS / "configuration.md": ("keys", key_tables),
}
"""By page, the name of the marker and what stands after it."""


def write() -> None:
    """Put the real help texts and keys into their pages."""
    os.environ["COLUMNS"] = WIDTH
    for page, (name, body) in GENERATED.items():
        before, _, after = split_generated(page.read_text(), name)
        page.write_text(before + body() + after)


if __name__ == "__main__":
    write()
