import pytest

from pipeline.configfile import assign, load, parse_assignment, validate
from pipeline.errors import ConfigError


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        ("sede=1", "sede: unknown key. Did you mean 'seed'?"),
        ("teacher.temprature=1", "teacher.temprature: unknown key. Did you mean 'temperature'?"),
        ("teacher.endpoint.basurl=1", "Did you mean 'base_url'?"),
        ("student.lora.rank=4", "student.lora.rank: unknown key. Known keys: r, lora_alpha"),
        ("rounds.0.candidate='base'", "rounds.0.candidate: unknown key. Did you mean 'candidates'?"),
        ("critic.tie_band=0.7", "critic.tie_band: Input should be less than 0.5"),
        ("rounds.0.objective='ppo'", "rounds.0.objective: Input should be 'dpo'"),
        ("rounds=[]", "rounds: List should have at least 1 item"),
        ("sample.splits=[]", "sample.splits: List should have at least 1 item"),
        ("evaluate.splits=[]", "evaluate.splits: List should have at least 1 item"),
        ("dpo.length_ratio=[1.2, 0.8]", "length_ratio is [smallest, largest]"),
        ("student.quantization='4bit'", "a quantized student cannot be trained in full"),
    ],
)
def test_a_wrong_key_or_value_is_named(demo, assignment, complaint):
    assign(demo, *parse_assignment(assignment))
    with pytest.raises(ConfigError) as error:
        validate(demo, "mine.toml")
    assert str(error.value).startswith("mine.toml: ")
    assert complaint in str(error.value)


def test_assignments_are_toml_or_plain_text(demo):
    assert parse_assignment("a.b=[1, 2]") == (["a", "b"], [1, 2])
    assert parse_assignment("student.model=org/name") == (["student", "model"], "org/name")
    assign(demo, *parse_assignment("dpo.trainer.beta=0.5"))
    assert validate(demo, "demo").dpo.trainer["beta"] == 0.5
    with pytest.raises(ConfigError, match="write key=value"):
        parse_assignment("beta")


@pytest.mark.parametrize("path", ["rounds.5.x", "rounds.x", "seed.a", "student.model.x"])
def test_a_path_that_leads_nowhere_is_named(demo, path):
    with pytest.raises(ConfigError, match=f"--set {path}: there is no"):
        assign(demo, path.split("."), 1)


def test_a_table_that_is_absent_or_null_is_made(demo):
    demo["student"]["lora"] = None
    assign(demo, ["student", "lora", "r"], 8)
    assign(demo, ["runtime", "concurrency"], 2)
    found = validate(demo, "demo")
    assert (found.student.lora.r, found.runtime.concurrency) == (8, 2)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="No such file or directory. Copy configs"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path)
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not TOML"):
        load(tmp_path / "bad.toml")
    (tmp_path / "bad.toml").write_text("seed = ")
    with pytest.raises(ConfigError, match="not TOML"):
        load(tmp_path / "bad.toml")


@pytest.mark.parametrize(
    ("flag", "complaint"),
    [
        ("sft.trainer.hub_token=hf_secret", "hub_token stays out of files"),
        ("teacher.endpoint.base_url=https://me:secret@example.org/v1", "a password stays out of files"),
    ],
)
def test_no_secret_gets_into_a_file(cli, data, flag, complaint):
    said = cli("teacher", "--run", "v1", "--set", flag, code=3)
    assert complaint in said
    assert not data.exists()


def test_null_unsets_a_key():
    assert parse_assignment("dpo.trainer.loss_weights=null") == (["dpo", "trainer", "loss_weights"], None)
