"""The words: load, render and hash the templates in prompts/."""

import functools
import hashlib
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline import encoding, project
from pipeline.errors import ConfigError, meant

UNESCAPED = json.JSONEncoder(ensure_ascii=False)
LINE_ENDS = "\x85\u2028\u2029"
MARKERS = (
    r"<(?=[^<>\s]{1,60}>|\|[^<>|]{1,80}\|>)|◁(?=[^◁▷\n]{1,60}▷)"
    r"|\[(?=(?:/?[A-Z_]{2,30}|[gs]MASK|control_\d+|unused\d+|multimodal|@\w+@|\|\w+\|)\])"
)
"""What special tokens and the marks of roles begin with: <|im_start|>, </s>, [/INST], ◁think▷."""
ESCAPED = re.compile(f"[{LINE_ENDS}]|{MARKERS}")


def text(name: str) -> str:
    """The template itself."""
    return _read(_found(name)[0])


def _read(path: str) -> str:
    return encoding.text(Path(path), ConfigError)


def _found(name: str) -> tuple[str, int]:
    """The path of a template, and when it last changed; ConfigError where it is missing."""
    places = _places(project.folder(), name)
    for place in places:
        with suppress(FileNotFoundError):
            return place, os.stat(place).st_mtime_ns
        if os.path.islink(place):  # it leads nowhere
            break
    known = {path.stem for place in places for path in Path(place).parent.glob("*.j2")}
    hint = meant(name, sorted(known)) or f" Or restore it: git checkout prompts/{name}.j2"
    raise ConfigError(f"{places[0]}: this prompt is missing. Write it.{hint}")


@functools.lru_cache(maxsize=64)
def _places(folder: Path, name: str) -> tuple[str, str]:
    """Where a prompt may be: in the project, else in the package."""
    file = f"prompts/{name}.j2"
    return str(folder / file), str(project.BUNDLED / file)


def digest(name: str) -> str:
    """SHA-256 of the template; part of the recipe of each stage that uses it."""
    return hashlib.sha256(text(name).encode()).hexdigest()


def render(name: str, **values: Any) -> str:
    """The prompt with its values.

    What a model or a user wrote goes through the `quoted` filter in the templates: a JSON string on
    one line, so that no text can pretend to be a line of the prompt. ConfigError where the template
    is broken or names an unknown value.
    """
    from jinja2 import TemplateError

    path, changed = _found(name)
    try:
        return str(_template(path, changed).render(values)).strip()
    except RecursionError:
        raise ConfigError(f"{path}: brackets inside brackets, too many to read.") from None
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {type(error).__name__}: {error}") from None
    except TemplateError as error:
        number = getattr(error, "lineno", None)
        line = f":{number}" if number else ""
        raise ConfigError(
            f"{path}{line}: {error.message or error}. It knows {', '.join(values)}."
        ) from None


def json_object(name: str, **properties: dict[str, Any]) -> dict[str, Any]:
    """OpenAI's response_format for a JSON object with these keys, in this order, and no others."""
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}


@functools.lru_cache(maxsize=16)
def _template(path: str, changed: int) -> Any:
    """The compiled template of a file as it was at some time."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["quoted"] = _quoted
    return environment.from_string(_read(path))


def _quoted(value: Any) -> str:
    """A JSON string on one line that no reader takes for more than a text.

    What some take for the end of a line is escaped as well, and what a tokenizer may take for a
    token of its own: the end of a text, or the beginning of somebody's turn.
    """
    quoted = UNESCAPED.encode(str(value))
    return ESCAPED.sub(lambda sign: f"\\u{ord(sign[0]):04x}", quoted)
