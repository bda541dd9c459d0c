"""What README.md, CONTRIBUTING.md and docs/ are made of, and what they speak of."""

import argparse
import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.commands.flags import parser
from pipeline.config.file import section_of
from pipeline.config.whole import Config
from tests import ROOT

README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
DOCS = ROOT / "docs"
CHANGELOG = ROOT / "CHANGELOG.md"
PAGES = [README, CONTRIBUTING, CHANGELOG, *sorted(DOCS.glob("*.md"))]
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
PATH = re.compile(
    r"(?<![\w/.<-])((?:pipeline|configs|prompts|tests|docs|data/literals|data/students)/[\w./*-]*)"
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SOURCE = r"`((?:pipeline|tests)/[\w/]+\.py)`"
NAME = r"`([A-Za-z_][\w.]*)`"
NAMES_AFTER = re.compile(rf"{SOURCE}((?:(?:,| and)\s+{NAME})+)")
NAME_BEFORE = re.compile(rf"{NAME}\s+(?:in\s|of\s|\()\s*{SOURCE}")
NAME_THERE = re.compile(rf"{NAME}\s+in\s+the\s+same\s+file")


class Named(NamedTuple):
    """A function, class or constant that a page names in a file."""

    file: str
    name: str


def block(text: str, name: str) -> str:
    """What stands between a marker and the end of its code block."""
    match = re.search(rf"<!-- {name} -->\n```\n(.*?)\n```", text, re.DOTALL)
    assert match, f"there is no block {name}"
    return match[1]


def split_generated(text: str, name: str) -> tuple[str, str, str]:
    """What stands between a marker and the end of what is generated, with what is before and after
    it."""
    match = re.fullmatch(rf"(.*<!-- {name} -->\n)(.*?)(<!-- end -->.*)", text, re.DOTALL)
    assert match, f"there is no generated part {name}"
    return match[1], match[2], match[3]


def code(text: str) -> list[str]:
    """Every piece of code on a page: fenced blocks, indented blocks, and spans in a line."""
    pieces = [match[2] for match in FENCED.finditer(text)]
    rest = FENCED.sub("", text)
    pieces += indented(rest)
    for span in SPAN.findall(rest):
        pieces.append(" ".join(span.split()))
    return pieces


def indented(text: str) -> list[str]:
    """Lines of code by their indentation: after an empty line, unlike what a list goes on with."""
    lines = []
    inside = False
    before = ""
    for line in text.splitlines():
        inside = line.startswith("    ") and (inside or not before.strip())
        if inside:
            lines.append(line.strip())
        before = line
    return lines


def commands_typed(text: str) -> list[str]:
    """The lines of code on a page, without comments."""
    lines = []
    for piece in code(text):
        for line in piece.replace("\\\n", " ").splitlines():
            lines.append(line.partition(" #")[0].strip())
    return lines


def anchors(text: str) -> list[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    slugs = []
    for heading in re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.MULTILINE):
        words = re.sub(r"[^\w\s-]", "", heading.lower())
        slugs.append(words.strip().replace(" ", "-"))
    return slugs


def named(text: str) -> list[Named]:
    """What a page says is in a file: "`path`, `name` and `name`", "`name` in `path`", "`name` in
    the same file"."""
    names = []
    for match in NAMES_AFTER.finditer(text):
        names += [Named(match[1], name) for name in re.findall(NAME, match[2])]
    names += [Named(match[2], match[1]) for match in NAME_BEFORE.finditer(text)]
    for match in NAME_THERE.finditer(text):
        files = re.findall(SOURCE, text[: match.start()])
        names.append(Named(files[-1], match[1]))
    return names


def tracked() -> list[str]:
    """The repository's files: what a person keeps beside them is their own."""
    listed = subprocess.run(
        ["git", "ls-files"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for path in listed.stdout.splitlines() if (ROOT / path).exists()]


def subparsers() -> dict[str, argparse.ArgumentParser]:
    actions: Any = parser()._subparsers
    choices: dict[str, argparse.ArgumentParser] = actions._group_actions[0].choices
    return choices


def flags() -> dict[str, set[str]]:
    """The flags of every command, and those of none by the name "humor-distill"."""
    known = {"humor-distill": set(parser()._option_string_actions)}
    for name, command in subparsers().items():
        known[name] = set()
        for action in command._actions:
            known[name] |= set(action.option_strings)
    return known


def targets() -> set[str]:
    """The Makefile's."""
    files = (ROOT / "Makefile", ROOT / "pipeline/templates/project/Makefile")
    text = "".join(path.read_text() for path in files)
    known: set[str] = set()
    for names in re.findall(r"^([a-z-]+(?: [a-z-]+)*):", text, re.MULTILINE):
        known |= set(names.split())
    for names in re.findall(r"^STAGES = (.*)$", text, re.MULTILINE):
        known |= set(names.split())
    return known


def defined(path: Path) -> set[str]:
    """Functions, classes, methods and constants of a file."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{name}" for name in members(node)}
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def members(node: ast.ClassDef) -> list[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [member.name for member in node.body if isinstance(member, kinds)]


def is_key(dotted: str) -> bool:
    """Whether a configuration has this key or section; a trainer's table takes any key."""
    section: Any = Config
    for name in dotted.split("."):
        if section is None:
            return False
        if name.isdigit() or name == "*":
            continue
        field = section.model_fields.get(name)
        if field is None:
            return False
        if name == "trainer":
            return True
        section = section_of(field.annotation)
    return True


def in_tree(readme: str) -> set[str]:
    """The paths that the README's tree names, from its indentation."""
    paths = set()
    parents: list[str] = []
    for line in block(readme, "tree").splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        parents[depth:] = [name]
        paths.add("".join(parents))
    return paths


def leaves(table: dict[str, Any], before: str = "") -> Iterator[str]:
    """The keys of nested tables, with dots."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"
