"""The rules of ours by which rows come of answers and of other rows: another rule is another recipe,
and what it made is not damaged."""

import json
import shutil

import pytest

from pipeline import project
from pipeline.config.file import load, validate
from pipeline.execution.recipe import code_of, rule_hash
from pipeline.execution.syntax import syntax_hash
from pipeline.judging import verdict
from pipeline.runs.files import as_written
from pipeline.runs.hashes import file_hash
from pipeline.runs.manifest import seal
from pipeline.runs.recipes import WITH_ITS_TABLE, same
from pipeline.runs.step import Step
from tests import ROOT
from tests.execution.conftest import judged

RULES = {
    "judging/card.py:figures": "bcf926722033338d",
    "judging/choice.py:read_order": "ae820aa5fee7f5fd",
    "judging/deviation.py:pairs": "5d49c7fa5b804f49",
    "judging/deviation.py:weighed": "c90a7ec19f5039ad",
    "judging/devices.py:freshness": "7bdcbad070628d0f",
    "judging/agreement.py:agreement": "e3c40de621102d27",
    "judging/held_out.py:rates": "c964832025ec9caf",
    "judging/metrics.py:difference": "d35b2e096b073657",
    "judging/metrics.py:fresh_credits": "26f0c39f3d7f2297",
    "judging/metrics.py:fresh_rate": "ea71d75a61d14407",
    "judging/metrics.py:win_tie_rate": "185587c7bcf45fcf",
    "judging/pairs.py:candidates": "675dd8344400baed",
    "judging/pairs.py:choose": "83ee70017c2115e1",
    "judging/preferences.py:imitations": "8028194cc2496ac3",
    "judging/preferences.py:preferences": "aaabb4b8c64021e8",
    "judging/preferences.py:rankings": "00299a055630a974",
    "judging/preferences.py:scored": "32327502de0ce493",
    "judging/scored.py:orders": "4a2090b025310460",
    "judging/swiss.py:next_pairs": "ffceba07fac03618",
    "judging/swiss.py:note": "4f98127da22c7841",
    "judging/swiss.py:quota": "758b0271f3ee3f59",
    "judging/verdict.py:mean": "0f6dbc1ab36a971c",
    "judging/verdict.py:outcome": "0c439be76bd72c6d",
    "parsing": "f46efdee466f7871",
    "stages/teacher.py:parse": "d076930d9f5ff6a7",
}
"""What they do, at the stages' versions of today. Where one changes, raise the VERSION of every
stage that is told below to go by it, with a line in CHANGELOG.md, so that what it made before stays
complete and is said to be of that version."""

CHANGES = {
    "teacher": {},
    "sft": {},
    "sample": {"sample": {"endpoint": {"base_url": "standin:", "model": "m"}}},
    "critic": {"critic": {"pairs": "alike"}, "dpo": {"pairing": "verdict"}},
    "critic by another method": {
        "critic": {
            "pairs": "swiss",
            "method": "cloze",
            "endpoint": {"base_url": "local:", "model": "data/students/micro"},
        }
    },
    "dpo": {"dpo": {"pairing": "verdict", "deviation_weight": 1.0}},
    "dpo by divpo": {"dpo": {"pairing": "divpo"}, "critic": {"pairs": "all"}},
    "dpo by rankings": {
        "rounds": [{"objective": "brio", "rankings": True}],
        "dpo": {"pairing": "verdict", "deviation_weight": 0.0},
    },
    "dpo on jokes": {
        "rounds": [{"objective": "ft"}],
        "dpo": {"pairing": "verdict", "deviation_weight": 0.0},
    },
    "evaluate": {},
    "agreement": {},
    "judge-card": {"judge_card": {}},
}


def rules(name):
    """Those of a stage, with what the configuration must say for them."""
    stage = name.split()[0]
    data = load(ROOT / "configs/demo.toml")
    for section, values in CHANGES[name].items():
        own = data.get(section)
        data[section] = {**own, **values} if isinstance(own, dict) else values
    step = Step(stage, 1 if stage in ("sample", "critic", "dpo") else None)
    return code_of(step, validate(data, "test"))


def test_rules_are_what_they_were():
    now = {}
    for name in CHANGES:
        now |= rules(name)
    assert now == RULES


@pytest.fixture
def other(monkeypatch, tmp_path):
    """From here on an inconsistent pair is a tie, as somebody may have written it."""
    package = tmp_path / "other" / "pipeline"
    shutil.copytree(project.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    path = package / "judging/verdict.py"
    text = path.read_text("utf-8")
    assert text.count('return "inconsistent"') == 1
    path.write_text(text.replace('return "inconsistent"', 'return "tie"'), "utf-8")

    def change():
        before = verdict.outcome

        def outcome(orders, tie_band):
            decided = before(orders, tie_band)
            return "tie" if decided == "inconsistent" else decided

        monkeypatch.setattr(verdict, "outcome", outcome)
        monkeypatch.setattr(project, "PACKAGE", package)

    return change


def test_a_step_made_by_other_rules_is_refused_and_is_not_damaged(cli, config, data, other):
    judged(cli, config)
    path = data / "runs/v1/round-1/critic/records.jsonl"
    inconsistent = path.read_text("utf-8").count('"outcome":"inconsistent"')
    assert inconsistent
    assert "nothing to do" in cli("critic", "--run", "v1")
    other()
    said = cli("critic", "--run", "v1", code=4)
    assert "  - code.judging/verdict.py:outcome = '" in said
    assert "  + code.judging/verdict.py:outcome = '" in said
    said = cli("verify", "--run", "v1").splitlines()
    place = said.index("round-1/critic: whole")
    assert said[place + 1] == (
        "  made by other code (judging/verdict.py:outcome): today's would decide "
        f"{inconsistent} rows or figures otherwise. To make it again: "
        "humor-distill critic --run v1 --round 1 --force"
    )
    assert said[place + 2].endswith(": its orders give another outcome")


def test_what_these_rules_would_not_have_written_is_a_fault(cli, config, data):
    judged(cli, config)
    path = data / "runs/v1/round-1/critic/records.jsonl"
    text = path.read_text("utf-8")
    path.write_text(text.replace('"outcome":"inconsistent"', '"outcome":"tie"', 1), "utf-8")
    said = cli("verify", "--run", "v1", code=5)
    assert "its orders give another outcome" in said
    assert "other code" not in said


def test_a_rule_that_changed_excuses_what_it_made_alone(cli, config, data):
    judged(cli, config)
    folder = data / "runs/v1/round-1/critic"
    path = folder / "records.jsonl"
    text = path.read_text("utf-8").replace('"outcome":"inconsistent"', '"outcome":"tie"', 1)
    for rule, code in (("judging/pairs.py:choose", 5), ("judging/verdict.py:outcome", 0)):
        path.write_text(text, "utf-8")
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["recipe"]["code"] |= {"judging/pairs.py:choose": "0", rule: "0"}
        manifest["sha256"] = file_hash(path)
        (folder / "manifest.json").write_bytes(as_written({**manifest, "seal": seal(manifest)}))
        said = cli("verify", "--run", "v1", code=code)
        assert "its orders give another outcome" in said
        assert ("made by other code" in said) is (code == 0)


def test_a_rule_that_is_gone_counts_as_changed():
    assert rule_hash("judging/verdict.py:gone") is None
    assert rule_hash("judging/gone.py:outcome") is None
    assert rule_hash("judging/verdict.py:outcome") == RULES["judging/verdict.py:outcome"]


def test_another_loss_beside_them_leaves_what_weighs_losses_as_it_is(tmp_path):
    path = project.PACKAGE / "training/losses/preference.py"
    text = path.read_text("utf-8")
    mine = "def margin(batch, weights):\n    return batch.log_ratio\n\n\nLOSSES: dict"
    more = tmp_path / "preference.py"
    more.write_text(
        text.replace("LOSSES: dict", mine).replace("rao_kupper, brio)", "brio, margin)")
    )
    assert more.read_text() != text
    for name in ("weighted", "brio", "sigmoid"):
        assert syntax_hash(more, name) == syntax_hash(path, name)
    had = {"version": 4, "losses": {"sigmoid": "1", "weighted": WITH_ITS_TABLE}}
    now = {"version": 4, "losses": {"sigmoid": "1", "weighted": syntax_hash(path, "weighted")}}
    assert same(had, now)
    assert not same({**had, "losses": {"sigmoid": "1", "weighted": "2"}}, now)


def test_a_version_says_by_itself_that_rules_changed_and_an_older_recipe_has_none():
    had = {"version": 4, "code": {"judging/verdict.py:outcome": "1"}}
    assert not same(had, {"version": 4, "code": {"judging/verdict.py:outcome": "2"}})
    assert same(had, {"version": 5, "code": {"judging/verdict.py:outcome": "2"}})
    assert same({"version": 4}, had)
    assert same(had, json.loads(json.dumps(had)))
