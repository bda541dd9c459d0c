"""What a GPU has to show: `make gpu`. Skipped, with the reason, where there is none.

The demo; then a student of 130 million parameters with random weights, through every objective, in
full, with LoRA and with QLoRA, a few steps each; the first step's loss on the same rows and samples
beside the CPU's (float32 within 1e-4, bfloat16 within 1e-2); sampled tokens a second beside
model.generate, steps a second beside bare TRL scripts, the peak of memory and how busy the GPU was;
then a round whose student writes behind a real vLLM, beside vLLM's offline benchmark. `--small`
does the same with a tiny student, and `--device cpu` on a processor, to try the script.
"""

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from pipeline import project
from pipeline.__main__ import main as distil
from pipeline.runs.files import CURVE, MANIFEST, read_json
from tests import ROOT
from tests.bench import gpu_served

CLOSE = {"float32": 1e-4, "bfloat16": 1e-2}
OBJECTIVES = ("dpo", "brio", "sd", "ft", "gkd", "llmr")
WAYS = {
    "full": [],
    "LoRA": ["student.lora={r=16}"],
    "QLoRA": ["student.lora={r=16}", 'student.quantization="4bit"'],
}
STEPS = 4
BASE = "gpu"


def student(folder: Path, small: bool) -> Path:
    """A decoder-only model with random weights and the micro student's tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    if (folder / "config.json").exists():
        return folder
    micro = ROOT / "data/students/micro"
    torch.manual_seed(0)
    heads = 14  # of 64
    sizes = {"hidden_size": 896, "intermediate_size": 2432, "num_hidden_layers": 14}
    if small:
        heads = 2
        sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2}
    known = json.loads((micro / "config.json").read_text())
    ids = {
        key: known[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if key in known
    }
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=known["vocab_size"],
            num_attention_heads=heads,
            num_key_value_heads=heads,
            **sizes,
            **ids,
        )
    )
    model.save_pretrained(folder)
    for path in micro.iterdir():
        if path.name not in ("config.json", "generation_config.json", "model.safetensors"):
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def run(stage: str, name: str, *settings: str, source: str | None = None) -> float:
    """One command; its seconds."""
    argv = [stage, "--run", name]
    if name == BASE:
        argv += ["--config", str(ROOT / "tests/bench/gpu.toml")]
    if source:
        argv += ["--from", source]
    for setting in settings:
        argv += ["--set", setting]
    began = time.monotonic()
    if distil(argv):
        raise SystemExit(f"failed: {' '.join(argv)}")
    return time.monotonic() - began


@contextlib.contextmanager
def watched(device: str) -> Iterator[list[float]]:
    """How busy the GPU is, in percent, twice a second, while something runs; nothing on a CPU."""
    found: list[float] = []
    if device == "cpu" or not shutil.which("nvidia-smi"):
        yield found
        return
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    with subprocess.Popen([*command, "-lms", "500", "-i", "0"], stdout=subprocess.PIPE) as process:
        try:
            yield found
        finally:
            process.terminate()
            said, _ = process.communicate()
            found += [float(line) for line in said.splitlines() if line.strip().isdigit()]


def busy(found: list[float]) -> str:
    return f"{statistics.mean(found):.0f} %" if found else "-"


def bench(name: str, *flags: str) -> None:
    """Another bench of this folder, in a process of its own."""
    command = [sys.executable, "-m", f"tests.bench.{name}", *flags]
    subprocess.run(command, check=True, cwd=ROOT)


def step(name: str, folder: str = "round-1/dpo") -> Path:
    return project.data() / "runs" / name / folder


def first_loss(name: str) -> float:
    rows = [json.loads(line) for line in (step(name) / CURVE).read_text().splitlines()]
    return next(float(row["loss"]) for row in rows if "loss" in row)


def learned(objective: str, device: str, steps: int, dtype: str, taught: Path) -> list[str]:
    """The settings of a round by an objective."""
    keys: dict[str, Any] = {
        "max_steps": steps,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-5,
        "logging_steps": 1,
        "eval_strategy": "no",
        "save_strategy": "no",
        "load_best_model_at_end": False,
        "bf16": dtype == "bfloat16",
        "seed": 0,
    }
    if objective == "gkd":
        keys |= {"lmbda": 0.0}
    table = ", ".join(f"{key}={json.dumps(value)}" for key, value in keys.items())
    settings = [
        f'rounds=[{{candidates="teacher", objective="{objective}", trainer={{{table}}}}}]',
        f'runtime.device="{device}"',
    ]
    if objective in ("gkd", "llmr"):
        settings.append(f'{objective}={{teacher="{taught}"}}')
    return settings


def prepared(small: bool, device: str) -> Path:
    """Jokes, verdicts on them and an imitating student, on a few sentences; the untrained student."""
    folder = student(project.data() / "students" / ("gpu-small" if small else "gpu-130m"), small)
    shared = [f'student.model="{folder}"', f'runtime.device="{device}"']
    if small:
        shared.append("sft.trainer.learning_rate=5e-3")
    rounds = 'rounds=[{candidates="teacher"}]'
    for stage in ("teacher", "sft", "sample", "critic"):
        run(stage, BASE, *shared, rounds)
    seconds = run("sample", f"{BASE}-sampled", "rounds=[{}]", source=BASE)
    jokes = read_json(step(f"{BASE}-sampled", "round-1/sample") / MANIFEST)
    tried = jokes["rows"] + sum(jokes["dropped"].values())
    print(f"sampling: {tried / seconds:.1f} answers/s, the model's loading with it", flush=True)
    return folder


def table(device: str, taught: Path) -> None:
    """Every objective in every way: steps a second, and the most memory that was taken."""
    import torch

    print("| objective | way | seconds for the stage | peak GiB | busy |\n|---|---|---|---|---|")
    for objective in OBJECTIVES:
        for way, more in WAYS.items():
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            name = f"{BASE}-{objective}-{way.lower()}"
            settings = learned(objective, device, STEPS, "bfloat16", taught)
            if more:  # the start is then the untrained student with an adapter
                run("sft", name, *settings, *more, "sft.trainer.learning_rate=1e-2", source=BASE)
                for stage in ("sample", "critic") if objective in ("dpo", "brio", "sd") else ():
                    run(stage, name)
            with watched(device) as found:
                given = [] if more else settings
                seconds = run("dpo", name, *given, source=None if more else BASE)
            peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0
            print(
                f"| {objective} | {way} | {seconds:.1f} | {peak:.2f} | {busy(found)} |", flush=True
            )


@contextlib.contextmanager
def first_samples(kept: list[list[list[int]]]) -> Iterator[None]:
    """Within, what an LLMR student samples for its first step is kept, or is what was kept."""
    from pipeline.training.logits.llmr_trainer import LlmrTrainer

    own = LlmrTrainer._written

    def written(self: Any, model: Any, inputs: Any) -> Any:
        answers, drawn_BT = own(self, model, inputs)
        if not kept:
            kept.append(answers)
        return kept[0], drawn_BT

    with mock.patch.object(LlmrTrainer, "_written", written):
        yield


def agreement(device: str, taught: Path) -> bool:
    """The first step's loss on this device beside the CPU's; whether all are close."""
    close = True
    print("| objective | precision | here | CPU, float32 | apart |\n|---|---|---|---|---|")
    for objective in OBJECTIVES:
        name = f"{BASE}-{objective}-cpu"
        samples: list[list[list[int]]] = []
        with first_samples(samples):
            run("dpo", name, *learned(objective, "cpu", 1, "float32", taught), source=BASE)
        theirs = first_loss(name)
        for dtype, most in CLOSE.items():
            name = f"{BASE}-{objective}-{dtype}"
            with first_samples(samples):
                run("dpo", name, *learned(objective, device, 1, dtype, taught), source=BASE)
            ours = first_loss(name)
            apart = abs(ours - theirs)
            close &= apart <= most
            print(
                f"| {objective} | {dtype} | {ours:.5f} | {theirs:.5f} | {apart:.1e} |", flush=True
            )
    return close


def through_vllm(device: str, untrained: Path, small: bool) -> None:
    """A round whose student writes behind a real vLLM, and how fast that is."""
    programs = gpu_served.environment(device)
    if programs is None:
        return
    k = 4 if small else 64
    server = json.dumps(gpu_served.command(programs, device))
    settings = [f"runtime.server={{command={server}}}", "rounds=[{}]", f"sample.k={k}"]
    settings += [f'runtime.device="{device}"', "runtime.concurrency=256", 'critic.pairs="alike"']
    name = f"{BASE}-vllm"
    run("sample", name, *settings, source=BASE)
    ours = gpu_served.tokens_a_second(name)
    for stage in ("critic", "dpo", "evaluate"):
        run(stage, name, *settings)  # as no run keeps a command
    jokes = read_json(step(name, "round-1/sample") / MANIFEST)
    print(gpu_served.report(ours, gpu_served.offline(programs, device, untrained, jokes["rows"])))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--small", action="store_true", help="a tiny student, and no demo")
    args = parser.parse_args()
    import torch

    if args.device == "cuda" and not torch.cuda.is_available():
        print("skipped: there is no GPU here that torch can use (torch.cuda.is_available())")
        return
    if args.device == "cuda":
        print(torch.cuda.get_device_name())
    if not args.small:
        print(f"the demo: {run('all', 'gpu-demo'):.0f} s", flush=True)
    taught = prepared(args.small, args.device)
    close = agreement(args.device, taught)
    table(args.device, taught)
    untrained = ["--student", str(taught), "--device", args.device]
    with watched(args.device) as found:
        bench("sampling", *untrained, "--times", "2", "--rows", "64" if args.small else "512")
    print(f"the GPU was busy for {busy(found)} of it", flush=True)
    bench("training", *untrained, "--times", "1", "--candidates", "teacher")
    through_vllm(args.device, taught, args.small)
    if not close:
        raise SystemExit("a first loss is further from the CPU's than it may be")


if __name__ == "__main__":
    main()
