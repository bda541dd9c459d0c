"""--try N: what a stage would make of its first sentences or pairs, and nothing is written."""

import json
import threading

import pytest

from pipeline import project, standin
from pipeline.commands import flags
from pipeline.execution.stage import Tries, stage_of
from pipeline.llm.ledger import usage
from pipeline.runs.step import Step
from tests.execution.conftest import files, judged


def test_the_flag_is_where_there_is_something_to_try():
    stages = {name for name in flags.STAGE_HELP if name != "all"}
    assert set(flags.TRIED) == {name for name in stages if isinstance(stage_of(Step(name)), Tries)}


def test_a_teacher_is_tried_and_paid_once(cli, config, data):
    said = cli("teacher", "--run", "v1", "--config", config, "--try", "2")
    assert said.count("  teacher  0\n") == 2
    assert not (data / "runs").exists()
    cache = data / "cache/calls.sqlite"
    assert usage(cache, "v1", "teacher")["calls"] == 2
    cli("teacher", "--run", "v1", "--config", config)
    assert usage(cache, "v1", "teacher")["calls"] == 40


@pytest.mark.parametrize("pairs", ["farthest", "all", "swiss"])
def test_a_critic_s_prompt_is_tried_on_a_finished_run(
    cli, config, data, tmp_path, pairs, monkeypatch
):
    judged(cli, config)
    before = files(data / "runs/v1/round-1/critic")
    settings = (data / "runs/v1/config.json").read_bytes()
    home = tmp_path / "project"
    (home / "prompts").mkdir(parents=True)
    (home / "configs").mkdir()
    words = (project.BUNDLED / "prompts/critic.j2").read_text("utf-8")
    (home / "prompts/mine.j2").write_text("Be strict.\n" + words, "utf-8")
    monkeypatch.setenv("HUMOR_DISTILL_HOME", str(home))
    mine = ["--set", "critic.prompt=mine", "--set", f"critic.pairs={pairs}"]
    said = cli("critic", "--run", "v1", *mine, "--try", "3")
    assert said.count("shown ab: p(a)") == said.count("shown ba: p(a)") == 3
    assert files(data / "runs/v1/round-1/critic") == before
    assert (data / "runs/v1/config.json").read_bytes() == settings


def test_a_judge_is_tried_on_answers_that_are_there(cli, inside):
    said = cli("evaluate", "--run", "v1", "--set", "judge.temperature=0.5", "--try", "4")
    assert said.count("shown ab: ") == 4
    texts = [json.loads(line)["text"] for line in
             (inside / "runs/v1/evaluate/answers.jsonl").read_text().splitlines()
             if json.loads(line)["author"] == "round-1"]  # fmt: skip
    assert texts[0].split()[0] in said


def test_without_answers_or_inputs_it_says_what_comes_first(cli, config):
    said = cli("critic", "--run", "v1", "--config", config, "--try", "3", code=4)
    assert "round-1/critic reads round-1/sample, which is not there in run v1. First: " in said


def test_a_key_that_is_not_there_is_said_first(cli, config):
    judged(cli, config)
    said = cli("critic", "--run", "v1", "--set", "critic.endpoint.api_key_env=NO_KEY", "--try",
               "1", code=3)  # fmt: skip
    assert "export NO_KEY=" in said


def test_it_is_no_dry_run(cli, config):
    with pytest.raises(SystemExit):
        cli("teacher", "--run", "v1", "--config", config, "--try", "1", "--dry-run")


def test_pairs_of_like_length_are_tried_until_there_are_as_many(cli, config):
    judged(cli, config)
    said = cli("critic", "--run", "v1", "--set", "critic.pairs=alike", "--set", "critic.alike=0.99",
               "--try", "3")  # fmt: skip
    assert said.count("shown ab: p(a)") == 3
    assert "dropped" not in said


def test_labels_that_are_not_there_are_said_to_be(cli, inside):
    said = cli("agreement", "--run", "v1", "--set", 'agreement={labels="none.jsonl"}', "--try", "3",
               code=5)  # fmt: skip
    assert "no such file (agreement.labels)" in said


def test_a_budget_stops_it_with_advice(cli, config):
    """Of the next request alone: what comes after is not known."""
    server = standin.server(0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    for cap in ("budget", "step_budget"):
        said = cli(
            "teacher", "--run", "v1", "--config", config, "--try", "2", "--set",
            f"teacher.endpoint.base_url={url}", "--set", f"runtime.{cap}=0.001", "--set",
            'teacher.endpoint.price={input=1000.0,output=1000.0,date="2026-11-01"}', code=7,
        )  # fmt: skip
        assert f"the same command with --set runtime.{cap}=" in said
    server.shutdown()
    server.server_close()
