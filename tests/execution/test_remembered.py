"""What a run remembers of its configuration: what its steps could start with, and no slip."""

import json
import re
import threading

import pytest

from pipeline import standin
from pipeline.__main__ import main
from pipeline.runs.settings import read_settings

PRICE = 'teacher.endpoint.price={input=1000.0,output=1000.0,date="2026-11-01"}'


@pytest.fixture
def priced(config):
    """The stand-in on loopback, whose answers cost something."""
    server = standin.server(0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    yield [
        "--config", config, "--set", f"teacher.endpoint.base_url={url}", "--set", PRICE,
        "--set", "teacher.max_tokens=200", "--set", "runtime.concurrency=1",
    ]  # fmt: skip
    server.shutdown()
    server.server_close()


def spent(said):
    return float(re.search(r"has spent ([\d.]+) of its", said)[1])


def advised(said):
    return re.search(r"--set runtime\.budget=([\d.]+) has room", said)[1]


def test_the_advice_is_enough_and_a_budget_that_was_raised_is_remembered(cli, priced, data):
    said = cli("teacher", "--run", "v1", *priced, "--set", "runtime.budget=1", code=7)
    assert 0.2 < spent(said) <= 1
    raised = ["--set", f"runtime.budget={spent(said) + 0.5}"]
    said = cli("teacher", "--run", "v1", *raised, code=7)
    settings = read_settings(data / "runs/v1/config.json")
    assert settings["runtime"]["budget"] == float(raised[1].partition("=")[2])
    again = cli("teacher", "--run", "v1", code=7)
    assert f"of its budget of {settings['runtime']['budget']} USD" in again
    assert advised(again) == advised(said)
    whole = cli("teacher", "--run", "v1", "--set", f"runtime.budget={advised(said)}")
    assert "teacher: " in whole
    manifest = json.loads((data / "runs/v1/teacher/manifest.json").read_text())
    assert manifest["spent"]["cost"] <= float(advised(said)) < 1.5 * manifest["spent"]["cost"]


def test_a_step_s_own_cap_is_advised_by_what_the_step_still_asks(cli, priced):
    said = cli("teacher", "--run", "v1", *priced, "--set", "runtime.step_budget=1", code=7)
    enough = re.search(r"--set runtime\.step_budget=([\d.]+) has room", said)[1]
    cli("teacher", "--run", "v1", "--set", f"runtime.step_budget={enough}")


@pytest.mark.parametrize(
    ("stage", "slip"),
    [
        ("teacher", "teacher.endpoint.model=gpt-9"),
        ("teacher", "teacher.prompts=['teachre']"),
        ("teacher", "dpo.trainer.loss_tpye=ipo"),
        ("teacher", "student.model=data/students/micor"),
        ("teacher", "critic.prompt=critci"),
        ("sft", "student.model=data/students/micor"),
        ("sft", "sft.trainer.learning_rat=1.0"),
    ],
)
def test_a_command_that_could_not_start_leaves_no_configuration(cli, config, data, stage, slip):
    if stage == "sft":
        cli("teacher", "--run", "v1", "--config", config)
    before = read_settings(data / "runs/v1/config.json")
    assert main([stage, "--run", "v1", "--config", str(config), "--set", slip]) in (3, 6, 8)
    assert read_settings(data / "runs/v1/config.json") == before


def test_a_slip_with_from_links_nothing(cli, config, data):
    cli("teacher", "--run", "v1", "--config", config)
    slip = ["--set", "student.model=data/students/micor"]
    assert main(["sft", "--run", "v2", "--from", "v1", *slip]) in (3, 8)
    assert not (data / "runs/v2").exists()


def test_a_new_run_lists_what_it_takes_over(cli, config, data):
    lora = ["--set", "student.lora.r=4"]
    cli("teacher", "--run", "lora", "--config", config, *lora)
    said = cli("sft", "--run", "v2", "--from", "lora", "--dry-run")
    assert "It takes over what is not as in " in said
    assert "configs/demo.toml, and what you --set comes on top:\n" in said
    assert "\n  student.lora.r = 4\n" in said
    assert "runtime." not in said.partition("teacher:")[0]
    priced = "teacher.endpoint.price={input=1.0,output=2.0,date='2026-11-01'}"
    own = ["--set", priced, "--set", "runtime.budget=5"]
    cli("teacher", "--run", "priced", "--config", config, *own)
    said = cli("sft", "--run", "v5", "--from", "priced", *lora, "--dry-run")
    assert "\n  runtime.budget = 5.0\n" in said
    assert "\n  teacher.endpoint.price.input = 1.0\n" in said
    assert "student.lora" not in said.partition("teacher:")[0]  # which is one's own
    assert "takes over" not in cli("sft", "--run", "v3", "--from", "lora", "--config", config,
                                   "--dry-run")  # fmt: skip


def test_a_step_that_is_not_linked_says_why(cli, config):
    cli("teacher", "--run", "v1", "--config", config)
    said = cli("sft", "--run", "v2", "--from", "v1", "--set", "teacher.jokes=2", code=4)
    assert "teacher of run v1 is not linked: teacher.jokes differs\n" in said
    other = ["--set", "teacher.jokes=2", "--set", "teacher.top_p=0.9"]
    said = cli("sft", "--run", "v3", "--from", "v1", *other, code=4)
    assert "teacher of run v1 is not linked: teacher.jokes, teacher.top_p differ\n" in said


def test_what_could_not_begin_anew_leaves_the_run_as_it_was(cli, config, data):
    cli("teacher", "--run", "v1", "--config", config)
    before = read_settings(data / "runs/v1/config.json")
    unpriced = ["--set", "teacher.endpoint.base_url=http://127.0.0.1:9/v1", "--set",
                "runtime.budget=5"]  # fmt: skip
    assert "is unknown" in cli("teacher", "--run", "v1", "--force", *unpriced, code=7)
    assert read_settings(data / "runs/v1/config.json") == before
    assert "nothing to do" in cli("teacher", "--run", "v1")


def test_a_step_that_could_not_begin_leaves_no_folder(cli, config, data):
    cli("teacher", "--run", "v1", "--config", config)
    slip = ["--set", "student.model=data/students/micor"]
    said = cli("sft", "--run", "v1", *slip, code=8)
    assert "data/students/micor': no such folder: " in said
    assert "Did you mean 'micro'?" in said
    assert sorted(path.name for path in (data / "runs/v1").iterdir()) == ["config.json", "teacher"]
    assert "not complete" not in cli("verify", "--run", "v1")


def test_a_new_run_whose_name_is_nearly_another_s_asks_whether_that_is_meant(cli, config):
    cli("teacher", "--run", "demo", "--config", config)
    said = cli("teacher", "--run", "dmeo", "--config", config, "--dry-run")
    assert said.splitlines()[1] == "Did you mean 'demo'?"
    assert "Did you mean" not in cli("teacher", "--run", "demo2", "--config", config, "--dry-run")


def test_a_prompt_that_a_later_step_lacks_is_said_before_the_first(cli, config, data):
    said = cli("all", "--run", "v1", "--config", config, "--set", "critic.prompt=critci", code=3)
    assert "prompts/critci.j2: this prompt is missing" in said
    assert "Did you mean 'critic'?" in said
    assert not (data / "runs/v1").exists()


def test_a_typo_is_no_other_recipe_of_a_finished_step(cli, inside):
    said = cli("dpo", "--run", "v1", "--set", "dpo.trainer.loss_tpye=ipo", code=3)
    assert "[dpo.trainer]: unknown key 'loss_tpye'. Did you mean 'loss_type'?" in said
