"""The project's folder: what people edit (configs/, prompts/) and what runs leave (data/).

A clone is one; `humor-distill init` makes another. What a project lacks, the package has.
"""

import functools
import os
import shlex
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
    """The project's folder.

    It is what the environment variable HUMOR_DISTILL_HOME says, or the nearest folder upwards that
    has configs/ and prompts/. Outside of any, a clone's program takes its clone; ConfigError where
    there is none.
    """
    try:
        here = os.getcwd()
    except FileNotFoundError:  # it was deleted
        here = "/"
    return _folder(os.environ.get("HUMOR_DISTILL_HOME"), here)


@functools.lru_cache(maxsize=8)
def _folder(home: str | None, here: str) -> Path:
    if home:
        place = Path(here, home).resolve()
        if not (place / "configs").is_dir() and not (place / "prompts").is_dir():
            raise ConfigError(
                f"HUMOR_DISTILL_HOME={home}: no folder with configs/ or prompts/. Make one: "
                f"humor-distill init {shlex.quote(home)}"
            )
        return place
    for place in (Path(here), *Path(here).parents, PACKAGE.parent):
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

    In the project; else in the package, if it is there; else where the project would have it. A
    link that leads nowhere is there: it is not what the package has that was meant.
    """
    own = folder() / name
    if os.path.lexists(own):
        return own
    bundled = BUNDLED / name
    return bundled if bundled.exists() else own


def data() -> Path:
    """Where runs/ and cache/ are.

    That is data/ in the project, or the environment variable HUMOR_DISTILL_DATA.
    """
    return Path(os.environ.get("HUMOR_DISTILL_DATA") or folder() / "data")
