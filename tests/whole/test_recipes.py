"""paper.toml and qlora.toml end to end, on random models of their architectures that are small,
with the stand-in."""

import pytest

from tests import ROOT
from tests.conftest import rows
from tests.models import small
from tests.small_run import manifest, run

ENDPOINTS = [
    f'{role}.endpoint={{base_url="standin:", model="standin-{role}"}}'
    for role in ("teacher", "critic", "judge")
]
SHORT = [
    "sft.trainer.max_steps=4",
    "dpo.trainer.max_steps=4",
    "sample.max_new_tokens=16",
    "evaluate.max_new_tokens=16",
]
EVERY = [
    "dpo.trainer.eval_steps=2",
    "dpo.trainer.save_steps=2",
    "dpo.trainer.per_device_train_batch_size=4",
]


def flags(settings):
    return [part for setting in settings for part in ("--set", setting)]


def test_the_paper_s_recipe(inside):
    literals = [
        str(ROOT / f"data/literals/{split}.jsonl") for split in ("train", "validation", "test")
    ]
    settings = [
        *ENDPOINTS,
        *SHORT,
        *EVERY,
        f"literals.files={literals}",
        "literals.limit=14",
        "critic.tie_band=0.0",
    ]
    settings += [
        f"student.model={small.bart(inside / 'models/paper')}",
        "sft.trainer.eval_steps=30",
    ]
    settings += ["sft.trainer.save_steps=30", "dpo.length_ratio=[0.1, 10.0]"]
    # so long that it learns to stop: what is cut is no candidate
    settings += ["sft.trainer.max_steps=60", "sft.trainer.learning_rate=1e-2"]
    settings += ["sft.trainer.lr_scheduler_type=constant", "sft.trainer.warmup_steps=0"]
    settings += ["sft.trainer.per_device_train_batch_size=8", "sample.max_new_tokens=48"]
    run("all", "--run", "paper-toml", "--config", ROOT / "configs/paper.toml", *flags(settings))
    metrics = rows(inside / "runs/paper-toml/evaluate/metrics.jsonl")
    assert {row["aspect"] for row in metrics} == {"overall", "humor", "consistency"}
    assert {row["contestant"] for row in metrics} == {"teacher", "base", "sft", "round-1"}
    found = manifest(inside, "round-1/dpo", "paper-toml")
    assert found["first_step"]["loss"] == pytest.approx(0.6931, abs=1e-4)
    assert found["losses"] == {"sigmoid": 1.0}
    assert "evaluate: whole" in run("verify", "--run", "paper-toml")
    said = run("report", "--run", "paper-toml")
    assert "test sentences" in said or "report.html" in said
    page = (inside / "runs/paper-toml/report.html").read_text()
    assert "test, humor" in page


def test_the_qlora_recipe(inside):
    settings = [*ENDPOINTS, *SHORT, *EVERY, "literals.limit=14", "evaluate.best_of=2"]
    settings += [
        f"student.model={small.qwen2(inside / 'models/qlora')}",
        "dpo.length_ratio=[0.1, 10.0]",
        'rounds=[{candidates="teacher"}]',  # after four steps it does not stop
    ]
    run("all", "--run", "qlora-toml", "--config", ROOT / "configs/qlora.toml", *flags(settings))
    for step in ("sft", "round-1/dpo"):
        assert manifest(inside, step, "qlora-toml")["weights"]["adapter"] is True
        assert (inside / f"runs/qlora-toml/{step}/weights/adapter_model.safetensors").exists()
    metrics = rows(inside / "runs/qlora-toml/evaluate/metrics.jsonl")
    assert {row["contestant"] for row in metrics} == {
        "teacher",
        "base",
        "sft",
        "best-of-2",
        "round-1",
    }
    assert "evaluate: whole" in run("verify", "--run", "qlora-toml")
