"""The words cannot lie: README.md, CONTRIBUTING.md and docs/ say what is there.

tests/whole/test_demo.py holds the demo's output.
"""

import json
import re
import tomllib

import pytest

from pipeline import STAGES, standin
from pipeline.config.whole import Config
from pipeline.execution.stage import stage_of
from pipeline.llm.answer import parse as parse_answer
from pipeline.prompts import render
from pipeline.rows import jsonl
from pipeline.rows.records import Joke, LiteralText
from pipeline.rows.row import make
from pipeline.runs.step import Step
from pipeline.stages import teacher
from tests import ROOT, generated
from tests.generated import GENERATED
from tests.pages import (
    CHANGELOG,
    CONTRIBUTING,
    DOCS,
    FENCED,
    LINK,
    PAGES,
    PATH,
    README,
    SPAN,
    anchors,
    block,
    code,
    commands_typed,
    defined,
    flags,
    in_tree,
    is_key,
    leaves,
    named,
    split_generated,
    targets,
    tracked,
)

EXAMPLES = {
    "configs/mine.toml",
    "prompts/dry.j2",
    "data/literals/mine.jsonl",
    "data/literals/self_dialogue.jsonl",
    "data/literals/taskmaster_coffee.jsonl",
}
"""Paths that stand for the reader's own files."""
KEY = re.compile(r"([a-z]+\.[a-z_0-9.]+)(?:\s*=.*)?", re.DOTALL)
TABLE = re.compile(r"\[{1,2}([a-z_.]+)\]{1,2}(?: ([a-z_]+))?")
"""A section of a configuration, and one of its keys."""
FILE_ENDINGS = {"py", "j2", "json", "jsonl", "toml", "sqlite"}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pytest.mark.parametrize("page", GENERATED, ids=lambda page: page.name)
def test_what_is_generated_is_up_to_date(page, monkeypatch):
    monkeypatch.setenv("COLUMNS", generated.WIDTH)
    name, body = GENERATED[page]
    _, shown, _ = split_generated(page.read_text(), name)
    assert shown == body(), "python -m tests.generated writes it anew"


def test_every_configuration_is_listed():
    text = (DOCS / "configuration.md").read_text()
    listed = re.findall(r"^\| `(configs/.*?)` \|", text, re.MULTILINE)
    assert sorted(listed) == [path for path in tracked() if re.fullmatch(r"configs/.*\.toml", path)]


def test_every_key_has_its_documentation():
    assert [key for key, _, text in generated.keys(Config) if not text] == []


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 250


def test_every_page_can_be_found_from_the_readme():
    linked = {link.partition("#")[0] for link in LINK.findall(README.read_text())}
    for page in PAGES[1:]:
        assert str(page.relative_to(ROOT)) in linked, page.name


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
        for name, rest in re.findall(r"humor-distill ([a-z][a-z-]*)([^&|]*)", line):
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


def test_every_result_has_its_command_date_and_machine():
    sections = re.split(r"^## ", (DOCS / "results.md").read_text(), flags=re.MULTILINE)[1:]
    assert len(sections) >= 10
    for section in sections:
        said = section.split("\n")[2]
        assert re.match(r"`make [a-z0-9-]+`.*; two cores, no GPU, November 2026", said), said


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


def test_every_raise_of_a_stage_s_version_is_in_the_changes():
    """As "`teacher` 2"."""
    text = CHANGELOG.read_text()
    for name in STAGES:
        for version in range(2, stage_of(Step(name)).VERSION + 1):
            assert f"`{name}` {version}" in text
