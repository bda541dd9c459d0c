import re

import pytest

from pipeline.config.file import assign, load, parse_assignment, validate
from pipeline.errors import ConfigError
from pipeline.runs.step import steps
from tests import ROOT


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        ("sede=1", "sede: unknown key. Did you mean 'seed'?"),
        ("teacher.temprature=1", "teacher.temprature: unknown key. Did you mean 'temperature'?"),
        ("teacher.endpoint.basurl=1", "Did you mean 'base_url'?"),
        ("student.lora.rank=4", "student.lora.rank: unknown key. Known keys: r, lora_alpha"),
        (
            "rounds.0.candidate='base'",
            "rounds.0.candidate: unknown key. Did you mean 'candidates'?",
        ),
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
    with pytest.raises(ConfigError, match="bad.toml:1: not UTF-8"):
        load(tmp_path / "bad.toml")
    (tmp_path / "bad.toml").write_text("seed = ")
    with pytest.raises(ConfigError, match="not TOML"):
        load(tmp_path / "bad.toml")


@pytest.mark.parametrize(
    ("flag", "complaint"),
    [
        ("sft.trainer.hub_token=hf_secret", "hub_token stays out of files"),
        (
            "teacher.endpoint.base_url=https://me:secret@example.org/v1",
            "a password stays out of files",
        ),
    ],
)
def test_no_secret_gets_into_a_file(cli, data, flag, complaint):
    said = cli("teacher", "--run", "v1", "--set", flag, code=3)
    assert complaint in said
    assert not data.exists()


def test_null_unsets_a_key():
    assert parse_assignment("dpo.trainer.loss_weights=null") == (
        ["dpo", "trainer", "loss_weights"],
        None,
    )


def configured(demo, **sections):
    return validate({**demo, **sections}, "test")


def test_a_repeated_round_is_so_many_rounds(demo):
    rounds = [{"candidates": "teacher", "objective": "brio"}, {"objective": "dpo", "repeat": 3}]
    found = configured(demo, rounds=rounds).rounds
    assert [(one.candidates, one.objective, one.repeat) for one in found] == [
        ("teacher", "brio", 1),
        *[("student", "dpo", 1)] * 3,
    ]


def test_an_ft_round_has_neither_candidates_nor_a_critic(demo):
    rounds = [{"objective": "ft"}, {"objective": "dpo"}]
    assert [str(step) for step in steps(configured(demo, rounds=rounds))] == [
        "teacher",
        "sft",
        "round-1/dpo",
        "round-2/sample",
        "round-2/critic",
        "round-2/dpo",
        "evaluate",
    ]


@pytest.mark.parametrize(
    ("dpo", "expected"),
    [
        ({}, [("sigmoid", 1.0)]),
        ({"sft_weight": 0.2}, [("sigmoid", 1.0), ("sft", 0.2)]),
        ({"ties": "rao-kupper"}, [("rao_kupper", 1.0)]),
        ({"ties": "rao-kupper", "sft_weight": 0.5}, [("rao_kupper", 1.0), ("sft", 0.5)]),
        (
            {"trainer": {"loss_type": ["hinge", "sft"], "loss_weights": [1, 0.3]}},
            [("hinge", 1.0), ("sft", 0.3)],
        ),
        ({"trainer": {"loss_type": "ipo"}}, [("ipo", 1.0)]),
    ],
)
def test_losses_of_a_round(demo, dpo, expected):
    found = configured(demo, dpo=dpo)
    assert found.loss_terms(found.rounds[0]) == expected


def test_losses_of_brio_are_cross_entropy_and_the_ranking(demo):
    found = configured(demo, dpo={"gamma": 7.0}, rounds=[{"objective": "brio"}])
    assert found.loss_terms(found.rounds[0]) == [("sft", 1.0), ("brio", 7.0)]


@pytest.mark.parametrize(
    ("dpo", "said"),
    [
        ({"ties": "rao-kupper", "trainer": {"loss_type": ["hinge"]}}, "a form of the sigmoid loss"),
        ({"sft_weight": 0.2, "trainer": {"loss_type": ["sigmoid", "sft"]}}, "use one of the two"),
        (
            {"trainer": {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0]}},
            "a weight for each",
        ),
    ],
)
def test_losses_that_do_not_go_together(demo, dpo, said):
    found = configured(demo, dpo=dpo)
    with pytest.raises(ConfigError, match=said):
        found.loss_terms(found.rounds[0])


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (
            {"rounds": [{"objective": "dpo", "rankings": True}]},
            "rankings = true goes with objective",
        ),
        ({"sample": {"num_beams": 3, "k": 6}}, "cannot give k = 6 candidates"),
        (
            {"sample": {"num_beams": 3, "k": 3}, "evaluate": {"best_of": 6}},
            "cannot give evaluate.best_of = 6",
        ),
    ],
)
def test_what_the_configuration_refuses(demo, sections, said):
    with pytest.raises(ConfigError, match=said):
        configured(demo, **sections)


def test_a_local_model_is_for_the_cloze_critic(demo):
    local = {"endpoint": {"base_url": "local:", "model": "data/students/micro"}}
    assert (
        configured(demo, critic={**demo["critic"], **local, "method": "cloze"}).critic.method
        == "cloze"
    )
    for section in ("critic", "judge", "teacher"):
        with pytest.raises(ConfigError, match='goes with method = "cloze" alone'):
            configured(demo, **{section: local})
    with pytest.raises(ConfigError, match="the stand-in has no cloze"):
        configured(demo, critic={**demo["critic"], "method": "cloze"})


METHODS = ("ft", "sd", "brio", "dpo", "brio-dpo", "iterative", "llmr", "g2r")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_the_demo_s_teacher_student_and_critic(demo, name):
    """So that each branches off one run's teacher and sft stages; its critic is asked about the
    paper's pairs."""
    found = load(ROOT / f"configs/{name}.toml")
    for section in ("seed", "literals", "teacher", "student", "sft", "sample", "judge"):
        assert found[section] == demo[section], section
    assert found["critic"] == {**demo["critic"], "pairs": "farthest"}
    validate(found, name)


def test_the_paper_s_setting():
    found = validate(load(ROOT / "configs/paper.toml"), "paper.toml")
    assert found.literals.limit == {"train": 12000}
    assert (found.teacher.jokes, found.teacher.temperature, found.sample.k) == (3, 0.8, 6)
    assert found.dpo.length_ratio == (0.8, 1.2)
    assert found.sft.trainer["num_train_epochs"] == found.dpo.trainer["num_train_epochs"] == 10
    assert (found.student.model, found.evaluate.num_beams) == ("facebook/bart-large", 5)
    assert "70b-chat" in found.teacher.endpoint.model
    assert found.critic.endpoint == found.teacher.endpoint


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        ("critic", {"pairs": "alike"}, 'critic.pairs = "alike" does not give'),
        ("dpo", {"ties": "rao-kupper"}, "learns no verdicts, and no ties"),
        (
            "sample",
            {"min_p": 0.1, "endpoint": {"base_url": "standin:", "model": "m"}},
            "sample.min_p is no key of",
        ),
        ("teacher", {"prompts": ["teacher", "teacher"]}, "each prompt once"),
        ("teacher", {"prompts": ["../secret"]}, "is no name of a file of prompts/"),
        ("teacher", {"prompts": []}, "at least 1 item"),
        ("judge", {"sets": 1}, "greater than or equal to 2"),
        ("evaluate", {"sampled": {"temperature": 0}}, "greater than 0"),
    ],
)
def test_what_keeps_jokes_varied_is_checked(demo, section, values, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        configured(demo, **{section: {**demo.get(section, {}), **values}})


def test_weights_of_rows_need_rows_with_an_order(demo):
    with pytest.raises(ConfigError, match="is for rounds of dpo and brio"):
        configured(demo, dpo={"deviation_weight": 1}, rounds=[{"objective": "ft"}])
