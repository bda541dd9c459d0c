"""A configuration from a TOML file and --set flags.

A ConfigError names every key at fault.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline import encoding
from pipeline.config.section import Section
from pipeline.config.whole import Config
from pipeline.errors import ConfigError, meant


def parse_assignment(text: str) -> tuple[list[str], Any]:
    """`key.path=value` as given to --set.

    The value is TOML, null for nothing, or a plain string if it is neither.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text}: write key=value, for example --set dpo.trainer.beta=0.2")
    path = key.strip().split(".")
    if value.strip() == "null":
        return path, None
    try:
        return path, tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        return path, value


def assign(data: dict[str, Any], path: list[str], value: Any) -> None:
    """Put value at a dotted path of nested tables and lists; a missing table is made."""
    at: Any = data
    for place, key in enumerate(path):
        in_list = isinstance(at, list) and key.isdecimal() and int(key) < len(at)
        if not isinstance(at, dict) and not in_list:
            raise ConfigError(
                f"--set {'.'.join(path)}: there is no {key!r} under {'.'.join(path[:place])}."
            )
        slot: Any = int(key) if in_list else key
        if place == len(path) - 1:
            at[slot] = value
        elif isinstance(at, dict) and at.get(slot) is None:
            at[slot] = {}
        at = at[slot]


def load(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, not yet validated."""
    try:
        return tomllib.loads(encoding.text(path, ConfigError))
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}. Copy configs/demo.toml and edit it."
        ) from None
    except ValueError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: not TOML: brackets inside brackets, too many to read") from None


def validate(data: dict[str, Any], where: str) -> Config:
    """A Config, or a ConfigError that names every key at fault and the closest known one."""
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        complaints = [f"{where}: {_complaint(fault)}" for fault in error.errors()]
        raise ConfigError("\n".join(complaints)) from None


def _complaint(error: Any) -> str:
    """What pydantic says of one key, with its full name; of an unknown one, what may be meant."""
    path = [str(part) for part in error["loc"]]
    if error["type"] != "extra_forbidden":  # pydantic names the alternatives of a union as well
        path = [part for part in path if re.fullmatch(r"\w+", part)]
    name = ".".join(path) or "configuration"
    if error["type"] == "literal_error":
        known = re.findall("'(.*?)'", error["ctx"]["expected"])
        return f"{name}: {error['msg']}.{meant(str(error['input']), known)}"
    if error["type"] == "list_type":
        given = json.dumps([error["input"]])
        return f"{name}: {error['msg']}, such as {given}; --set {name}='{given}'"
    if error["type"] != "extra_forbidden":
        return f"{name}: {error['msg']}"
    section: Any = Config
    for part in path[:-1]:
        if part.isdecimal():
            continue
        section = section_of(section.model_fields[part].annotation)
    known = section.model_fields
    return f"{name}: unknown key." + (meant(path[-1], known) or f" Known keys: {', '.join(known)}.")


def section_of(annotation: Any) -> Any:
    """The Section inside an annotation such as `Lora | None` or `list[Round]`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        section = section_of(argument)
        if section is not None:
            return section
    return None
