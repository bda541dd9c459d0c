"""The runs that were made here, and whom each talks to: what one that was copied here may not do.

The list lies beside the call cache, outside of the runs: a run that somebody gives us cannot say of
itself that it is ours.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline import project
from pipeline.config.endpoint import LOCAL, STANDIN
from pipeline.config.reward_model import MINILM
from pipeline.config.section import Section
from pipeline.config.whole import Config
from pipeline.errors import StageError
from pipeline.runs.hashes import local_folder

REPORTS = ("report_to", "push_to_hub", "hub_model_id", "trackio_space_id", "project")
"""Keys of a trainer's table by which it tells others."""
HUB = (
    ("student", "model"),
    ("llmr", "teacher"),
    ("gkd", "teacher"),
    ("retriever", "model"),
    ("retriever", "scorer"),
    ("evaluate", "encoder"),
    ("reward_model", "backbone"),
)
"""Sections and keys that name a model: a folder here, or an id on the Hub."""
FETCHED = "is fetched from the Hub"
NOBODY: tuple[Any, ...] = (None, False, "none", [], ["none"])
"""Their values by which it does not."""


def code_keys(section: Section, name: str = "") -> list[str]:
    """The keys of a configuration, dotted, that let code run that comes with somebody's files."""
    keys = []
    for key, value in section:
        dotted = f"{name}{key}"
        if key in section.own_file_only and value != type(section).model_fields[key].default:
            keys.append(dotted)
        for number, inner in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(inner, Section):
                place = f"{dotted}.{number}." if isinstance(value, list) else f"{dotted}."
                keys += code_keys(inner, place)
    return keys


def reach(settings: Any) -> list[str]:
    """Whom a configuration, as plain tables, has the program talk to; a line for each, sorted."""
    return sorted({*_reach(settings), *_fetched(settings)})


def _fetched(settings: Any) -> Iterator[str]:
    """The models that the Hub is asked for."""
    for section, key in HUB:
        values = settings.get(section) if isinstance(settings, dict) else None
        name = values.get(key) if isinstance(values, dict) else None
        refused = (section, name) == ("reward_model", MINILM)  # the Hub is not asked for it
        if isinstance(name, str) and not refused and local_folder(name) is None:
            yield f"{json.dumps(name)} {FETCHED}"


def _reach(settings: Any) -> Iterator[str]:
    if isinstance(settings, list):
        for part in settings:
            yield from _reach(part)
    if not isinstance(settings, dict):
        return
    for name, value in settings.items():
        if name == "trainer" and isinstance(value, dict):
            for key in REPORTS:
                if value.get(key) not in NOBODY:
                    yield f"a trainer reports: {key} = {json.dumps(value[key])}"
        else:
            yield from _reach(value)
    server = settings.get("server")
    if isinstance(server, dict):
        for url in server.get("urls") or []:
            yield f"{url} is asked, without a key"
    if isinstance(settings.get("base_url"), str):
        yield from _asked(settings)
    model = settings.get("model")
    if settings.get("base_url") == LOCAL and isinstance(model, str) and not local_folder(model):
        yield f"{json.dumps(model)} {FETCHED}"


def _asked(endpoint: dict[str, Any]) -> Iterator[str]:
    """The addresses of an endpoint, and the variables whose values they are sent."""
    headers = endpoint.get("extra_headers") or {}
    values = [endpoint.get("api_key_env"), *headers.values()]
    variables = sorted(
        {str(value).removeprefix("$") for value in values[:1] if value}
        | {str(value)[1:] for value in values[1:] if str(value).startswith("$")}
    )
    sent = f"with the value of {' and '.join(variables)}" if variables else "without a key"
    for url in (endpoint["base_url"], *(endpoint.get("replicas") or [])):
        if url not in (STANDIN, LOCAL):
            yield f"{url} is asked, {sent}"


def require(run: str, settings: Any, adopt: bool, kind: str = "") -> None:
    """StageError where a run that was copied here would talk to somebody; not with `adopt`.

    `kind` is what a line must hold to count, where a command talks to some alone.
    """
    lines = [line for line in unknown(run, settings) if kind in line]
    if not lines or adopt:
        return
    listed = "".join(f"\n  {line}" for line in lines)
    raise StageError(
        f"run {run} is not known to be made here, and its configuration has this program talk to "
        f"others:{listed}\n"
        "If you want that, say so once: the same command with --adopt. To a stage you can give a "
        "configuration of your own instead: --config FILE"
    )


def unknown(run: str, settings: Any) -> list[str]:
    """Of whom a run talks to, those that it was not known to when it was last used here."""
    known: set[str] = set()
    for name, lines in _noted():
        if name == run:
            known.update(lines)
    return [line for line in reach(settings) if line not in known]


def note(run: str, config: Config) -> None:
    """A run is made here, or was adopted, with this configuration."""
    settings = config.model_dump(mode="json")
    lines = unknown(run, settings)
    if lines:
        _append({"run": run, "reach": lines})


def forget(run: str) -> None:
    """A run was removed: one that comes to have its name was not made here."""
    if any(name == run for name, _ in _noted()):
        _append({"run": run, "reach": [], "removed": True})


def _append(row: dict[str, Any]) -> None:
    path = list_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    line = json.dumps(row, ensure_ascii=False)
    with os.fdopen(os.open(path, flags, 0o666), "ab") as file:
        file.write(f"{line}\n".encode())


def list_path() -> Path:
    """Where the list is."""
    return project.data() / "cache" / "runs.jsonl"


def _noted() -> Iterator[tuple[str, list[str]]]:
    """The lines of the list since their run was last removed; a torn one says nothing."""
    try:
        text = list_path().read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return
    noted: list[tuple[str, list[str]]] = []
    for line in text.split("\n"):
        try:
            row = json.loads(line)
            name = str(row["run"])
            reaches = [str(part) for part in row["reach"]]
            removed = row.get("removed") is True
        except (ValueError, TypeError, LookupError, RecursionError, AttributeError):
            continue
        if removed:
            noted = [one for one in noted if one[0] != name]
        else:
            noted.append((name, reaches))
    yield from noted
