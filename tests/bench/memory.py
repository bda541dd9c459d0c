"""How much memory a step takes above its models, on a vocabulary of 50,000: `make bench-memory`.

Each case runs in a process of its own; what is shown is the most that was resident during the step,
less what was resident before it (Linux counts both).
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests import ROOT

CASES = {
    "llmr": "LLMR, 32 samples of 64 tokens, forward and backward",
    "gkd": "GKD, 32 jokes of 64 tokens, forward and backward",
    "cloze": "cloze, 64 sentences of 64 tokens",
    "evaluate": "evaluate, one student after the other",
}
VOCABULARY = 50_000
ROWS, TOKENS = 32, 64


def megabytes(name: str) -> float:
    """A line of this process's status: VmRSS now, VmHWM at most since it was cleared."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"{name}: not told on this system")


def model(folder: Path) -> Path:
    """A decoder-only model with random weights and the micro student's tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.models.small import MICRO

    torch.manual_seed(0)
    made = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            eos_token_id=1,
            bos_token_id=1,
        )
    )
    made.save_pretrained(folder)
    for path in MICRO.glob("*.json*"):
        if path.name not in ("config.json", "generation_config.json"):
            (folder / path.name).write_bytes(path.read_bytes())
    template = MICRO / "chat_template.jinja"
    if template.exists():
        (folder / template.name).write_bytes(template.read_bytes())
    return folder


def configuration(folder: Path) -> object:
    import tomllib

    from pipeline.config.file import validate

    data = tomllib.loads((ROOT / "configs/demo.toml").read_text())
    data["student"] = {"model": str(folder)}
    data["llmr"] = {"teacher": str(folder), "max_new_tokens": TOKENS}
    data["gkd"] = {"teacher": str(folder)}
    data["rounds"] = [{"objective": "llmr"}, {"objective": "gkd"}]
    data["dpo"] = {}
    return validate(data, "memory")


def trainer(case: str, folder: Path, out: str) -> tuple[object, object]:
    """The trainer of a case, and its batch."""
    from transformers import TrainingArguments

    from pipeline.models import student
    from pipeline.models.teacher import Teacher
    from pipeline.rows.row import content_id

    config = configuration(folder)
    tokenizer = student.load_tokenizer(config)
    own = student.load(config, train=True)
    teacher = Teacher(config, case, tokenizer)
    plain = {"report_to": "none", "use_cpu": True, "per_device_train_batch_size": ROWS}
    prompt = list(range(10, 26))
    if case == "llmr":
        from pipeline.training.logits.llmr_trainer import LlmrTrainer

        rows = [
            {"literal_id": content_id("l", place), "prompt": prompt, "views": [prompt]}
            for place in range(ROWS)
        ]
        made = LlmrTrainer(
            config=config,
            teacher=teacher,
            model=own,
            args=TrainingArguments(out, **plain),
            train_dataset=rows,
            processing_class=tokenizer,
        )
        return made, next(iter(made.get_train_dataloader()))
    import datasets
    import torch
    from trl.experimental.gkd import GKDConfig

    from pipeline.training.logits import gkd

    made = gkd.Trainer(
        model=own,
        teacher_model=teacher.model,
        args=GKDConfig(out, lmbda=0.0, bf16=False, gradient_checkpointing=False, **plain),
        train_dataset=datasets.Dataset.from_list([{"prompt": "a", "completion": "b"}]),
        data_collator=gkd.Collator(tokenizer),
        processing_class=tokenizer,
    )
    ids = torch.randint(10, 4000, (ROWS, len(prompt) + TOKENS))
    labels = ids.clone()
    labels[:, : len(prompt)] = -100
    return made, {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def step(case: str, folder: Path, out: str) -> object:
    """What is measured, ready to be called."""
    import torch

    if case == "cloze":
        from pipeline.config.runtime import Runtime
        from pipeline.models import perplexity

        scorer = perplexity.model(str(folder), Runtime(device="cpu"))
        ids = torch.randint(10, 4000, (2 * ROWS, TOKENS)).tolist()
        texts = scorer.tokenizer.batch_decode(ids)
        return lambda: scorer.mean_log_probabilities(texts)
    if case == "evaluate":
        from pipeline.models import student
        from pipeline.models.decoding import write

        config = configuration(folder)
        tokenizer = student.load_tokenizer(config)

        def one() -> None:
            own = student.load(config)
            write(own, tokenizer, [[5, 6]], config.evaluate, [0])

        def in_turn() -> None:
            for _ in range(3):
                one()

        return in_turn
    made, batch = trainer(case, folder, out)

    def whole() -> None:
        made.model.train()
        made.compute_loss(made.model, batch).backward()

    return whole


def child(case: str, folder: str) -> None:
    """Print what a step of a case took."""
    with tempfile.TemporaryDirectory() as out:
        ready = step(case, Path(folder), out)
        Path("/proc/self/clear_refs").write_text("5")
        before = megabytes("VmRSS")
        ready()
        print(f"took {megabytes('VmHWM') - before:.0f}")


def main() -> None:
    if len(sys.argv) > 1:
        child(*sys.argv[1:])
        return
    print("| a step | MB above its models |\n|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = model(Path(temporary) / "wide")
        for case, what in CASES.items():
            said = subprocess.run(
                [sys.executable, "-m", "tests.bench.memory", case, str(folder)],
                capture_output=True,
                text=True,
            )
            if said.returncode:
                raise SystemExit(said.stderr)
            print(f"| {what} | {said.stdout.split()[-1]} |", flush=True)


if __name__ == "__main__":
    main()
