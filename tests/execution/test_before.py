"""Runs that earlier versions made, kept in before/: they stay complete, whole and readable.

Their student has 43 words and 2,000 parameters; before/*.toml are their configurations. The run rooms
(brio.toml) is of commit d6fe499, the last whose recipes had no version; the others are of ad89ce1.
"""

import json
import shutil

import pytest

from pipeline import project
from pipeline.execution.stage import stage_of
from pipeline.execution.syntax import syntax_hash
from pipeline.runs.manifest import seal
from pipeline.runs.recipes import FORMER_LOSSES, same
from pipeline.runs.run import Run
from pipeline.runs.step import Step
from tests import ROOT
from tests.conftest import rows
from tests.execution.before import standin as standin_then

FORMER_LOSSES_BRIO = next(iter(FORMER_LOSSES.values()))["brio"]
BEFORE = ROOT / "tests/execution/before"
RUNS = ("demo", "brio", "gkd", "llmr", "g2r", "rooms")


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


NOW = {
    "sft": "e8a186cb6407861f",
    "brio": "3745147aee42d790",
    "rewards": "831814e9df8b740d",
    "returns": "cb88bf6d0c236ce1",
    "advantages": "516b90155029a046",
    "drawn_from": "87543f3f193b87de",
    "policy_gradient": "45ce13e313b20c52",
}
"""The losses that the dpo stage's versions 3 and 4 (sft) changed."""


def test_losses_are_what_they_were():
    """Where one changes for good, raise the stage's VERSION, and say so here."""
    files = ("preference", "reward", "divergence", "retrieval")
    for file, then in zip(files, FORMER_LOSSES.values(), strict=True):
        path = project.PACKAGE / f"training/losses/{file}.py"
        names = then if file != "reward" else [*then, "drawn_from"]
        assert {name: syntax_hash(path, name) for name in names} == {
            name: NOW.get(name) or then[name] for name in names
        }


def test_a_round_that_no_rate_stopped_in_an_earlier_version_stays_complete():
    """Since version 3 of dpo, [dpo.early_stopping] by wtr holds for every objective."""
    had = {"version": 2, "round": {"objective": "sd"}, "prompts": {"student": "1"}, "inputs": {}}
    now = {**had, "version": 3, "critic": {"method": "choice"}, "evaluate": {"max_new_tokens": 24}}
    now["prompts"] = {"student": "1", "critic": "2"}
    now["inputs"] = {"teacher": {"records": "3"}}
    assert same(had, now)
    assert not same(had, {**now, "prompts": {"student": "2", "critic": "2"}})
    assert not same({**had, "version": 3}, now)


def test_a_loss_of_a_user_s_own_is_another_recipe_in_any_version():
    ours = {"version": 1, "losses": {"brio": FORMER_LOSSES_BRIO}}
    assert same(ours, {"version": 3, "losses": {"brio": NOW["brio"]}})
    assert not same(ours, {"version": 1, "losses": {"brio": NOW["brio"]}})
    theirs = {"version": 1, "losses": {"brio": "0123456789abcdef"}}
    assert not same(theirs, {"version": 3, "losses": {"brio": NOW["brio"]}})
    own = {"version": 1, "losses": {"mine": "0123456789abcdef"}}
    assert same(own, {"version": 3, "losses": {"mine": "0123456789abcdef"}})
    assert not same(own, {"version": 3, "losses": {"mine": "1123456789abcdef"}})


def complete(step):
    """What is said of a step of version 1, which is what those of before/ are."""
    version = stage_of(step).VERSION
    by = ""
    if version > 1:
        by = f" by {step.stage} 1 (now {version}; CHANGELOG.md says what that changes)"
    return f"{step}: complete{by}, nothing to do"


def test_what_an_earlier_version_completed_stays_and_is_said_to_be_of_it(cli, old):
    said = cli("all", "--run", "rooms").splitlines()
    assert said[0] == (
        "teacher: complete by teacher 1 (now 3; CHANGELOG.md says what that changes), nothing to do"
    )
    assert said == [complete(step) for step in Run("rooms").steps()]
    assert "faults" not in cli("verify", "--run", "rooms")


def test_what_goes_on_from_it_says_so(cli, old):
    sampled = old / "rooms/round-1/sample"
    shutil.rmtree(old / "rooms/sft")
    said = cli("sft", "--run", "rooms", "--dry-run")
    assert said.startswith(
        "teacher was made by teacher 1 (now 3; CHANGELOG.md says what that changes). It is read as it is; "
        "to make it again: humor-distill teacher --run rooms --force"
    )
    assert sampled.exists()


def test_what_an_earlier_version_began_is_not_gone_on_with(cli, old):
    folder = old / "rooms/teacher"
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").unlink()
    (folder / "started.json").write_text(
        json.dumps({"recipe": manifest["recipe"], "started": manifest["started"]})
    )
    (folder / "records.jsonl").rename(folder / "records.jsonl.partial")
    said = cli("teacher", "--run", "rooms", code=4)
    assert "  - version = 1\n  + version = 3\nHave it as it was:" in said
    cli("teacher", "--run", "rooms", "--force")
    made = json.loads((folder / "manifest.json").read_text())
    assert made["recipe"]["version"] == 3
    assert made["rows"] == manifest["rows"]


@pytest.mark.parametrize("stage", ["teacher", "critic"])
def test_the_same_answers_give_the_same_rows(cli, old, stage, monkeypatch):
    """The answers are those of the stand-in of that time, which is before/standin.py.

    Where they come to differ for good, raise the stage's VERSION, and say so here and in CHANGELOG.md.
    """
    monkeypatch.setattr("pipeline.standin.respond", standin_then.respond)
    monkeypatch.setattr("pipeline.standin.version", standin_then.version)
    step = Step(stage, 1 if stage == "critic" else None)
    path = Run("rooms").at(step) / "records.jsonl"
    before = path.read_bytes()
    cli(stage, "--run", "rooms", "--force")
    now, more = {  # teacher 3: one key more; critic 4: two
        "teacher": (b"joke/2", b',"prompt":"teacher"'),
        "critic": (b"verdict/3", b',"decoding":null,"judge":null'),
    }[stage]
    before = before.replace(now[:-1] + b"1", now)
    before = before.replace(b"}\n", more + b"}\n")
    assert path.read_bytes() == before


def test_a_key_that_a_recipe_lacks_is_at_its_default(cli, old):
    """A version that did not know a key wrote recipes without it."""
    for path in (old / "rooms").rglob("manifest.json"):
        manifest = json.loads(path.read_text())
        lose(manifest["recipe"], "dpo", "early_stopping")
        lose(manifest["recipe"], "critic", "endpoint", "omit")
        lose(manifest["recipe"], "student", "quantization")
        lose(manifest["recipe"], "student", "date")
        manifest["seal"] = seal(manifest)
        path.write_text(json.dumps(manifest))
    said = cli("all", "--run", "rooms").splitlines()
    assert said == [complete(step) for step in Run("rooms").steps()]
    said = cli("critic", "--run", "rooms", "--set", 'critic.endpoint.omit=["seed"]', code=4)
    assert "  - critic.endpoint.omit = []\n  + critic.endpoint.omit = ['seed']\n" in said
    said = cli("sft", "--run", "rooms", "--set", "student.date=2025-01-31", code=4)
    assert "  - student.date = '2024-07-26'\n  + student.date = '2025-01-31'\n" in said
    said = cli("dpo", "--run", "rooms", "--set", "dpo.early_stopping.patience=2", code=4)
    assert "  - dpo.early_stopping = None\n  + dpo.early_stopping.literals = 100\n" in said


def test_only_a_section_s_own_keys_are_left_out_of_its_recipe(cli, old):
    """extra_body may hold anything, by any name."""
    cli("critic", "--run", "rooms", "--force")  # its recipe left those names out everywhere
    body = "critic.endpoint.extra_body={mode='fast', replicas=2}"
    said = cli("critic", "--run", "rooms", "--set", body, code=4)
    assert "+ critic.endpoint.extra_body.mode = 'fast'" in said
    cli("critic", "--run", "rooms", "--set", "critic.endpoint.requests_per_minute=9")


def test_names_that_0_1_0_left_out_at_any_depth_stay_out_of_its_recipes():
    """A trainer's own key may have the name of an endpoint's."""
    had = {"seed": 0, "sft": {"trainer": {"lr_scheduler_kwargs": {"factor": 0.5}}}}
    now = {"seed": 0, "sft": {"trainer": {"lr_scheduler_kwargs": {"mode": "max", "factor": 0.5}}}}
    assert same(had, {**now, "version": 1})
    assert not same({**had, "version": 1}, {**now, "version": 1})


def test_a_section_that_a_recipe_lacks_is_at_its_default():
    assert same({"seed": 0}, {"seed": 0, "version": 1, "sft": {"trainer": {}}, "retriever": None})
    assert not same({"seed": 0}, {"seed": 0, "version": 1, "sft": {"trainer": {"beta": 1}}})
    off = {"seed": 0, "student": {"model": "x", "lora": None}}
    assert same({"seed": 0, "student": {"model": "x"}}, off)
    assert not same(off, {"seed": 0, "student": {"model": "x", "lora": {}}})


def lose(recipe, *path):
    """Take a key out of a recipe, where it is there."""
    for name in path[:-1]:
        recipe = recipe.get(name, {})
    recipe.pop(path[-1], None)
