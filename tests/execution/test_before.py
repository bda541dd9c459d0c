"""Runs that the version before the rooms made, kept in before/: they stay complete, whole and readable.

Their student has 43 words and 2,000 parameters; before/*.toml are their configurations.
"""

import shutil

import pytest

from pipeline import ROOT
from pipeline.execution.recipe import PIPELINE
from pipeline.execution.syntax import syntax_hash
from pipeline.runs.manifest import FORMER_LOSSES
from pipeline.runs.run import Run
from tests.conftest import rows

BEFORE = ROOT / "tests/execution/before"
RUNS = ("demo", "brio", "gkd", "llmr", "g2r")


@pytest.fixture
def old(data):
    shutil.copytree(BEFORE / "runs", data / "runs", symlinks=True)
    return data / "runs"


@pytest.mark.parametrize("name", RUNS)
def test_every_step_is_complete_and_whole(cli, old, name):
    table = cli("status", "--run", name).splitlines()[1:]
    assert table
    assert {line.split()[1] for line in table} <= {"complete", "linked"}
    assert "faults" not in cli("verify", "--run", name)


@pytest.mark.parametrize("name", RUNS)
def test_there_is_nothing_to_do(cli, old, name):
    said = cli("all", "--run", name).splitlines()
    assert len(said) == len(Run(name).steps())
    assert all(line.endswith("nothing to do") for line in said)


@pytest.mark.parametrize("name", RUNS)
def test_a_new_run_links_its_steps(cli, old, name):
    said = cli("all", "--run", "new", "--from", name, "--dry-run")
    assert said.count("would be linked, nothing to do") == len(Run(name).steps())
    cli("all", "--run", "new", "--from", name)
    recipes = cli("diff", name, "new").partition("\n\n")[0].splitlines()
    assert [line.partition(": ")[2] for line in recipes] == [
        "the same recipe, the same rows"
    ] * len(Run(name).steps())


@pytest.mark.parametrize("name", RUNS)
def test_its_rows_are_shown_and_reported(cli, old, name):
    cli("report", "--run", name)
    assert (old / name / "report.html").exists()
    verdict = rows(old / name / "evaluate/records.jsonl")[0]
    assert verdict["id"] in cli("show", verdict["id"], "--run", name)


def test_losses_are_what_they_were():
    """Where one changes for good, runs that learned by it are no longer complete: say so here."""
    files = ("preference", "reward", "divergence", "retrieval")
    for file, then in zip(files, FORMER_LOSSES.values(), strict=True):
        path = PIPELINE / f"training/losses/{file}.py"
        assert then == {name: syntax_hash(path, name) for name in then}
