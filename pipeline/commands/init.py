"""init: a project's folder, for who installed the package and has no clone."""

import argparse
import os
import shlex
import shutil

from pipeline import project
from pipeline.errors import ConfigError

COPIED = ("configs", "prompts")
"""Of the package, for people to edit."""


def run(args: argparse.Namespace) -> None:
    """Make the folder and say what comes next; ConfigError where it would write over anything."""
    folder = args.folder
    templates = sorted((project.TEMPLATES / "project").iterdir())
    names = [*COPIED, *(path.name for path in templates)]
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        raise ConfigError(f"init: {folder} is no folder; name another.")
    there = [name for name in names if os.path.lexists(folder / name)]
    if there:
        raise ConfigError(
            f"init: {folder} has {', '.join(there)} already, and nothing is written over. Name "
            "another folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"init: {folder} cannot be made: {error.strerror}.") from None
    for name in COPIED:
        source = project.BUNDLED / name
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            copy = folder / name / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    for path in templates:
        shutil.copyfile(path, folder / path.name)
    print(f"{folder}: {', '.join(names)}")
    print(f"Next: cd {shlex.quote(str(folder))} && make demo")
