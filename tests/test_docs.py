"""The README cannot lie: its file tree, its help texts and its configuration keys are the real
ones.

`python -m tests.test_readme` writes the help texts and the keys anew. tests/torch/test_demo.py
holds the demo's output.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from pipeline import ROOT
from pipeline.commands.flags import parser
from pipeline.commands.import_ import SPLITS as IMPORTED
from pipeline.config.endpoint import Endpoint
from pipeline.config.file import section_of
from pipeline.config.section import Section
from pipeline.config.whole import Config
from pipeline.vocabulary import SPLITS

README = ROOT / "README.md"
LEFT_OUT = ("tests/", "data/students/micro/")


def help_text(command: str) -> str:
    environment = {**os.environ, "COLUMNS": "100"}
    argv = [sys.executable, "-m", "pipeline", *command.split(), "--help"]
    found = subprocess.run(
        argv, capture_output=True, text=True, check=True, env=environment, cwd=ROOT
    )
    return found.stdout.rstrip()


def keys() -> str:
    """Every key of a configuration as a table: its default and its documentation."""
    lines = ["| key | default | |", "|---|---|---|"]
    lines += [f"| `{key}` | {default} | {text} |" for key, default, text in _keys(Config)]
    return "\n".join(lines)


def _keys(section: type[Section], before: str = "") -> Iterator[tuple[str, str, str]]:
    """(key, default, documentation); the keys of an endpoint are given once."""
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        key = f"{before}{name}" + (
            "[]" if getattr(field.annotation, "__origin__", None) is list and inner else ""
        )
        text = " ".join((field.description or "").split()).replace("|", "\\|")
        if inner is None:
            yield key, _default(field.default), text
        elif inner is Endpoint and key != "teacher.endpoint":
            yield f"{key}.*", "", "As teacher.endpoint. " + text
        else:
            if text:
                yield key, "", text
            yield from _keys(inner, f"{key}.")


def _default(value: Any) -> str:
    return (
        "required"
        if value is PydanticUndefined
        else "none"
        if value is None
        else f"`{json.dumps(value)}`"
    )


def tracked() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    return [path for path in listed.stdout.splitlines() if (ROOT / path).exists()]


def block(readme: str, name: str) -> str:
    """What stands between a marker and the end of its code block."""
    found = re.search(rf"<!-- {name} -->\n```\n(.*?)\n```", readme, re.DOTALL)
    assert found, f"README.md has no block {name}"
    return found[1]


def in_tree(readme: str) -> set[str]:
    """The paths that the README's tree names, from its indentation."""
    paths, parents = set(), []
    for line in block(readme, "tree").splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        parents[depth:] = [name]
        paths.add("".join(parents))
    return paths


SHOWN = re.findall(r"<!-- help ?(\w*) -->", README.read_text())


@pytest.mark.parametrize("command", SHOWN)
def test_help_text(command):
    assert block(README.read_text(), f"help {command}".strip()) == help_text(command)


def test_every_command_s_flags_are_there():
    commands = set(re.findall(r"^    (\w+)  ", help_text(""), re.MULTILINE))
    alike = {
        "teacher",
        "sft",
        "sample",
        "critic",
        "retriever",
        "evaluate",
        "agreement",
        "all",
    }  # as dpo
    assert commands - alike == set(SHOWN) - {""}
    flags = {
        name: {flag for action in command._actions for flag in action.option_strings}
        for name, command in parser()._subparsers._group_actions[0].choices.items()
    }
    assert all(flags[name] | {"--round"} == flags["dpo"] for name in alike)


def test_configuration_keys():
    found = re.search(r"<!-- keys -->\n(.*?)\n\n", README.read_text(), re.DOTALL)
    assert found
    assert found[1] == keys()
    assert all(text for _, _, text in _keys(Config))


def test_splits_have_one_meaning():
    assert SPLITS == IMPORTED


def test_file_tree():
    named = in_tree(README.read_text())
    files = {
        path
        for path in tracked()
        if not path.startswith(LEFT_OUT) or path.startswith("tests/bench/")
    }
    files.remove("tests/bench/__init__.py")
    folders = {path for path in named if path.endswith("/")}
    missing = {path for path in files if path not in named}
    assert not missing, f"not in the README's tree: {sorted(missing)}"
    gone = {path for path in named - folders if path not in files}
    assert not gone, f"in the README's tree, but not there: {sorted(gone)}"
    assert all((ROOT / folder).is_dir() for folder in folders)


def test_what_the_readme_says_of_the_cli_and_make_is_there():
    text = README.read_text()
    make = subprocess.run(
        ["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for target in set(re.findall(r"^ {4}make ([a-z-]+)", text, re.MULTILINE)):
        assert target in make, target
    for path in re.findall(r"`((?:pipeline|configs|prompts|tests)/[\w./-]+\.\w+)`", text):
        assert (ROOT / path).exists() or path == "configs/mine.toml", path


def write() -> None:
    """Put the real help texts and keys into the README."""
    text = README.read_text()
    for command in SHOWN:
        mark = f"<!-- help {command} -->".replace("  ", " ")
        body = f"{mark}\n```\n{help_text(command)}\n```"
        text = re.sub(
            rf"{mark}(\n```\n.*?\n```)?", lambda _, body=body: body, text, count=1, flags=re.DOTALL
        )
    body = f"<!-- keys -->\n{keys()}\n"
    text = re.sub(
        r"<!-- keys -->\n(\|.*?\n(?=\n))?", lambda _: body, text, count=1, flags=re.DOTALL
    )
    README.write_text(text)


if __name__ == "__main__":
    write()
