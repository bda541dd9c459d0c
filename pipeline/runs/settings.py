"""A run's config.json: the configuration that it last ran with, under a seal as manifests have."""

from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.runs.files import as_written, read_json, write_json
from pipeline.runs.manifest import seal

SEAL = "seal"
"""Its key beside those of the configuration; what earlier versions wrote has none."""


def write_settings(path: Path, settings: dict[str, Any]) -> None:
    """Whole or not there, and sealed; without what starts programs, which no run may ask for."""
    runtime = dict(settings.get("runtime") or {})
    if runtime.get("launcher"):
        runtime["launcher"] = None
    if runtime.get("server"):
        runtime["server"] = {**runtime["server"], "command": None}
    if runtime:
        settings = {**settings, "runtime": runtime}
    write_json(path, {**settings, SEAL: seal(settings)})


def read_settings(path: Path) -> dict[str, Any] | None:
    """The configuration as nested tables, not yet validated; None where there is no file.

    DataError where it is no JSON, or no table.
    """
    settings = read_json(path)
    if settings is None:
        return None
    if not isinstance(settings, dict):
        raise DataError(f"{path}: not a table. Restore it, or name a configuration with --config.")
    return {key: value for key, value in settings.items() if key != SEAL}


def edited(path: Path) -> str | None:
    """Why a config.json is not as a stage wrote it, or None.

    None as well where it is no JSON, which whoever reads it says.
    """
    try:
        settings = read_json(path)
    except DataError:
        return None
    if isinstance(settings, dict) and settings.get(SEAL, seal(settings)) != seal(settings):
        return "it was edited after a stage wrote it (the seal differs)"
    if path.read_bytes() != as_written(settings):
        return "it was edited after a stage wrote it (its bytes are not those of a stage)"
    return None
