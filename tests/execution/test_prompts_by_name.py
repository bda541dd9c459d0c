"""Prompts by name: two runs need not share one critic's, and what is edited is shown as words."""

import pytest

from pipeline import project
from pipeline.config.file import load, validate
from pipeline.execution.stage import stage_of
from pipeline.runs.recipes import same
from pipeline.runs.step import Step
from tests import ROOT
from tests.execution.conftest import judged


@pytest.fixture
def prompts(tmp_path, monkeypatch):
    """The prompts/ of a project of one's own."""
    home = tmp_path / "project"
    (home / "configs").mkdir(parents=True)
    (home / "prompts").mkdir()
    monkeypatch.setenv("HUMOR_DISTILL_HOME", str(home))
    words = (project.BUNDLED / "prompts/critic.j2").read_text("utf-8")
    (home / "prompts/critic.j2").write_text(words, "utf-8")
    return home / "prompts"


def edit(path, source="critic"):
    words = (project.BUNDLED / f"prompts/{source}.j2").read_text("utf-8")
    path.write_text(f"You are hard to amuse.\n{words}", "utf-8")


def test_the_refusal_shows_the_words_that_differ(cli, config, data, prompts):
    judged(cli, config)
    edit(prompts / "critic.j2")
    said = cli("critic", "--run", "v1", code=4)
    assert "was made with another recipe:\n  + prompts.critic: You are hard to amuse.\n" in said


def test_so_does_that_of_a_step_that_was_only_begun(cli, config, data, prompts):
    judged(cli, config)
    folder = data / "runs/v1/round-1/critic"
    manifest = folder / "manifest.json"
    (folder / "records.jsonl").rename(folder / "records.jsonl.partial")
    import json

    made = json.loads(manifest.read_text())
    manifest.unlink()
    begun = {key: made[key] for key in ("recipe", "prompts", "started")}
    (folder / "started.json").write_text(json.dumps(begun))
    edit(prompts / "critic.j2")
    said = cli("critic", "--run", "v1", code=4)
    assert "was made with another recipe:\n  + prompts.critic: You are hard to amuse.\n" in said


def test_a_run_s_critic_asks_by_the_prompt_that_it_names(cli, config, data, prompts):
    edit(prompts / "mine.j2")
    judged(cli, config, "--set", "critic.prompt=mine")
    manifest = (data / "runs/v1/round-1/critic/manifest.json").read_text()
    assert '"prompts": {\n  "mine": "You are hard to amuse.' in manifest
    edit(prompts / "critic.j2")
    assert "nothing to do" in cli("critic", "--run", "v1")
    said = cli("critic", "--run", "v1", "--set", "critic.prompt=critic", code=4)
    assert "  - critic.prompt = 'mine'\n  + critic.prompt = 'critic'\n" in said


def test_diff_shows_the_words_and_the_verdicts_that_flipped(cli, config, data, prompts):
    """Of two prompts of other names as well: whatever is in the other's place."""
    judged(cli, config)
    edit(prompts / "mine.j2")
    noisy = ["--set", "critic.prompt=mine", "--set", "critic.tie_band=0.2"]
    cli("critic", "--run", "v2", "--from", "v1", *noisy)
    said = cli("diff", "v1", "v2")
    assert said.count("prompts.") == 1
    assert "  + prompts.mine: You are hard to amuse.\n" in said
    assert "pairs that both judged, " in said
    assert " to tie" in said


def test_a_prompt_that_is_not_there_and_one_that_is_a_path(cli, config, prompts):
    judged_by = ["--set", "critic.prompt=mien"]
    judged(cli, config)
    assert "prompts/mien.j2: this prompt is missing" in cli(
        "critic", "--run", "v1", *judged_by, code=3
    )
    said = cli("critic", "--run", "v1", "--set", "judge.prompt=../secret", code=3)
    assert "is no name of a file of prompts/ without .j2" in said


@pytest.mark.parametrize("best_of", [None, 4])
def test_evaluate_reads_the_critic_only_where_it_chooses(best_of):
    data = load(ROOT / "configs/demo.toml")
    data["evaluate"]["best_of"] = best_of
    data["critic"]["prompt"] = "mine"
    data["judge"] |= {"prompt": "strict", "panel": [{**data["judge"], "temperature": 1.0}]}
    config = validate(data, "test")
    stage = stage_of(Step("evaluate"))
    asked = best_of is not None
    assert ("critic" in stage.sections(config, None)) is asked
    assert ("sample" in stage.sections(config, None)) is asked
    assert ("mine" in stage.prompts(config, None)) is asked
    assert {"student", "strict", "judge"} <= set(stage.prompts(config, None))


def test_an_evaluation_whose_recipe_names_a_critic_that_chose_nothing_stays_complete():
    """Until evaluate 5 all of them did."""
    judge = {"method": "choice", "endpoint": {"base_url": "standin:", "model": "m"}}
    prompts = {"student": "1", "critic": "2", "cloze": "3", "judge": "4"}
    had = {"version": 5, "judge": judge, "evaluate": {"best_of": None}, "prompts": prompts,
           "critic": judge, "sample": {"k": 3}}  # fmt: skip
    now = {"version": 6, "judge": judge, "evaluate": {"best_of": None},
           "prompts": {"student": "1", "judge": "4"}, "code": {}}  # fmt: skip
    assert same(had, now)
    assert not same(had, {**now, "prompts": {"student": "1", "judge": "5"}})
    chosen = {"evaluate": {"best_of": 4}}
    assert not same(had, {**now, **chosen, "critic": judge, "sample": {"k": 6}})
    assert same({**had, **chosen}, {**now, **chosen, "critic": judge, "sample": {"k": 3}})
    assert not same({**had, **chosen}, {**now, **chosen, "critic": judge, "sample": {"k": 6}})
