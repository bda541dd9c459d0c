"""The project's folder: what people edit (configs/, prompts/) and what runs leave (data/).

A clone is one; `humor-distill init` makes another. What a project lacks, the package has.
"""

import os
from pathlib import Path

from pipeline.errors import ConfigError

PACKAGE = Path(__file__).resolve().parent
BUNDLED = PACKAGE / "bundled"
"""The clone's configs/, prompts/, sentences and micro student, as the wheel holds them."""
if not BUNDLED.is_dir():
    BUNDLED = PACKAGE.parent
TEMPLATES = PACKAGE / "templates"
"""What reports, cards and new projects are made of."""


def folder() -> Path:
    """The environment variable HUMOR_DISTILL_HOME, or the nearest folder upwards that is a project.

    That is one with configs/ and prompts/. Outside of any, a clone's program takes its clone;
    ConfigError where there is none.
    """
    home = os.environ.get("HUMOR_DISTILL_HOME")
    if home:
        if not os.path.isdir(home):
            raise ConfigError(
                f"HUMOR_DISTILL_HOME={home}: no such folder. Make it: humor-distill init {home}"
            )
        return Path(home).resolve()
    here = Path.cwd()
    for place in (here, *here.parents, PACKAGE.parent):
        if _is_project(place):
            return place
    raise ConfigError(
        f"no project here: neither {here} nor a folder above it has configs/ and prompts/. Make "
        "one: humor-distill init FOLDER (then cd FOLDER), or name one in HUMOR_DISTILL_HOME."
    )


def _is_project(place: Path) -> bool:
    return os.path.isdir(place / "configs") and os.path.isdir(place / "prompts")


def path(name: str | Path) -> Path:
    """Where a path is that a configuration gives relative to the project.

    In the project; else in the package, if it is there; else where the project would have it.
    """
    own = folder() / name
    bundled = BUNDLED / name
    return bundled if not own.exists() and bundled.exists() else own


def data() -> Path:
    """Where runs/ and cache/ are.

    That is data/ in the project, or the environment variable HUMOR_DISTILL_DATA.
    """
    return Path(os.environ.get("HUMOR_DISTILL_DATA") or folder() / "data")
