"""The words cannot lie: README.md, CONTRIBUTING.md and docs/ say what is there.

`python -m tests.test_docs` writes what is generated: the help texts of docs/commands.md and the
tables of docs/configuration.md. tests/whole/test_demo.py holds the demo's output.
"""

import argparse
import ast
import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic_core import PydanticUndefined

from pipeline import ROOT, standin
from pipeline.commands.flags import parser
from pipeline.config.endpoint import Endpoint
from pipeline.config.file import section_of
from pipeline.config.section import Section
from pipeline.config.whole import Config
from pipeline.llm.call import parse as parse_answer
from pipeline.prompts import render
from pipeline.rows import jsonl
from pipeline.rows.records import Joke, LiteralText
from pipeline.rows.row import make
from pipeline.stages import teacher

README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
DOCS = ROOT / "docs"
CONFIGS = ROOT / "configs"
PAGES = [README, CONTRIBUTING, *sorted(DOCS.glob("*.md"))]
WIDTH = "100"
"""COLUMNS of the help texts."""
EXAMPLES = {
    "configs/mine.toml",
    "data/literals/mine.jsonl",
    "data/literals/self_dialogue.jsonl",
    "data/literals/taskmaster_coffee.jsonl",
}
"""Paths that stand for the reader's own files."""
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
KEY = re.compile(r"([a-z]+\.[a-z_0-9.]+)(?:\s*=.*)?", re.DOTALL)
TABLE = re.compile(r"\[{1,2}([a-z_.]+)\]{1,2}(?: ([a-z_]+))?")
"""A section of a configuration, and one of its keys."""
FILE_ENDINGS = {"py", "j2", "json", "jsonl", "toml", "sqlite"}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


class Named(NamedTuple):
    """A function, class or constant that a page names in a file."""

    file: str
    name: str


# What a page is made of


def block(text: str, name: str) -> str:
    """What stands between a marker and the end of its code block."""
    match = re.search(rf"<!-- {name} -->\n```\n(.*?)\n```", text, re.DOTALL)
    assert match, f"there is no block {name}"
    return match[1]


def generated(text: str, name: str) -> tuple[str, str, str]:
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


# What is there


def tracked() -> list[str]:
    """The repository's files, and those that would be added to it."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
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
    """The flags of every command."""
    known = {}
    for name, command in subparsers().items():
        known[name] = set()
        for action in command._actions:
            known[name] |= set(action.option_strings)
    return known


def targets() -> set[str]:
    """The Makefile's."""
    text = (ROOT / "Makefile").read_text()
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


# What is generated


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
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        key = f"{before}{name}"
        if inner and getattr(field.annotation, "__origin__", None) is list:
            key += "[]"
        text = " ".join((field.description or "").split()).replace("|", "\\|")
        if inner is None:
            yield key, shown_default(field.default), text
        elif inner is Endpoint and key != "teacher.endpoint":
            yield f"{key}.*", "", f"As teacher.endpoint. {text}".strip()
        else:
            if text:
                yield key, "", text
            yield from keys(inner, f"{key}.")


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


@pytest.mark.parametrize("page", GENERATED, ids=lambda page: page.name)
def test_what_is_generated_is_up_to_date(page, monkeypatch):
    monkeypatch.setenv("COLUMNS", WIDTH)
    name, body = GENERATED[page]
    _, shown, _ = generated(page.read_text(), name)
    assert shown == body(), "python -m tests.test_docs writes it anew"


def test_every_configuration_is_listed():
    text = (DOCS / "configuration.md").read_text()
    listed = re.findall(r"^\| `(configs/.*?)` \|", text, re.MULTILINE)
    assert sorted(listed) == sorted(str(path.relative_to(ROOT)) for path in CONFIGS.glob("*.toml"))


def test_every_key_has_its_documentation():
    assert [key for key, _, text in keys(Config) if not text] == []


# What pages say


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 250


def test_every_page_can_be_found_from_the_readme():
    linked = {link.partition("#")[0] for link in LINK.findall(README.read_text())}
    for page in PAGES[1:]:
        assert str(page.relative_to(ROOT)) in linked, page.name


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


def test_the_tree_names_every_folder_and_nothing_that_is_not_there():
    files = tracked()
    there = set(files)
    wanted = set()
    for path in files:
        parts = path.split("/")
        folders = {"/".join(parts[:depth]) + "/" for depth in range(1, len(parts))}
        there |= folders
        wanted |= {folder for folder in folders if folder.startswith("pipeline/")}
        wanted.add(parts[0] if len(parts) == 1 else f"{parts[0]}/")
        if parts[0] == "pipeline" and len(parts) == 2 and parts[1] != "__init__.py":
            wanted.add(path)
    tree = in_tree(README.read_text())
    assert sorted(wanted - tree) == [], "not in the README's tree"
    assert sorted(tree - there) == [], "in the README's tree, but not there"


@every_page
def test_links_lead_somewhere(page):
    text = page.read_text()
    assert len(set(anchors(text))) == len(anchors(text)), "two headings with one anchor"
    for link in LINK.findall(FENCED.sub("", text)):
        if link.startswith("http"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


@every_page
def test_paths_exist(page):
    for piece in code(page.read_text()):
        for path in PATH.findall(piece):
            path = path.rstrip(".")
            if "*" in path:
                assert list(ROOT.glob(path)), path
            else:
                assert (ROOT / path).exists() or path in EXAMPLES, path


@every_page
def test_what_is_said_to_be_in_a_file_is_there(page):
    for file, name in named(page.read_text()):
        assert (ROOT / file).is_file(), file
        assert name in defined(ROOT / file), f"{file} has no {name}"


@every_page
def test_make_targets_are_there(page):
    known = targets()
    for line in commands_typed(page.read_text()):
        for words in re.findall(r"(?:^|&& )make((?: [a-z-]+)+)(?= [A-Z]+=|$)", line):
            assert set(words.split()) <= known, line


@every_page
def test_commands_and_their_flags_are_there(page):
    known = flags()
    anywhere = set().union(*known.values())
    for line in commands_typed(page.read_text()):
        for name, rest in re.findall(r"humor-distill ([a-z]+)([^&|]*)", line):
            assert name in known, line
            given = set(re.findall(r"(?<![\w-])--[a-z-]+", rest))
            assert given <= known[name], line
        if line.startswith("--"):
            assert line.split()[0] in anywhere, line


@every_page
def test_modules_that_are_run_are_there(page):
    for line in commands_typed(page.read_text()):
        for module in re.findall(r"python -m ([a-z_.]+)", line):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), line


@every_page
def test_configuration_keys_are_there(page):
    text = page.read_text()
    for span in SPAN.findall(FENCED.sub("", text)):
        key = KEY.fullmatch(span)
        if key:
            section, _, last = key[1].partition(".")
            if section in Config.model_fields and last not in FILE_ENDINGS:
                assert is_key(key[1]), span
        table = TABLE.match(span)
        if table:
            dotted = f"{table[1]}.{table[2]}" if table[2] else table[1]
            assert is_key(dotted), span
    for line in commands_typed(text):
        for key in re.findall(r"--set '?([a-z0-9_.]+)=", line):
            assert is_key(key), line


@every_page
def test_configurations_that_are_shown_are_such(page):
    for language, text in FENCED.findall(page.read_text()):
        if language == "toml":
            for key in leaves(tomllib.loads(text)):
                assert is_key(key), key


def leaves(table: dict[str, Any], before: str = "") -> Iterator[str]:
    """The keys of nested tables, with dots."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"


def test_every_result_has_its_command_date_and_machine():
    sections = re.split(r"^## ", (DOCS / "results.md").read_text(), flags=re.MULTILINE)[1:]
    assert len(sections) >= 10
    for section in sections:
        said = section.split("\n")[2]
        assert re.match(r"`make [a-z-]+`.*; two cores, no GPU, November 2026", said), said


def test_every_step_of_the_walk_names_a_place():
    text = (DOCS / "walk.md").read_text()
    steps = re.split(r"^\d+\. ", text, flags=re.MULTILINE)[1:]
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", text, re.MULTILINE)]
    assert numbers == list(range(1, len(steps) + 1))
    for step in steps:
        assert named(step), step


def test_the_walk_s_sentence_and_jokes_are_the_demo_s():
    """As the demo's configuration has them: three jokes, seed 0."""
    text = (DOCS / "walk.md").read_text()
    identity = re.findall(r"^ +(l_\w{12})  (.*)$", text, re.MULTILINE)[0][0]
    literals = jsonl.load(ROOT / "data/literals/train.jsonl", LiteralText)
    literal = next(literal for literal in literals if literal.id == identity)
    assert f"{literal.id}  {literal.text}\n" in text
    settings = tomllib.loads((ROOT / "configs/demo.toml").read_text())
    message = {"role": "user", "content": render("teacher", n=3, literal=literal.text)}
    model = settings["teacher"]["endpoint"]["model"]
    _, body = standin.respond({"model": model, "messages": [message], "seed": settings["seed"]})
    answer, _ = parse_answer("0" * 64, json.dumps(body))
    jokes, _ = teacher.parse(answer, literal.text, 3)
    assert len(jokes) == 3
    for index, joke in enumerate(jokes):
        row = make(
            Joke,
            literal_id=literal.id,
            literal=literal.text,
            text=joke,
            author="teacher",
            index=index,
            call=None,
        )
        assert f"{row.id}  {row.text}\n" in text


def test_layers_are_those_that_the_linter_holds():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    assert block(CONTRIBUTING.read_text(), "layers").splitlines() == layers


def write() -> None:
    """Put the real help texts and keys into their pages."""
    os.environ["COLUMNS"] = WIDTH
    for page, (name, body) in GENERATED.items():
        before, _, after = generated(page.read_text(), name)
        page.write_text(before + body() + after)


if __name__ == "__main__":
    write()
