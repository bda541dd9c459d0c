"""Every objective, for a decoder-only and an encoder-decoder student: it trains, and its rows say
on what.

METHODS=all goes through the whole matrix, with an adapter and with SIGKILL (make test-all).
"""

import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from pipeline.training import feedback
from pipeline.training.selection import StartCounts
from tests import ROOT
from tests.conftest import rows
from tests.models import small
from tests.small_run import manifest, run

ALL = pytest.mark.skipif(os.environ.get("METHODS") != "all", reason="METHODS=all (make test-all)")
OBJECTIVES = {
    "dpo": ['rounds=[{objective="dpo"}]'],
    "rpo": ['rounds=[{objective="dpo"}]', "dpo.sft_weight=0.3"],
    "ties": ['rounds=[{objective="dpo"}]', 'dpo.ties="rao-kupper"'],
    "divpo": [
        'rounds=[{objective="dpo"}]',
        'dpo.pairing="divpo"',
        "dpo.deviation_weight=1",
        "evaluate.sampled={answers=2}",
        "judge.sets=3",
    ],
    "brio": ['rounds=[{objective="brio"}]'],
    "rankings": ['rounds=[{objective="brio", rankings=true}]'],
    "sd": ['rounds=[{objective="sd"}]'],
    "ft": ['rounds=[{objective="ft"}]'],
    "gkd": [
        'rounds=[{objective="gkd"}]',
        'gkd={teacher="TEACHER", trainer={max_steps=6, per_device_train_batch_size=4, '
        "learning_rate=1e-4, lmbda=0.5, "
        "logging_steps=1, save_steps=2, max_new_tokens=24}}",
    ],
    "llmr": [
        'rounds=[{objective="llmr"}]',
        'llmr={teacher="TEACHER", sync_every=3, max_new_tokens=48, trainer={max_steps=6, '
        "learning_rate=1e-4, "
        "per_device_train_batch_size=4, logging_steps=1, save_steps=2}}",
    ],
}
SFT = "{max_steps=60, per_device_train_batch_size=8, learning_rate=1e-2, logging_steps=9, save_steps=30}"
"""[sft.trainer] of an encoder-decoder, which knows no max_length; so long that it learns to stop."""


def of(name, settings):
    """The settings of a student and of an objective; the student as it was before sft is its own
    teacher."""
    model = next(
        (part.partition("=")[2] for part in settings if part.startswith("student.model=")),
        small.MICRO,
    )
    return flags([*settings, *(part.replace("TEACHER", str(model)) for part in OBJECTIVES[name])])


def flags(settings):
    return [part for setting in settings for part in ("--set", setting)]


@pytest.fixture(scope="module", params=["micro", "bart", pytest.param("t5", marks=ALL)])
def student(request, made, tmp_path_factory):
    """The name of a run with this student's sft, sample and critic stages, and what its settings
    are."""
    if request.param == "micro":
        return "v1", []
    folder = getattr(small, request.param)(tmp_path_factory.mktemp(request.param))
    settings = [f"student.model={folder}", f"sft.trainer={SFT}", 'rounds=[{objective="dpo"}]']
    patch = pytest.MonkeyPatch()
    patch.setenv("HUMOR_DISTILL_DATA", str(made))
    run("all", "--run", request.param, "--from", "v1", *flags(settings))
    patch.undo()
    return request.param, settings[:2]


KIND = {
    "sd": "imitation/1",
    "ft": "imitation/1",
    "gkd": "imitation/1",
    "llmr": "prompt/1",
    "brio": "ranking/2",
    "rankings": "ranking/2",
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_trains_on_rows_of_its_own(inside, student, name):
    source, settings = student
    made = f"{source}-{name}"
    if name == "gkd" and source != "v1":
        with pytest.raises(AssertionError, match="GKDTrainer is for decoder-only students"):
            run("all", "--run", made, "--from", source, *of(name, settings))
        return
    run("all", "--run", made, "--from", source, *of(name, settings))
    found = manifest(inside, "round-1/dpo", made)
    folder = inside / f"runs/{made}/round-1/dpo"
    learned = rows(folder / "records.jsonl")
    assert {row["schema"] for row in learned} == {KIND.get(name, "preference/3")}
    assert found["objective"] == {
        "rpo": "dpo",
        "ties": "dpo",
        "divpo": "dpo",
        "rankings": "brio",
    }.get(name, name)
    start, after = (
        inside / f"runs/{made}/{step}/weights/model.safetensors" for step in ("sft", "round-1/dpo")
    )
    assert any(
        not torch.equal(value, load_file(after)[key]) for key, value in load_file(start).items()
    )
    assert all(math.isfinite(row["loss"]) for row in rows(folder / "curve.jsonl") if "loss" in row)
    assert "round-1/dpo: whole" in run("verify", "--run", made)
    if name == "dpo":
        assert found["first_step"]["loss"] == pytest.approx(math.log(2), abs=1e-5)
        assert found["reference"]["fingerprint"] == found["start"]["fingerprint"]
    if name == "divpo":
        assert {row["verdict_id"] for row in learned} == {None}
        assert sum(row["weight"] for row in learned) == pytest.approx(len(learned))
        assert len({row["weight"] for row in learned}) > 1
        figures = rows(inside / f"runs/{made}/evaluate/metrics.jsonl")
        single = {
            row["contestant"]: row for row in figures if (row["vs"], row["split"]) == (None, "test")
        }
        names = ["teacher", "base", "sft-sampled", "sft", "round-1-sampled", "round-1"]
        assert list(single) == names
        greedy = "greedy" if source == "v1" else "beam search, 5 beams"
        sampled = "sampled at temperature 0.7, top_p 0.95"
        assert [single[one]["decoding"] for one in names] == [
            None,
            greedy,
            sampled,
            greedy,
            sampled,
            greedy,
        ]
        sets = rows(inside / f"runs/{made}/evaluate/sets.jsonl")
        assert {row["schema"] for row in sets} == {"set_verdict/2"}
        assert {len(row["literal_ids"]) for row in sets} == {3}
        judged = [row for row in sets if (row["contestant"], row["split"]) == ("round-1", "test")]
        assert single["round-1"]["sets"] == sum(row["outcome"] != "failed" for row in judged)
        assert "answers at once" in run("show", sets[0]["id"], "--run", made)
    if name not in ("sd", "ft", "gkd", "llmr"):
        held_out = rows(folder / "validation.jsonl")
        margins = {row["preference_id"]: row for row in rows(folder / "margins.jsonl")}
        assert list(margins) == [row["id"] for row in learned + held_out]
        moved = [row["chosen_after"] - row["chosen_before"] for row in margins.values()]
        assert any(moved)


def test_what_each_objective_trains_on(inside, student):
    """ft on the teacher's jokes, sd on the preferred candidates, dpo and brio on pairs, ties on all
    of them."""
    source, settings = student
    folder = inside / "runs"
    if not (folder / f"{source}-ties/round-1/dpo/manifest.json").exists():
        pytest.skip("the runs of test_an_objective_trains_on_rows_of_its_own are not there")
    judged = [name for name in OBJECTIVES if name not in ("gkd", "llmr")]
    learned = {name: rows(folder / f"{source}-{name}/round-1/dpo/records.jsonl") for name in judged}
    author = {row["id"]: row["author"] for row in rows(folder / f"{source}/teacher/records.jsonl")}
    author |= {
        row["id"]: row["author"] for row in rows(folder / f"{source}/round-1/sample/records.jsonl")
    }
    assert {author[row["joke_id"]] for row in learned["ft"]} == {"teacher"}
    assert {author[row["joke_id"]] for row in learned["sd"]} == {"sft"}
    assert {row["joke_id"] for row in learned["sd"]} == {row["chosen_id"] for row in learned["dpo"]}
    pairs = [[row["chosen_id"], row["rejected_id"]] for row in learned["dpo"]]
    assert [row["candidate_ids"] for row in learned["brio"]] == pairs
    assert {row["id"] for row in learned["dpo"]} <= {row["id"] for row in learned["ties"]}
    outcome = {
        row["id"]: row["outcome"] for row in rows(folder / f"{source}/round-1/critic/records.jsonl")
    }
    assert {outcome[row["verdict_id"]] for row in learned["ties"] if row["tie"]} <= {
        "tie",
        "inconsistent",
    }
    assert not any(row["tie"] for row in learned["dpo"])
    for row in learned["rankings"]:
        assert row["scores"] == sorted(row["scores"], reverse=True)
        assert len(row["candidates"]) == len(set(row["candidate_ids"])) >= 2


def test_rounds_go_on_from_each_other_with_trainers_of_their_own(inside):
    rounds = (
        'rounds=[{candidates="teacher", objective="brio", trainer={max_steps=2}}, '
        '{candidates="student", objective="dpo", trainer={max_steps=3}, repeat=2}]'
    )
    run("all", "--run", "brio-dpo", "--from", "v1", *flags([rounds]))
    found = [manifest(inside, f"round-{number}/dpo", "brio-dpo") for number in (1, 2, 3)]
    assert [one["training"]["steps"] for one in found] == [2, 3, 3]
    assert [one["objective"] for one in found] == ["brio", "dpo", "dpo"]
    for before, after in zip(found, found[1:], strict=False):
        assert after["start"]["sha256"] == before["weights"]["sha256"]
    authors = [
        {
            row["author"]
            for row in rows(inside / f"runs/brio-dpo/round-{number}/sample/records.jsonl")
        }
        for number in (1, 2, 3)
    ]
    assert authors == [{"teacher"}, {"round-1"}, {"round-2"}]
    metrics = rows(inside / "runs/brio-dpo/evaluate/metrics.jsonl")
    assert {row["contestant"] for row in metrics} == {
        "teacher",
        "base",
        "sft",
        "round-1",
        "round-2",
        "round-3",
    }


@pytest.mark.parametrize("metric", ["reward_accuracy", "wtr"])
def test_training_ends_when_a_held_out_figure_no_longer_grows(inside, metric):
    stop = [f'dpo.early_stopping={{metric="{metric}", patience=1, literals=8}}']
    stop += [
        "dpo.trainer.learning_rate=1e-20",
        "dpo.trainer.eval_strategy=steps",
        "dpo.trainer.eval_steps=1",
    ]
    run("dpo", "--run", f"stop-{metric}", "--from", "v1", *flags(stop))
    found = manifest(inside, "round-1/dpo", f"stop-{metric}")
    assert found["training"]["steps"] == 1
    assert found["training"]["best_step"] == 0  # no step was better than none
    curve = rows(inside / f"runs/stop-{metric}/round-1/dpo/curve.jsonl")
    if metric == "wtr":
        rates = [row["eval_wtr"] for row in curve if "eval_wtr" in row]
        assert len(rates) == 2
        assert all(0 <= rate <= 1 for rate in rates)
        assert {"critic", "evaluate"} <= found["recipe"].keys()


def test_a_training_that_ended_by_its_patience_is_over_after_a_kill(inside, monkeypatch):
    stop = ["dpo.early_stopping={patience=1}", "dpo.trainer.learning_rate=1e-20"]
    stop += ["dpo.trainer.eval_strategy=steps", "dpo.trainer.eval_steps=1"]
    run("dpo", "--run", "ended", "--from", "v1", *flags(stop))

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(feedback, "margins", killed)  # after the training, before its manifest
    with pytest.raises(AssertionError, match="goes on from here"):
        run("dpo", "--run", "ended-killed", "--from", "v1", *flags(stop))
    monkeypatch.undo()
    monkeypatch.setenv("HUMOR_DISTILL_DATA", str(inside))
    run("dpo", "--run", "ended-killed")
    whole, again = (manifest(inside, "round-1/dpo", name) for name in ("ended", "ended-killed"))
    assert again["training"]["steps"] == whole["training"]["steps"] == 1
    assert again["training"]["best_step"] == whole["training"]["best_step"]
    assert again["weights"] == whole["weights"]


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_a_training_that_took_its_last_step_takes_no_other_after_a_kill(inside, monkeypatch, stage):
    """transformers goes on for one step from a checkpoint that was the last."""
    settings = flags([f"{stage}.trainer.lr_scheduler_type=constant"])
    run(stage, "--run", f"over-{stage}", "--from", "v1", *settings)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(StartCounts, "restore", killed)  # the first thing after the training
    with pytest.raises(AssertionError, match="goes on from here"):
        run(stage, "--run", f"over-{stage}-killed", "--from", "v1", *settings)
    monkeypatch.undo()
    monkeypatch.setenv("HUMOR_DISTILL_DATA", str(inside))
    run(stage, "--run", f"over-{stage}-killed")
    step = {"sft": "sft", "dpo": "round-1/dpo"}[stage]
    names = (f"over-{stage}", f"over-{stage}-killed")
    whole, again = (manifest(inside, step, name) for name in names)
    assert again["training"]["steps"] == whole["training"]["steps"]
    assert again["training"]["loss"] == pytest.approx(whole["training"]["loss"])
    assert again["weights"] == whole["weights"]
    losses = [
        [row["loss"] for row in rows(inside / f"runs/{name}/{step}/curve.jsonl") if "loss" in row]
        for name in names
    ]
    assert losses[0] == losses[1]


def test_held_out_figures_are_of_held_out_rows_alone(inside):
    """However seldom the training logs."""
    settings = [
        'rounds=[{objective="brio"}]',
        "dpo.trainer.eval_strategy=steps",
        "dpo.trainer.eval_steps=2",
    ]
    seen = []
    for every in (1, 5):
        name = f"logs-{every}"
        run(
            "dpo",
            "--run",
            name,
            "--from",
            "v1",
            *flags([*settings, f"dpo.trainer.logging_steps={every}"]),
        )
        curve = rows(inside / f"runs/{name}/round-1/dpo/curve.jsonl")
        seen.append(
            [row["eval_rewards/accuracies"] for row in curve if "eval_rewards/accuracies" in row]
        )
    assert len(seen[0]) == 3
    assert seen[0] == pytest.approx(seen[1])


def test_a_model_s_own_beams_and_penalties_are_not_used(inside, tmp_path):
    """BART's own folder says num_beams = 4 and no_repeat_ngram_size = 3."""
    folder = small.bart(tmp_path / "bart")
    path = folder / "generation_config.json"
    own = json.loads(path.read_text()) | {
        "num_beams": 4,
        "no_repeat_ngram_size": 3,
        "early_stopping": True,
    }
    path.write_text(json.dumps(own))
    settings = [
        f"student.model={folder}",
        f"sft.trainer={SFT}",
        'rounds=[{candidates="base", objective="dpo"}]',
    ]
    with pytest.raises(AssertionError, match="no row is left. Dropped: 144 cut at max_new_tokens"):
        run("sample", "--run", "own-beams", "--from", "v1", *flags(settings))
    found = rows(inside / "runs/own-beams/round-1/sample/dropped.jsonl")  # it never stops
    assert len({row["text"] for row in found}) > len(found) / 2


def test_an_encoder_decoder_answers_with_five_beams_and_samples_with_a_seed_per_row(
    inside, student
):
    source, settings = student
    if source == "v1":
        pytest.skip("a decoder-only student is greedy")
    answers = rows(inside / f"runs/{source}/evaluate/answers.jsonl")
    again = f"{source}-beams"
    run("evaluate", "--run", again, "--from", source, *flags([*settings, "evaluate.num_beams=5"]))
    assert [row["id"] for row in rows(inside / f"runs/{again}/evaluate/answers.jsonl")] == [
        row["id"] for row in answers
    ]
    samples = rows(inside / f"runs/{source}/round-1/sample/records.jsonl")
    small = f"{source}-small"
    flags_small = flags([*settings, "runtime.generate_batch=7"])
    run("sample", "--run", small, "--from", source, *flags_small)
    same = {row["id"] for row in rows(inside / f"runs/{small}/round-1/sample/records.jsonl")} & {
        r["id"] for r in samples
    }
    assert len(same) > 0.9 * len(samples)


def test_candidates_by_beam_search_are_different_beams(inside):
    run("sample", "--run", "beams", "--from", "v1", *flags(["sample.num_beams=4", "sample.k=3"]))
    folder = inside / "runs/beams/round-1/sample"
    found = rows(folder / "records.jsonl")
    if (folder / "dropped.jsonl").exists():
        found += rows(folder / "dropped.jsonl")  # those that were cut
    by_literal = {}
    for row in found:
        by_literal.setdefault(row["literal_id"], []).append(row["text"])
    assert all(len(texts) == 3 for texts in by_literal.values())
    assert sum(len(set(texts)) == 3 for texts in by_literal.values()) > len(by_literal) / 2


def test_more_candidates_than_beams_are_refused(cli, inside):
    said = cli("sample", "--run", "few", "--from", "v1", *flags(["sample.num_beams=2"]), code=3)
    assert "num_beams = 2 cannot give k = 3 candidates" in said


def test_best_of_n_is_one_of_its_candidates_and_its_cost_is_known(inside):
    run("evaluate", "--run", "best", "--from", "v1", *flags(["evaluate.best_of=3"]))
    folder = inside / "runs/best/evaluate"
    candidates = {row["id"] for row in rows(folder / "candidates.jsonl")}
    answers = [row for row in rows(folder / "answers.jsonl") if row["author"] == "best-of-3"]
    assert {row["id"] for row in answers} <= candidates
    selection = rows(folder / "selection.jsonl")
    lost = {
        row["b" if row["outcome"] == "a" else "a"]
        for row in selection
        if row["outcome"] in ("a", "b")
    }
    assert not lost & {row["id"] for row in answers}
    cost = manifest(inside, "evaluate", "best")["best_of"]
    assert (cost["n"], cost["answers"]) == (3, len(answers))
    assert cost["calls"] == 2 * len(selection)
    assert cost["tokens"] > 0
    assert "evaluate: whole" in run("verify", "--run", "best")


def test_an_exported_encoder_decoder_answers_as_it_did(inside, student, tmp_path):
    source, _ = student
    if source == "v1":
        pytest.skip("test_export.py is about decoder-only students")
    run("export", "--run", source, "--contestant", "round-1", tmp_path / "out")
    model, words = (
        AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out"),
        AutoTokenizer.from_pretrained(tmp_path / "out"),
    )
    answers = [
        row
        for row in rows(inside / f"runs/{source}/evaluate/answers.jsonl")
        if row["author"] == "round-1"
    ]
    for row in answers[:3]:
        inputs = words(f"Say it with a joke: {row['literal']}\n", return_tensors="pt")
        inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        assert (
            words.decode(model.generate(**inputs)[0], skip_special_tokens=True).strip()
            == row["text"]
        )
    card = (tmp_path / "out/README.md").read_text()
    assert "AutoModelForSeq2SeqLM" in card
    assert "beam search" in (tmp_path / "out/SERVING.md").read_text()
    assert "seconds" in run("try", "--run", source, "The kettle is on.")


def needs_decoder_only(name, source):
    if name == "gkd" and source != "v1":
        pytest.skip("GKDTrainer is for decoder-only students")


@ALL
@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_takes_an_adapter(inside, student, name):
    source, settings = student
    needs_decoder_only(name, source)
    settings = [*settings, "student.lora={r=4, lora_alpha=8}"]
    base = f"{source}-lora"
    if not (inside / f"runs/{base}/round-1/critic/manifest.json").exists():
        run("all", "--run", base, "--from", "v1", *flags([*settings, 'rounds=[{objective="dpo"}]']))
    made = f"{source}-lora-{name}"
    if (source, name) == (
        "t5",
        "llmr",
    ):  # eight steps of an adapter on a random T5: it has not learned to stop
        with pytest.raises(
            AssertionError, match="none of 24 samples ended within llmr.max_new_tokens = 48"
        ):
            run("all", "--run", made, "--from", base, *of(name, settings))
        return
    run("all", "--run", made, "--from", base, *of(name, settings))
    assert manifest(inside, "round-1/dpo", made)["weights"]["adapter"] is True
    before, after = (
        load_file(inside / f"runs/{made}/{step}/weights/adapter_model.safetensors")
        for step in ("sft", "round-1/dpo")
    )
    assert set(before) == set(after)
    assert any(not torch.equal(before[key], after[key]) for key in before)


@ALL
@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_killed_goes_on_to_the_same_weights(inside, student, name):
    source, settings = student
    needs_decoder_only(name, source)
    whole, killed = f"{source}-{name}", f"{source}-{name}-killed"
    if not (inside / f"runs/{whole}/evaluate/manifest.json").exists():
        run("all", "--run", whole, "--from", source, *of(name, settings))
    step = inside / f"runs/{killed}/round-1/dpo"
    command = [sys.executable, "-m", "pipeline", "dpo", "--run", killed, "--from", whole]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while process.poll() is None and not list(step.glob("checkpoints/checkpoint-*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (step / "manifest.json").exists(), "it was done before it could be killed"
    run("dpo", "--run", killed)
    ours, theirs = (manifest(inside, "round-1/dpo", name) for name in (killed, whole))
    assert (ours["sha256"], ours["dropped"]) == (theirs["sha256"], theirs["dropped"])
    assert ours["weights"] == theirs["weights"]
