"""sft and dpo in two processes are what they are in one with twice the batch; killed, they go on.

METHODS=all goes through every objective, with an adapter, and through KILL_MOMENTS moments of
SIGKILL (make test-all).
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests import ROOT
from tests.conftest import rows
from tests.models import small
from tests.small_run import manifest, run
from tests.whole.test_methods import ALL, flags

TORCHRUN = ['runtime.launcher="torchrun --nproc_per_node 2"', "runtime.processes=2"]
HALF = [
    *TORCHRUN,
    "sft.trainer.per_device_train_batch_size=4",
    "dpo.trainer.per_device_train_batch_size=2",
]
EVALUATED = ["dpo.trainer.eval_strategy=steps", "dpo.trainer.eval_steps=2"]
BEST = [
    *EVALUATED,
    "dpo.trainer.load_best_model_at_end=true",
    "dpo.trainer.metric_for_best_model=eval_loss",
]
LOGITS = "max_steps=6, per_device_train_batch_size=SIZE, learning_rate=1e-4, logging_steps=1, "
OBJECTIVES = {
    "dpo": ['rounds=[{objective="dpo"}]', *BEST],
    "rate": ["dpo.early_stopping={metric='fresh_wtr', patience=3}", *EVALUATED],
    "rpo": ["dpo.sft_weight=0.3"],
    "weighted": ["dpo.deviation_weight=1", "dpo.sft_weight=0.3"],
    "ties": ['dpo.ties="rao-kupper"', *BEST],
    "brio": ['rounds=[{objective="brio"}]', *BEST],
    "ft": ['rounds=[{objective="ft"}]'],
    "sd": ['rounds=[{objective="sd"}]'],
    "gkd": [
        'rounds=[{objective="gkd"}]',
        f'gkd={{teacher="{small.MICRO}", trainer={{{LOGITS}lmbda=0.0, max_new_tokens=24}}}}',
    ],
    "gkd on policy": [
        'rounds=[{objective="gkd"}]',
        f'gkd={{teacher="{small.MICRO}", trainer={{{LOGITS}lmbda=1.0, max_new_tokens=24}}}}',
    ],
    "gkd by a coin": [
        'rounds=[{objective="gkd"}]',
        f'gkd={{teacher="{small.MICRO}", trainer={{{LOGITS}lmbda=0.5, max_new_tokens=24}}}}',
    ],
    "llmr": [
        'rounds=[{objective="llmr"}]',
        f'llmr={{teacher="{small.MICRO}", sync_every=3, max_new_tokens=48, entropy=0.01, '
        f"trainer={{{LOGITS}save_steps=2}}}}",
    ],
}
NOT_EXACT = ("runtime", "per_second", "flos", "rewards/accuracies", "grad_norm")
"""Figures of time; accuracies, as rewards of 0 in the first step are so only up to rounding."""


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module", params=["full", pytest.param("adapter", marks=ALL)])
def source(request, made):
    """The name of a run whose student is trained in full, or as an adapter."""
    if request.param == "full":
        return "v1"
    patch = pytest.MonkeyPatch()
    patch.setenv("HUMOR_DISTILL_DATA", str(made))
    for stage in ("sft", "sample", "critic"):
        run(stage, "--run", "adapted", "--from", "v1", *flags(["student.lora={r=8}"]))
    patch.undo()
    return "adapted"


def learned(data, name, stage="round-1/dpo"):
    folder = data / f"runs/{name}/{stage}"
    [weights] = (folder / "weights").glob("*.safetensors")
    return folder, load_file(weights)


def alike(one, two, near=1e-4):
    """Whether two trainings logged the same and came to the same weights."""
    (folder, weights), (other, others) = one, two
    for row, twin in zip(rows(folder / "curve.jsonl"), rows(other / "curve.jsonl"), strict=True):
        for key, value in row.items():
            if isinstance(value, float) and not any(name in key for name in NOT_EXACT):
                assert twin[key] == pytest.approx(value, rel=near, abs=near), key
    for name, value in weights.items():
        assert (value - others[name]).abs().max() < near, name


def test_imitation_in_two_processes_is_that_in_one(inside):
    """By rows of like length, and over the end of an epoch, where rows do not divide."""
    settings = ["sft.trainer.train_sampling_strategy=group_by_length", "sft.trainer.max_steps=12"]
    run("sft", "--run", "grouped", "--from", "v1", *flags(settings))
    run("sft", "--run", "grouped-two", "--from", "v1", *flags([*settings, *HALF]))
    one, two = learned(inside, "grouped", "sft"), learned(inside, "grouped-two", "sft")
    assert len(rows(one[0] / "records.jsonl")) % 8  # else nothing was tried
    alike(one, two)
    before, after = (manifest(inside, "sft", name) for name in ("grouped", "grouped-two"))
    assert before["recipe"] == after["recipe"]
    assert before["recipe"]["batch"] == 8
    assert after["launched"] | {"memory": 0} == {
        "processes": 2,
        "strategy": "ddp",
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 1,
        "memory": 0,
    }
    assert all(bytes > 10**8 for bytes in after["launched"]["memory"])
    assert "sft: whole" in run("verify", "--run", "grouped-two")
    kept = json.loads((inside / "runs/grouped-two/config.json").read_text())["runtime"]
    assert (kept["launcher"], kept["processes"]) == (None, 2)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "rate" else ALL) for name in OBJECTIVES],
)
def test_two_processes_are_one_with_twice_the_batch(inside, source, name):
    settings = OBJECTIVES[name]
    made = [f"{source}-{name.replace(' ', '-')}-{number}" for number in (1, 2)]
    whole = [part.replace("SIZE", "4") for part in settings]
    half = [part.replace("SIZE", "2") for part in settings] + HALF
    run("dpo", "--run", made[0], "--from", source, *flags(whole))
    run("dpo", "--run", made[1], "--from", source, *flags(half))
    one, two = (learned(inside, run_name) for run_name in made)
    alike(one, two)
    before, after = (manifest(inside, "round-1/dpo", run_name) for run_name in made)
    for key in ("recipe", "rows", "sha256", "dropped", "held_out_rates"):
        assert before.get(key) == after.get(key)
    assert before["training"]["best_step"] == after["training"]["best_step"]
    for file, exact in (("margins.jsonl", ("id", "steps")), ("rollouts.jsonl", ("id", "step"))):
        if (one[0] / file).exists():
            parts = [
                sorted([row[key] for key in exact] for row in rows(folder / file))
                for folder, _ in (one, two)
            ]
            assert parts[0] == parts[1]


@pytest.mark.parametrize(
    ("launcher", "said"),
    [
        ("torchrunn --nproc_per_node 2", "runtime.launcher: there is no command 'torchrunn'"),
        ("accelerate launch --cpu --num_processes 2", "started 1 processes, and"),
        ("env ACCELERATE_USE_FSDP=true torchrun --nproc_per_node 2", "asks for fsdp, and what"),
        ("env ACCELERATE_MIXED_PRECISION=fp16 torchrun --nproc_per_node 2", "is 'fp16', and the"),
    ],
)
def test_what_is_asked_of_a_launcher_is_what_runs(cli, inside, launcher, said):
    settings = [f'runtime.launcher="{launcher}"', *HALF[1:]]
    code = 3 if "there is no" in said else 4 if "started" in said else 8
    assert said in cli("dpo", "--run", "odd", "--from", "v1", *flags(settings), code=code)


@ALL
def test_sharded_weights_have_the_losses_and_gradients_of_whole_ones():
    command = [
        *("torchrun", "--nproc_per_node", "2", "tests/training/sharded.py"),
        str(small.MICRO),
    ]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
    }
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    loss, gradient = map(float, ended.stdout.split("apart")[1].split())
    assert max(loss, gradient) < 1e-6


def test_a_run_keeps_no_launcher(cli, inside):
    said = cli("dpo", "--run", "none", "--from", "v1", *flags(HALF[1:]), code=3)
    assert "runtime.processes = 2, and nothing starts them" in said


def processes():
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True).stdout
    lines = [line.split(maxsplit=1) for line in listed.splitlines()[1:]]
    return {int(pid): args for pid, args in lines if "pipeline.training.act" in args}


def start(name, settings):
    argv = ["dpo", "--run", name, "--from", "v1", *flags(settings)]
    command = [sys.executable, "-m", "pipeline", *argv]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def until(true, seconds=60.0):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


@ALL
@pytest.mark.parametrize("moment", range(int(os.environ.get("KILL_MOMENTS", "3")) // 2 or 1))
@pytest.mark.parametrize("whom", ["one", "all", "step"])
def test_a_killed_training_goes_on_to_the_same_weights(inside, whom, moment):
    settings = [*HALF, "dpo.trainer.max_steps=16", "dpo.trainer.save_steps=3"]
    if not (inside / "runs/unkilled/round-1/dpo/manifest.json").exists():
        run("dpo", "--run", "unkilled", "--from", "v1", *flags(settings))
    name = f"killed-{whom}-{moment}"
    child = start(name, settings)
    folder = inside / f"runs/{name}/round-1/dpo"
    until(lambda: (folder / "checkpoints/checkpoint-3").exists() or child.poll() is not None)
    time.sleep(random.Random(f"{whom}{moment}").uniform(0, 2))
    ranks = [pid for pid, args in processes().items() if "torchrun" not in args]
    for pid in {"one": ranks[-1:], "all": ranks, "step": [child.pid]}[whom]:
        os.kill(pid, signal.SIGKILL)
    child.wait()
    assert until(lambda: not processes()), processes()  # nobody is left who would go on writing
    again = run("dpo", "--run", name, "--from", "v1", *flags(settings))
    assert "round-1/dpo" in again
    one, two = learned(inside, "unkilled"), learned(inside, name)
    for key, value in one[1].items():
        assert (value - two[1][key]).abs().max() < 1e-4
    losses = [
        {row["step"]: row["loss"] for row in rows(folder / "curve.jsonl") if "loss" in row}
        for folder, _ in (one, two)
    ]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    for file in ("records.jsonl", "margins.jsonl"):
        ids = [[row["id"] for row in rows(folder / file)] for folder, _ in (one, two)]
        assert ids[0] == ids[1]


def test_another_number_of_processes_does_not_go_on(cli, inside):
    settings = [*HALF, "dpo.trainer.max_steps=16", "dpo.trainer.save_steps=3"]
    child = start("other", settings)
    checkpoint = inside / "runs/other/round-1/dpo/checkpoints/checkpoint-3/trainer_state.json"
    assert until(checkpoint.exists, 120)
    child.kill()
    child.wait()
    assert until(lambda: not processes()), processes()  # its processes end with it
    alone = [
        *settings[4:],
        "runtime.processes=1",
        "sft.trainer.per_device_train_batch_size=8",
        "dpo.trainer.per_device_train_batch_size=4",
    ]
    said = cli("dpo", "--run", "other", "--from", "v1", *flags(alone), code=8)
    assert "this training was begun with runtime.processes = 2, " in said
