import json
import math
import shutil

import datasets
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerControl, TrainerState
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from pipeline.config.file import validate
from pipeline.errors import StudentError
from pipeline.models import student
from pipeline.training import arguments, callbacks, checkpoints, imitation
from tests import ROOT
from tests.conftest import rows
from tests.small_run import STORIES, manifest, needs_stories, run


@pytest.mark.parametrize(
    ("stage", "key"), [("sft", "learnig_rate"), ("dpo", "betta"), ("sft", "max_prompt_length")]
)
def test_a_typo_in_a_trainer_table_ends_before_anything_is_loaded(
    cli, small, monkeypatch, stage, key
):
    monkeypatch.setattr(student, "load", lambda *_, **__: pytest.fail("a model was loaded"))
    said = cli(
        "all", "--run", "typo", "--config", small, "--set", f"{stage}.trainer.{key}=1", code=3
    )
    assert f"[{stage}.trainer]: unknown key '{key}'" in said


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("sft.trainer.learning_rate", ".001", "a number, which TOML writes with a digit before"),
        ("dpo.trainer.gradient_checkpointing", "False", "true or false"),
        ("dpo.trainer.max_steps", "2.5", "a whole number"),
        ("sft.trainer.packing", "1", "true or false"),
    ],
)
def test_a_value_of_another_type_ends_before_anything_is_loaded(
    cli, small, monkeypatch, key, value, wanted
):
    monkeypatch.setattr(student, "load", lambda *_, **__: pytest.fail("a model was loaded"))
    said = cli("all", "--run", "typed", "--config", small, "--set", f"{key}={value}", code=3)
    section, _, name = key.rpartition(".")
    assert f"[{section}] {name} = " in said
    assert f"it takes {wanted}" in said


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("dpo.trainer.fsdp=true", "[dpo.trainer] fsdp: how processes share a training is said by"),
        ('sft.trainer.deepspeed="ds.json"', "[sft.trainer] deepspeed: how processes share a train"),
        ('runtime.launcher="torchrunn"', "runtime.launcher: there is no command 'torchrunn'"),
        ("runtime.processes=2", "sft: runtime.processes = 2, and nothing starts them"),
    ],
)
def test_what_cannot_share_a_training_ends_before_anybody_is_asked(cli, small, data, setting, said):
    assert said in cli("all", "--run", "shared", "--config", small, "--set", setting, code=3)
    assert not (data / "runs/shared/teacher").exists()


def test_values_that_trainers_take_pass():
    keys = {"learning_rate": 1, "eval_steps": 0.5, "report_to": ["none"], "lr_scheduler_type": "x"}
    keys |= {"max_steps": 3, "warmup_steps": 2, "save_steps": 4, "max_length": None}
    for kind in (SFTConfig, DPOConfig):
        assert [arguments._of_another_type(kind, *item) for item in keys.items()] == [None] * 8


@pytest.mark.parametrize(
    ("stage", "key", "value"),
    [("sft", "eos_token", "<|pad|>"), ("sft", "chat_template_path", "data/students/micro")],
)
def test_a_trainer_cannot_have_a_tokenizer_of_its_own(cli, small, monkeypatch, stage, key, value):
    monkeypatch.setattr(student, "load", lambda *_, **__: pytest.fail("a model was loaded"))
    flags = ["--config", small, "--set", f"{stage}.trainer.{key}='{value}'"]
    said = cli("all", "--run", "own", *flags, code=3)
    assert f"[{stage}.trainer] {key}: only the trainer would know of it" in said


def test_logging_and_saving_are_no_part_of_the_recipe(inside):
    assert "nothing to do" in run("sft", "--run", "v1", "--set", "sft.trainer.logging_steps=7")


def tensors(data, step, name):
    return load_file(data / f"runs/{name}/{step}/weights/model.safetensors")


@pytest.mark.parametrize("step", ["sft", "round-1/dpo"])
def test_a_killed_training_goes_on_from_the_last_whole_checkpoint_to_the_same_weights(
    apart, monkeypatch, step
):
    folder, stage = apart / "runs/v1" / step, step.rpartition("/")[2]
    before, weights = manifest(apart, step), tensors(apart, step, "v1")
    ended = callbacks.StepProgress.on_step_end

    def killed(self, args, state, control, **more):
        ended(self, args, state, control, **more)
        if state.global_step == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.StepProgress, "on_step_end", killed)
    with pytest.raises(AssertionError, match="goes on from here"):
        run(stage, "--run", "v1", "--force")
    monkeypatch.undo()
    monkeypatch.setenv("HUMOR_DISTILL_DATA", str(apart))
    saved = sorted(path.name for path in (folder / "checkpoints").glob("checkpoint-*"))
    torn = folder / "checkpoints/checkpoint-5"
    shutil.copytree(folder / "checkpoints" / saved[-1], torn)
    (torn / "trainer_state.json").unlink()
    (folder / "checkpoints/checkpoint-6").mkdir()
    assert f"going on from {saved[-1]}" in run(stage, "--run", "v1")
    after = tensors(apart, step, "v1")
    assert all(torch.equal(after[name], weights[name]) for name in weights)
    found = manifest(apart, step)
    assert (found["rows"], found["sha256"], found["dropped"]) == (
        before["rows"],
        before["sha256"],
        before["dropped"],
    )
    assert found["weights"] == before["weights"]


@pytest.mark.parametrize(
    "torn",
    ["trainer_state.json", "model.safetensors", "optimizer.pt", "rng_state.pth"],
)
def test_a_checkpoint_that_is_not_whole_is_passed_over(made, tmp_path, torn):
    for number in (2, 10):
        folder = tmp_path / f"checkpoint-{number}"
        folder.mkdir()
        shutil.copy(made / "runs/v1/sft/weights/model.safetensors", folder)
        (folder / "trainer_state.json").write_text("{}")
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
            (folder / name).touch()
    assert checkpoints.last_whole_checkpoint(tmp_path).name == "checkpoint-10"
    data = (tmp_path / "checkpoint-10" / torn).read_bytes()
    (tmp_path / "checkpoint-10" / torn).unlink()
    assert checkpoints.last_whole_checkpoint(tmp_path).name == "checkpoint-2"
    if data:
        (tmp_path / "checkpoint-10" / torn).write_bytes(data[: len(data) // 2])
        assert checkpoints.last_whole_checkpoint(tmp_path).name == "checkpoint-2"
    (tmp_path / "checkpoint-2/trainer_state.json").unlink()
    assert checkpoints.last_whole_checkpoint(tmp_path) is None


LORA = ["--set", "student.lora={r=4, lora_alpha=8}", "--set", "sft.trainer.learning_rate=5e-3"]


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("lora", []),
        ("qlora", ["--set", "student.quantization=4bit"]),
        ("int8", ["--set", "student.quantization=8bit"]),
    ],
)
def test_adapters_go_through_every_stage(inside, name, flags):
    steps = [
        "--set",
        "sft.trainer.max_steps=3",
        "--set",
        "dpo.trainer.max_steps=2",
        "--set",
        "literals.limit=10",
    ]
    run("all", "--run", name, "--from", "v1", *LORA, *steps, *flags)
    for step in ("sft", "round-1/dpo"):
        folder = inside / f"runs/{name}/{step}/weights"
        assert (folder / "adapter_model.safetensors").exists()
        assert not (folder / "model.safetensors").exists()
        assert not (folder / "ref").exists()
        assert manifest(inside, step, name)["weights"]["adapter"] is True
    dpo = manifest(inside, "round-1/dpo", name)
    assert dpo["reference"]["fingerprint"] == dpo["start"]["fingerprint"]
    assert dpo["first_step"]["rewards/margins"] == pytest.approx(0, abs=2e-3)
    assert dpo["start"]["sha256"] == manifest(inside, "sft", name)["weights"]["sha256"]
    before, after = (
        load_file(inside / f"runs/{name}/{step}/weights/adapter_model.safetensors")
        for step in ("sft", "round-1/dpo")
    )
    assert set(before) == set(after)
    assert any(not torch.equal(before[key], after[key]) for key in before)


def test_every_dpo_option_is_reachable(inside):
    table = '{max_steps=2, per_device_train_batch_size=4, loss_type=["sigmoid","sft"], loss_weights=[1.0,0.5], '
    table += 'max_length=96, beta=0.3, precompute_ref_log_probs=false, logging_steps=1, save_strategy="no"}'
    run("dpo", "--run", "options", "--from", "v1", "--set", f"dpo.trainer={table}")
    first = manifest(inside, "round-1/dpo", "options")["first_step"]
    assert first["loss"] > math.log(2) + 0.05
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-5)


def test_report_to_reaches_the_trainer(inside, tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    flags = ["--set", "sft.trainer.max_steps=2", "--set", "sft.trainer.report_to=tensorboard"]
    run("sft", "--run", "board", "--from", "v1", *flags)
    assert list((tmp_path / "board").rglob("events.out.tfevents*"))


@needs_stories
def test_a_pretrained_model_made_by_others(inside):
    steps = [
        "--set",
        "sft.trainer.max_steps=4",
        "--set",
        "dpo.trainer.max_steps=2",
        "--set",
        "literals.limit=12",
        "--set",
        'rounds=[{candidates="teacher"}]',  # its own run on
    ]
    run("all", "--run", "stories", "--from", "v1", "--set", f"student.model={STORIES}", *steps)
    assert rows(inside / "runs/stories/sft/records.jsonl")[0]["prompt"].endswith("\n")
    dpo = manifest(inside, "round-1/dpo", "stories")
    assert dpo["first_step"]["loss"] == pytest.approx(math.log(2), abs=1e-5)


def test_wrong_starting_weights_are_refused(apart):
    path = apart / "runs/v1/sft/weights/model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(AssertionError, match="the weights are not those that its manifest records"):
        run("dpo", "--run", "v1", "--force")


def test_a_first_step_with_a_margin_is_refused():
    state = TrainerState(global_step=1)
    check = callbacks.FirstStep()
    arguments = DPOConfig(output_dir="unused", bf16=False, use_cpu=True)
    fine = {"loss": math.log(2), "rewards/chosen": 1e-6, "rewards/rejected": 0.0}
    check.on_log(arguments, state, TrainerControl(), fine)
    for wrong in (
        {"loss": 1.127},
        {"rewards/chosen": 0.4},
        {"rewards/rejected": -0.4},
        {"loss": float("nan")},
    ):
        with pytest.raises(StudentError, match="the reference is not the starting student"):
            check.on_log(arguments, state, TrainerControl(), {**fine, **wrong})


def test_a_wrong_loss_name_ends_before_anything_is_loaded(cli, inside):
    said = cli(
        "dpo", "--run", "loss", "--from", "v1", "--set", "dpo.trainer.loss_type=sigmoyd", code=3
    )
    assert "unknown loss_type ['sigmoyd']" in said


def test_without_held_out_pairs_the_last_step_is_kept(inside, tmp_path, small):
    literals = {
        split: (ROOT / f"data/literals/{split}.jsonl").read_text().splitlines()
        for split in ("train", "test", "ood")
    }
    (tmp_path / "some.jsonl").write_text(
        "\n".join(literals["train"][:30] + literals["test"][:4] + literals["ood"][:4]) + "\n"
    )
    best = '{max_steps=2, per_device_train_batch_size=4, eval_strategy="steps", eval_steps=1, save_steps=1, '
    best += 'load_best_model_at_end=true, metric_for_best_model="eval_rewards/accuracies", max_length=96}'
    flags = ["--set", f'literals.files=["{tmp_path}/some.jsonl"]', "--set", f"dpo.trainer={best}"]
    said = run(
        "all", "--run", "unheld", "--config", small, *flags, "--set", "sft.trainer.max_steps=2"
    )
    assert (
        "round-1/dpo: no row about a validation literal is left to hold out, so the last step is kept"
        in said
    )


@pytest.mark.parametrize("stage", ["sample", "dpo", "evaluate"])
def test_missing_weights_are_named(apart, cli, stage):
    shutil.rmtree(apart / "runs/v1/sft/weights")
    assert "sft --run v1 --force" in cli(stage, "--run", "v1", "--force", code=8)


def test_a_pair_without_anything_to_learn_is_said(apart):
    with pytest.raises(AssertionError, match="no row is left"):
        run("dpo", "--run", "none", "--from", "v1", "--set", "dpo.length_ratio=[0.0, 0.0]")


def losses(history):
    return [row["loss"] for row in history if "loss" in row]


def bare_options(demo_trainer, tmp_path):
    return {
        **demo_trainer,
        "output_dir": str(tmp_path / "bare"),
        "seed": 0,
        "bf16": False,
        "gradient_checkpointing": False,
        "use_cpu": True,
        "report_to": "none",
    }


def test_a_bare_dpo_script_on_our_rows_gives_our_losses(inside, small, tmp_path):
    folder = inside / "runs/v1"
    table = json.loads((folder / "config.json").read_text())["dpo"]["trainer"]
    options = bare_options(table, tmp_path)
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder / "sft/weights", dtype=torch.float32),
        ref_model=AutoModelForCausalLM.from_pretrained(folder / "sft/weights", dtype=torch.float32),
        args=DPOConfig(**options, logging_first_step=True),
        train_dataset=datasets.load_dataset(
            "json",
            data_files=str(folder / "round-1/dpo/records.jsonl"),
            split="train",
            cache_dir=str(tmp_path),
        ),
        processing_class=AutoTokenizer.from_pretrained("data/students/micro"),
    )
    trainer.train()
    ours = losses(rows(folder / "round-1/dpo/curve.jsonl"))
    assert losses(trainer.state.log_history) == pytest.approx(ours, abs=1e-5)
    assert len(ours) == 6


def test_a_bare_sft_script_on_our_rows_gives_our_losses(inside, tmp_path):
    folder = inside / "runs/v1"
    table = json.loads((folder / "config.json").read_text())["sft"]["trainer"]
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained("data/students/micro", dtype=torch.float32),
        args=SFTConfig(**bare_options(table, tmp_path)),
        train_dataset=datasets.load_dataset(
            "json",
            data_files=str(folder / "sft/records.jsonl"),
            split="train",
            cache_dir=str(tmp_path),
        ),
        processing_class=AutoTokenizer.from_pretrained("data/students/micro"),
    )
    batch = next(iter(trainer.get_train_dataloader()))
    for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
        text = trainer.processing_class.decode(ids[labels != -100])
        assert text.endswith("<|end|>")
        assert "<|assistant|>" not in text
    trainer.train()
    assert losses(trainer.state.log_history) == pytest.approx(
        losses(rows(folder / "sft/curve.jsonl")), abs=1e-5
    )


def test_the_student_section_decides_what_is_trained(demo):
    config = validate({**demo, "student": {**demo["student"], "lora": {"r": 2}}}, "test")
    assert imitation._lora(config, encoder_decoder=False).r == 2
    assert imitation._lora(validate(demo | {"student": {"model": "x"}}, "test"), False) is None


@pytest.mark.parametrize("command", ["all", "dpo", "sft"])
def test_a_dry_run_refuses_what_no_trainer_knows(small, inside, command, cli):
    """And a model that is not there."""
    flags = ["--run", "dry", "--config", small, "--dry-run"]
    said = cli(command, *flags, "--set", "dpo.trainer.loss_tpye=x", code=3)
    assert "[dpo.trainer]: unknown key 'loss_tpye'. Did you mean 'loss_type'?" in said
    said = cli(command, *flags, "--set", "student.model=data/students/mikro", code=8)
    assert "student.model = 'data/students/mikro'" in said
    assert not (inside / "runs/dry").exists()
