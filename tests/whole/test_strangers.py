"""A run that somebody gives us runs no code of theirs, and talks to nobody before we say so."""

import json
import os
import shutil

import pytest

from pipeline.runs.files import write_json
from pipeline.runs.hashes import folder_hash
from pipeline.runs.manifest import seal
from tests import ROOT
from tests.conftest import rows
from tests.llm.test_door import reply, served

CODE = """
from pathlib import Path
Path({mark!r}).write_text("it ran")
from transformers import LlamaConfig, LlamaForCausalLM
class Config(LlamaConfig):
    model_type = "stranger"
class Model(LlamaForCausalLM):
    config_class = Config
"""


def change(path, change):
    """Change a JSON file in place; a manifest is sealed again, as a stranger would."""
    values = json.loads(path.read_text())
    change(values)
    if "seal" in values:
        del values["seal"]
        values["seal"] = seal(values)
    write_json(path, values)


@pytest.fixture
def theirs(apart, tmp_path):
    """The small run as a stranger would give it: its student brings code, and is to be trusted."""
    mark = tmp_path / "mark"
    folder = tmp_path / "model"
    shutil.copytree(ROOT / "data/students/micro", folder)
    (folder / "stranger.py").write_text(CODE.format(mark=str(mark)))
    code = {"AutoConfig": "stranger.Config", "AutoModelForCausalLM": "stranger.Model"}

    def bring_code(config):
        config["model_type"] = "stranger"
        config["auto_map"] = code

    def trust(values):
        values["student"]["model"] = str(folder)
        values["student"]["trust_remote_code"] = True

    change(folder / "config.json", bring_code)
    change(apart / "runs/v1/config.json", trust)
    for path in (apart / "runs/v1").rglob("manifest.json"):
        change(path, lambda values: "student" in values["recipe"] and trust(values["recipe"]))
    return mark


def test_code_in_a_run_never_runs(theirs, cli, apart, tmp_path):
    out = tmp_path / "out"
    path = apart / "runs/v1/config.json"
    for command in ("status", "report", "show --stage teacher", "verify"):
        cli(*command.split(), "--run", "v1")
    cli("diff", "v1", "v1")
    for command in (["try", "The kettle is on."], ["export", "--contestant", "sft", str(out)]):
        said = cli(*command, "--run", "v1", code=8)
        assert "It brings code of its own; if you have read it, " in said
    cli("export", "--rows", str(out), "--run", "v1")
    for command in ("teacher", "sft --force", "all", "all --adopt", "all --dry-run"):
        said = cli(*command.split(), "--run", "v1", code=3)
        assert f"{path}: student.trust_remote_code lets code run" in said
    cli("sft", "--run", "v2", "--from", "v1", code=3)
    assert not theirs.exists()
    cli("try", "The kettle is on.", "--run", "v1", "--trust-remote-code")
    assert theirs.read_text() == "it ran"


@pytest.fixture
def talkative(data, monkeypatch):
    """A run as it was copied here, whose teacher is somebody's server; what the server was sent."""
    monkeypatch.setenv("MY_KEY", "sk-0123456789abcdef")
    headers = []
    with served(lambda body, _: reply("1. a b c\n2. b c d\n3. c d e"), headers=headers) as (url, _):
        settings = {
            "literals": {
                "files": [f"data/literals/{split}.jsonl" for split in ("train", "test", "ood")],
                "limit": 4,
            },
            "teacher": {
                "endpoint": {
                    "base_url": url,
                    "model": "m",
                    "api_key_env": "MY_KEY",
                    "extra_headers": {"X-Org": "$HOME"},
                }
            },
            "student": {"model": "data/students/micro"},
            "critic": {"endpoint": {"base_url": "standin:", "model": "m"}},
            "judge": {"endpoint": {"base_url": "standin:", "model": "m"}},
        }
        (data / "runs/v1").mkdir(parents=True)
        (data / "runs/v1/config.json").write_text(json.dumps(settings))
        yield url, headers


def test_a_run_that_was_copied_here_says_whom_it_would_talk_to(talkative, data, cli, monkeypatch):
    url, headers = talkative
    for command in ("teacher", "all"):
        said = cli(*command.split(), "--run", "v1", code=4)
        assert (
            "run v1 is not known to be made here, and its configuration has this program talk to "
            f"others:\n  {url} is asked, with the value of HOME and MY_KEY\n"
        ) in said
        assert "--adopt" in said
    monkeypatch.setattr("pipeline.models.student.load_tokenizer", None)  # no model is looked up
    assert "teacher" in cli("all", "--run", "v1", "--dry-run")
    cli("teacher", "--run", "v2", "--from", "v1", code=4)
    assert headers == []
    cli("teacher", "--run", "v1", "--adopt")
    assert len(headers) == 12
    cli("teacher", "--run", "v1", "--force")  # from here on it is known


def test_a_run_that_was_made_here_is_known_until_it_would_talk_to_somebody_else(
    talkative, data, cli, tmp_path
):
    url, headers = talkative
    config = tmp_path / "mine.toml"
    config.write_text((ROOT / "configs/demo.toml").read_text())
    flags = [f'teacher.endpoint.base_url="{url}"', "literals.limit=2"]
    settings = [part for flag in flags for part in ("--set", flag)]
    cli("teacher", "--run", "mine", "--config", config, *settings)
    assert len(rows(data / "cache/runs.jsonl")) == 1
    cli("teacher", "--run", "mine", "--force")
    change(
        data / "runs/mine/config.json",
        lambda values: values["judge"]["endpoint"].update(base_url="https://elsewhere.invalid/v1"),
    )
    said = cli("teacher", "--run", "mine", "--force", code=4)
    assert "https://elsewhere.invalid/v1 is asked, without a key" in said
    shutil.copytree(data / "runs/mine", data / "runs/copy")
    assert "run copy is not known" in cli("teacher", "--run", "copy", "--force", code=4)
    cli("teacher", "--run", "copy", "--force", "--config", config, *settings)
    assert "elsewhere" not in (data / "cache/runs.jsonl").read_text()


def test_a_trainer_that_reports_is_named(data, cli):
    (data / "runs/v1").mkdir(parents=True)
    settings = {
        "literals": {"files": ["data/literals/train.jsonl"], "limit": 4},
        "teacher": {"endpoint": {"base_url": "standin:", "model": "m"}},
        "student": {"model": "data/students/micro"},
        "sft": {"trainer": {"push_to_hub": True, "hub_model_id": "them/theirs"}},
        "critic": {"endpoint": {"base_url": "standin:", "model": "m"}},
        "judge": {"endpoint": {"base_url": "standin:", "model": "m"}},
    }
    (data / "runs/v1/config.json").write_text(json.dumps(settings))
    said = cli("teacher", "--run", "v1", code=4)
    assert '  a trainer reports: hub_model_id = "them/theirs"\n' in said
    assert "  a trainer reports: push_to_hub = true\n" in said


def test_nobody_is_asked_at_the_terminal_whether_code_may_run(theirs, tmp_path, monkeypatch):
    """Where a library is told neither yes nor no, it would ask, and take a yes for one."""
    from transformers import AutoConfig

    import pipeline.models  # noqa: F401 - it decides

    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(ValueError, match="trust_remote_code"):
        AutoConfig.from_pretrained(tmp_path / "model")
    assert not theirs.exists()


def test_an_adapter_of_a_kind_that_loads_other_models_is_refused(apart, cli):
    weights = apart / "runs/v1/sft/weights"
    (weights / "adapter_config.json").write_text('{"peft_type": "SHADOW", "shadow_model": "x"}')
    change(
        weights.parent / "manifest.json",
        lambda values: values["weights"].update(sha256=folder_hash(weights)),
    )
    said = cli("try", "The kettle is on.", "--run", "v1", code=8)
    assert f"{weights}/adapter_config.json: an adapter of the kind SHADOW" in said


def test_a_link_in_a_model_of_a_run_is_not_followed(apart, cli, tmp_path):
    folder = apart / "runs/v1/model"
    shutil.copytree(ROOT / "data/students/micro", folder)
    private = tmp_path / "private.txt"
    private.write_text("not for anybody")
    (folder / "vocab.txt").symlink_to(private)
    change(
        apart / "runs/v1/config.json", lambda values: values["student"].update(model=str(folder))
    )
    for path in (apart / "runs/v1").rglob("manifest.json"):
        change(
            path,
            lambda values: values["recipe"].get("student", {}).update(model=str(folder)),
        )
    said = cli("export", "--contestant", "base", tmp_path / "out", "--run", "v1", code=8)
    assert f"{folder}/vocab.txt is a link; no stage made it" in said
    assert not (tmp_path / "out").exists()


def test_a_pipe_in_a_run_is_waited_for_by_nobody(apart, cli):
    manifest = apart / "runs/v1/sft/manifest.json"
    manifest.unlink()
    os.mkfifo(manifest)
    for command in ("status", "verify", "report"):
        said = cli(command, "--run", "v1", code=5)
        assert f"{manifest}: no file, though something of this name is there" in said


def test_a_model_from_the_hub_is_fetched_once_that_is_wanted(apart, cli, tmp_path):
    def elsewhere(values):
        values["student"]["model"] = "them/theirs"

    change(apart / "runs/v1/config.json", elsewhere)
    for path in (apart / "runs/v1").rglob("manifest.json"):
        change(path, lambda values: "student" in values["recipe"] and elsewhere(values["recipe"]))
    for command in (["try", "x"], ["export", "--contestant", "sft", tmp_path / "out"]):
        said = cli(*command, "--run", "v1", code=4)
        assert '\n  "them/theirs" is fetched from the Hub\n' in said
    assert "student.model = 'them/theirs'" in cli("try", "x", "--run", "v1", "--adopt", code=8)
