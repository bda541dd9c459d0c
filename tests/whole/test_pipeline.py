"""What a complete run leaves behind."""

import hashlib
import json
import math
import re

import datasets
import pandas
import pytest

from pipeline.judging import devices
from pipeline.rows.jsonl import read
from pipeline.rows.records import Joke, LiteralText, Metric, Verdict
from pipeline.rows.training import Imitation, Preference
from tests import ROOT
from tests.conftest import rows
from tests.small_run import manifest, run

STEPS = {
    "teacher": Joke,
    "sft": Imitation,
    "round-1/sample": Joke,
    "round-1/critic": Verdict,
    "round-1/dpo": Preference,
    "evaluate": Verdict,
}
FILES = {
    **{f"{step}/records.jsonl": kind for step, kind in STEPS.items()},
    "sft/validation.jsonl": Imitation,
    "round-1/dpo/validation.jsonl": Preference,
    "evaluate/answers.jsonl": Joke,
    "evaluate/metrics.jsonl": Metric,
}


@pytest.mark.parametrize("step", STEPS)
def test_manifests_agree_with_their_rows(made, step):
    found, folder = manifest(made, step), made / "runs/v1" / step
    assert found["rows"] == len(list(read(folder / "records.jsonl", STEPS[step])))
    for name, digest in {"records.jsonl": found["sha256"], **found["files"]}.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert not list(folder.glob("*partial*"))
    assert not (folder / "checkpoints").exists()
    assert {"seed", "prompts", "inputs"} <= set(found["recipe"])


@pytest.mark.parametrize("name", FILES)
def test_every_jsonl_loads_as_it_is(made, tmp_path, name):
    path = made / "runs/v1" / name
    plain = rows(path)
    frame = pandas.read_json(path, lines=True)
    data = datasets.load_dataset(
        "json", data_files=str(path), split="train", cache_dir=str(tmp_path)
    )
    assert len(frame) == len(data) == len(plain) > 0
    assert list(frame["id"]) == list(data["id"]) == [row["id"] for row in plain]
    assert list(frame.columns) == data.column_names == list(plain[0])
    assert all(list(row) == list(plain[0]) for row in plain)
    list(read(path, FILES[name]))


def test_rows_join_on_ids(made):
    folder = made / "runs/v1"
    literals = {
        row.id for split in ("train", "validation", "test", "ood") for row in literal_rows(split)
    }
    teacher = {row["id"]: row for row in rows(folder / "teacher/records.jsonl")}
    samples = {row["id"]: row for row in rows(folder / "round-1/sample/records.jsonl")}
    verdicts = {row["id"]: row for row in rows(folder / "round-1/critic/records.jsonl")}
    answers = {row["id"]: row for row in rows(folder / "evaluate/answers.jsonl")}
    assert all(
        row["literal_id"] in literals
        for row in [*teacher.values(), *samples.values(), *answers.values()]
    )
    for row in rows(folder / "sft/records.jsonl"):
        assert teacher[row["joke_id"]]["text"] == row["completion"]
    for row in verdicts.values():
        assert (samples[row["a"]]["text"], samples[row["b"]]["text"]) == (
            row["a_text"],
            row["b_text"],
        )
        assert [order["shown"] for order in row["orders"]] == ["ab", "ba"]
    for row in rows(folder / "round-1/dpo/records.jsonl"):
        assert {row["chosen_id"], row["rejected_id"]} == {
            verdicts[row["verdict_id"]][side] for side in "ab"
        }
    for row in rows(folder / "evaluate/records.jsonl"):
        assert answers[row["a"]]["text"] == row["a_text"]
        assert teacher[row["b"]]["index"] == 0


def literal_rows(split):
    return list(read(ROOT / f"data/literals/{split}.jsonl", LiteralText))


def test_no_test_sentence_is_in_any_training_data(made):
    folder = made / "runs/v1"
    held_out = {row.text.lower() for split in ("test", "ood") for row in literal_rows(split)}
    trained = rows(folder / "sft/records.jsonl") + rows(folder / "round-1/dpo/records.jsonl")
    training = {row.id for row in literal_rows("train")}
    assert {row["literal_id"] for row in trained} <= training
    prompts = "\n".join(row["prompt"].lower() for row in trained)
    assert not [text for text in held_out if text in prompts]
    validation = rows(folder / "sft/validation.jsonl") + rows(
        folder / "round-1/dpo/validation.jsonl"
    )
    assert not {row["literal_id"] for row in validation} & training


def test_dpo_starts_from_and_refers_to_the_sft_student(made):
    sft, dpo = manifest(made, "sft"), manifest(made, "round-1/dpo")
    assert (
        dpo["start"]["sha256"]
        == sft["weights"]["sha256"]
        == dpo["recipe"]["inputs"]["student"]["weights"]
    )
    assert dpo["reference"]["fingerprint"] == dpo["start"]["fingerprint"]
    assert dpo["first_step"]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert dpo["first_step"]["rewards/margins"] == pytest.approx(0, abs=1e-5)
    assert dpo["weights"]["sha256"] != sft["weights"]["sha256"]
    assert dpo["objective"] == "dpo"


def test_the_curve_lies_beside_the_rows(made):
    sft, dpo = (rows(made / f"runs/v1/{step}/curve.jsonl") for step in ("sft", "round-1/dpo"))
    assert [row["step"] for row in sft if "loss" in row] == list(range(1, 9))
    assert sft[0]["loss"] > sft[7]["loss"]
    assert all("rewards/accuracies" in row for row in dpo if "loss" in row)


def test_metrics_add_up_and_name_every_contestant(made):
    found = rows(made / "runs/v1/evaluate/metrics.jsonl")
    single = [row for row in found if row["vs"] is None]
    assert {(row["split"], row["contestant"]) for row in single} == {
        (split, name) for split in ("test", "ood") for name in ("teacher", "base", "sft", "round-1")
    }
    assert all(row["effective"] >= 1 for row in single)
    single = [row for row in single if row["contestant"] != "teacher"]
    for row in single:
        assert row["fresh_low"] <= row["fresh_wtr"] <= min(row["fresh_high"], row["wtr"])
        assert row["win"] + row["tie"] + row["loss"] + row["inconsistent"] == row["n"]
        assert row["n"] + row["failed"] + row["no_reference"] == 24
        assert row["low"] <= row["wtr"] <= row["high"]
    by = {(row["split"], row["contestant"]): row["wtr"] for row in single}
    for row in found:
        if row["vs"] is not None:
            difference = by[row["split"], row["contestant"]] - by[row["split"], row["vs"]]
            assert row["delta"] == pytest.approx(difference)


def test_evaluate_prints_one_table(made):
    said = (made / "said.txt").read_text()
    assert (
        said.count("Win-tie rate and fresh rate against the teacher, judged by standin-judge") == 1
    )
    assert "round-1 - sft" in said


def test_a_panel_judges_and_every_judge_has_a_card(inside):
    panel = "judge.panel=[{endpoint={base_url='standin:',model='standin-critic'}}]"
    flags = ["--run", "panel", "--from", "v1", "--set", panel, "--set", "judge.sets=4"]
    said = run("evaluate", *flags)
    judges = {"standin-judge", "standin-critic"}
    assert "judged by standin-judge; standin-critic, which is also the critic; pooled" in said
    assert "test: two judges agree on " in said
    folder = inside / "runs/panel/evaluate"
    for name in ("records", "sets"):
        found = rows(folder / f"{name}.jsonl")
        assert {row["judge"] for row in found} == judges
        assert len(found) == 2 * len({(tuple(row["a"]), tuple(row["b"])) for row in found})
    single = {}
    for row in rows(folder / "metrics.jsonl"):
        if row["vs"] is None and row["contestant"] != "teacher":
            single[row["split"], row["contestant"], row["judge"]] = row
    for split, name, judge in single:
        if judge == "pooled":
            own = [single[split, name, one] for one in judges]
            pooled = single[split, name, judge]
            assert pooled["sets"] == own[0]["sets"] == own[1]["sets"]
            assert pooled["set_rate"] == pytest.approx(sum(row["set_rate"] for row in own) / 2)
    run("judge-card", "--run", "panel", "--set", "judge_card.controls=6")
    card = rows(inside / "runs/panel/judge-card/card.jsonl")
    assert {row["judge"] for row in card} == judges
    assert "judge-card: whole" in run("verify", "--run", "panel")
    run("report", "--run", "panel")


def test_sft_leaves_out_jokes_whose_device_was_told_often(inside):
    run(
        "sft",
        "--run",
        "thin",
        "--from",
        "v1",
        "--set",
        "sft.most_alike=0.03",
        "--set",
        "sft.trainer.max_steps=1",
    )
    folder = inside / "runs/thin/sft"
    every = rows(inside / "runs/v1/sft/records.jsonl")
    learned = rows(folder / "records.jsonl")
    reasons = [row["reason"] for row in rows(folder / "dropped.jsonl")]
    often = reasons.count("its device told often enough")
    assert 0 < often == len(every) - len(learned)
    literal = {row["id"]: row["text"] for row in rows(ROOT / "data/literals/train.jsonl")}
    answers = [(literal[row["literal_id"]], row["completion"]) for row in learned]
    assert max(devices.uses(answers)) <= 0.03 * len(every) + 1


def test_status_shows_every_step_complete(inside):
    lines = run("status", "--run", "v1").splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(STEPS)
    assert all("complete" in line for line in lines)


def test_all_again_has_nothing_to_do(inside):
    assert run("all", "--run", "v1").count("complete, nothing to do") == 6


def test_the_same_student_prompt_in_sft_and_dpo(made):
    sft = {row["literal_id"]: row["prompt"] for row in rows(made / "runs/v1/sft/records.jsonl")}
    for row in rows(made / "runs/v1/round-1/dpo/records.jsonl"):
        assert row["prompt"] == sft.get(row["literal_id"], row["prompt"])
        assert row["prompt"].startswith("<|user|>Say it with a joke: ")
        assert row["prompt"].endswith("<|assistant|>")


def test_base_candidates_need_no_sft(inside, small, tmp_path):
    said = run("sample", "--run", "card", "--from", "v1", "--set", 'rounds=[{candidates="base"}]')
    assert "teacher: linked" in said
    found = rows(inside / "runs/card/round-1/sample/records.jsonl")
    assert {row["author"] for row in found} == {"base"}
    run("critic", "--run", "card")
    assert "sft: linked from run v1" in run("dpo", "--run", "card", "--from", "v1")


def test_teacher_candidates_are_the_teacher_s_jokes(inside):
    run("sample", "--run", "teachers", "--from", "v1", "--set", 'rounds=[{candidates="teacher"}]')
    found = rows(inside / "runs/teachers/round-1/sample/records.jsonl")
    teacher = {row["id"] for row in rows(inside / "runs/v1/teacher/records.jsonl")}
    assert {row["id"] for row in found} <= teacher
    assert len(found) > 100


def test_a_student_that_is_served_elsewhere(inside):
    served = 'sample.endpoint={base_url="standin:", model="standin-student"}'
    run("sample", "--run", "served", "--from", "v1", "--set", served)
    found = rows(inside / "runs/served/round-1/sample/records.jsonl")
    assert len(found) == 48 * 3
    assert all(row["call"].startswith("c_") for row in found)
    spent = json.loads((inside / "runs/served/round-1/sample/manifest.json").read_text())["spent"]
    assert spent["calls"] == 48 * 3


def test_a_second_round_starts_from_the_first(inside):
    rounds = "rounds=[{}, {}]"
    for stage in ("sample", "critic", "dpo"):
        run(stage, "--run", "two", "--from", "v1", "--round", "2", "--set", rounds)
    found = manifest(inside, "round-2/dpo", "two")
    assert found["start"]["sha256"] == manifest(inside, "round-1/dpo")["weights"]["sha256"]
    samples = rows(inside / "runs/two/round-2/sample/records.jsonl")
    assert {row["author"] for row in samples} == {"round-1"}
    run("evaluate", "--run", "two")
    metrics = rows(inside / "runs/two/evaluate/metrics.jsonl")
    assert {"round-1", "round-2"} <= {row["contestant"] for row in metrics}


def test_every_step_says_rows_rate_and_time_left(made):
    said = (made / "said.txt").read_text()
    for name in (
        "teacher",
        "sft, rows",
        "sft",
        "round-1/sample, on cpu",
        "round-1/critic, choosing pairs",
        "round-1/critic",
    ):
        assert re.search(
            rf"^{re.escape(name)}: \d+/\d+ \w+, [\d.]+ \w+/s, \d+ s left", said, re.MULTILINE
        ), name
    for name in (
        "round-1/dpo, reference",
        "round-1/dpo",
        "round-1/dpo, log-probabilities after",
        "evaluate, on cpu",
    ):
        assert re.search(
            rf"^{re.escape(name)}: \d+/\d+ \w+, [\d.]+ \w+/s, \d+ s left", said, re.MULTILINE
        ), name
    for name in ("teacher", "round-1/critic", "evaluate"):
        assert re.search(rf"^{name}: .* [\d,]+ tokens, \d+ from cache$", said, re.MULTILINE), name
