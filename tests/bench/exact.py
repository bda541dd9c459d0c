"""What exactness changed, fault by fault: `make bench-exact`.

Each line has the figure of the plain way (a model loaded in its dtype, TRL's own trainer, the formula
of 0.3.0, written out here), and that of the way taken now, from the pipeline's own functions.
"""

import math
import tempfile
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from tokenizers.processors import TemplateProcessing
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

from pipeline import project
from pipeline.config.file import load, validate
from pipeline.config.whole import Config
from pipeline.models import decoding, student, student_prompt
from pipeline.models.likelihood import answer_logits
from pipeline.retrieval import encoder
from pipeline.rows import jsonl
from pipeline.rows.records import LiteralText
from pipeline.rows.row import make
from pipeline.rows.training import Retrieval
from pipeline.training.float32 import built
from pipeline.training.losses import preference, reward

STEPS = 20
"""Of AdamW, with gradients drawn from N(0, 1e-3)."""


def configuration(**changed: Any) -> Config:
    tables = load(project.path("configs/demo.toml"))
    tables["student"] |= changed
    return validate(tables, "demo.toml")


def say(number: int, what: str, before: str, after: str) -> None:
    print(f"{number:>2}  {what:<66} {before:>22}  {after:>22}", flush=True)


# --- 1 and 2: updates


def trained(weights: Iterable[torch.Tensor], lr: float) -> dict[str, torch.Tensor]:
    """Weights after STEPS of AdamW, from the same gradients for the same places."""
    own = [weight.detach().clone().requires_grad_() for weight in weights]
    optimizer = torch.optim.AdamW(own, lr=lr, weight_decay=0.0)
    draw = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        for weight in own:
            gradient = 1e-3 * torch.randn(weight.shape, generator=draw)
            weight.grad = gradient.to(weight.dtype)
        optimizer.step()
    return {str(place): weight.detach().float() for place, weight in enumerate(own)}


def left(weights: list[torch.Tensor], exact: list[torch.Tensor], lr: float) -> str:
    """Norm ratio and cosine of what weights as they are learn, beside float32's update."""
    began = {str(place): weight.detach().float() for place, weight in enumerate(weights)}
    update = {name: value - began[name] for name, value in trained(weights, lr).items()}
    start = {str(place): weight.detach().float() for place, weight in enumerate(exact)}
    wanted = {name: value - start[name] for name, value in trained(exact, lr).items()}
    norms = [
        math.sqrt(sum(float((v**2).sum()) for v in each.values())) for each in (update, wanted)
    ]
    common = sum(float((update[name] * wanted[name]).sum()) for name in wanted)
    return f"{norms[0] / norms[1]:.2f} (cosine {common / max(norms[0] * norms[1], 1e-30):.2f})"


def full_fine_tuning() -> None:
    config = configuration(dtype="bfloat16")
    plain = list(student.load(config).parameters())
    ours = list(student.load(config, train=True).parameters())
    exact = [weight.detach().float() for weight in plain]
    drawn = [0.02 * torch.randn(1000, 1000, generator=torch.Generator().manual_seed(0))]
    halved = [weight.bfloat16() for weight in drawn]
    for lr in (1e-6, 2e-5):
        what = f"weights from N(0, 0.02) in bfloat16, update at {lr:g}"
        say(1, what, left(halved, [halved[0].float()], lr), left(drawn, drawn, lr))
        what = f"full fine-tuning of the micro student in bfloat16, update at {lr:g}"
        say(1, what, left(plain, exact, lr), left(ours, exact, lr))


def quantized_adapters() -> None:
    from datasets import Dataset, disable_progress_bars
    from peft import LoraConfig, get_peft_model
    from trl import DPOConfig, DPOTrainer

    disable_progress_bars()
    config = configuration(dtype="bfloat16", quantization="4bit", lora={"r": 4})
    tokenizer = student.load_tokenizer(config)
    rows = Dataset.from_list([{"prompt": "a\n", "chosen": "b", "rejected": "c"}] * 2)
    adapters = []
    with tempfile.TemporaryDirectory() as folder:
        arguments = DPOConfig(
            folder, report_to="none", use_cpu=True, bf16=False, gradient_checkpointing=False
        )
        for make_trainer in (
            lambda **given: DPOTrainer(**given),
            lambda **given: built(DPOTrainer, **given),
        ):
            torch.manual_seed(0)
            model = get_peft_model(
                student.load(config, train=True), LoraConfig(r=4, target_modules="all-linear")
            )
            make_trainer(
                model=model, args=arguments, train_dataset=rows, processing_class=tokenizer
            )
            adapters.append([weight for weight in model.parameters() if weight.requires_grad])
    plain, ours = adapters
    exact = [weight.detach().float() for weight in ours]
    say(
        2,
        "QLoRA, update of TRL's DPO adapter at 5e-06",
        left(plain, exact, 5e-6),
        left(ours, exact, 5e-6),
    )


# --- 3 and 4: rewards


def steps() -> None:
    torch.manual_seed(1)
    f_BTV = reward.action_values(torch.randn(1, 10, 50))
    taken = f_BTV.gather(-1, torch.randint(50, (1, 10))[..., None])[..., 0]
    values = reward.state_values(f_BTV, "max")
    there = torch.ones(1, 10)
    for k in (1, 2, 4, 8):
        ours = reward.returns(reward.rewards(taken, values, there, k), there, k)
        before = taken.clone()
        before[:, : 10 - k] -= values[:, k:]
        for t in range(10 - k - 1, -1, -1):
            before[:, t] += before[:, t + k]
        excess = (before - ours)[0]
        places = int((excess.abs() > 1e-4).sum())
        missing = float(values[0, -1] - taken[0, -1]) if places else 0.0
        say(
            3,
            f"KETCHUP, K = {k}: of 10 returns, without the last regret ({missing:.2f})",
            str(places),
            "0",
        )


def ratios() -> None:
    config = configuration()
    tokenizer = student.load_tokenizer(config)
    model = student.load(config)
    literals = jsonl.load(project.path("data/literals/validation.jsonl"), LiteralText)[:32]
    ids = tokenizer([student_prompt.prompt(tokenizer, one.text) for one in literals])["input_ids"]
    settings = config.sample.model_copy(update={"top_k": 50, "top_p": 1.0})
    answers = decoding.write(model, tokenizer, ids, settings, range(len(ids)))
    with torch.no_grad():
        logits = answer_logits(model, ids, answers, tokenizer.pad_token_id)
    taken = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row) for row in answers], batch_first=True
    )
    there = (
        torch.nn.utils.rnn.pad_sequence([torch.ones(len(row)) for row in answers], batch_first=True)
        > 0
    )
    logps = logits.log_softmax(-1).gather(-1, taken[..., None])[..., 0]
    mass = torch.exp(logps - reward.drawn_from(logits, taken, 50))[there]
    low, high = np.percentile(mass.numpy(), [5, 95])
    say(
        4,
        "LLMR, pi / mu of a student's own samples of the top 50 (5 to 95 %)",
        "1.00",
        f"{low:.2f} to {high:.2f}",
    )
    ours = reward.advantages(
        torch.tensor([[18.0]]), torch.zeros(1, 1), torch.tensor([[8.0]]), 20.0, 1.0
    )
    say(
        4,
        "LLMR, weight of a token with ratio 8 and return 0.9 of denom",
        f"{8 * 0.9:.1f}",
        f"{ours.item():.1f}",
    )


# --- 5, 6, 8 and 11


def lengths() -> None:
    tokenizer = student.load_tokenizer(configuration())
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<|end|> $A <|end|>", special_tokens=[("<|end|>", tokenizer.eos_token_id)]
    )
    texts = [" ".join(["the"] * count) for count in (10, 13)]
    before = [len(tokenizer(text)["input_ids"]) for text in texts]
    after = [student_prompt.answer_length(tokenizer, text) for text in texts]
    say(
        5,
        "ratio of 10 tokens to 13, with bos and eos around each",
        *(f"{a / b:.2f}" for a, b in (before, after)),
    )


def positions() -> None:
    from trl.experimental.gkd import GKDTrainer

    from pipeline.training.logits.gkd import Trainer

    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=50,
            n_embd=32,
            n_layer=2,
            n_head=4,
            n_positions=64,
            bos_token_id=1,
            eos_token_id=1,
        )
    ).eval()
    inputs = {
        "prompts": torch.tensor([[0, 0, 0, 0, 7, 9], [3, 4, 5, 6, 7, 8]]),
        "prompt_attention_mask": torch.tensor([[0, 0, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1]]),
    }
    settings = GenerationConfig(max_new_tokens=8, do_sample=False, eos_token_id=1, pad_token_id=0)
    apart = []
    ours = SimpleNamespace(
        args=SimpleNamespace(seed=0),
        state=SimpleNamespace(global_step=0),
        processing_class=SimpleNamespace(pad_token_id=0, eos_token_id=1),
    )
    for ids, mask, _ in (
        GKDTrainer.generate_on_policy_outputs(model, inputs, settings),
        Trainer.generate_on_policy_outputs(ours, model, inputs, settings),
    ):
        row = mask[0].bool()
        with torch.no_grad():
            together = model(input_ids=ids, attention_mask=mask).logits[0][row]
            alone = model(input_ids=ids[:1, row]).logits[0]
        apart.append(f"{float((together - alone).abs().max()):.1e}")
    say(6, "gkd, GPT-2's logits of a short prompt beside a long one, from alone", *apart)


def rankings() -> None:
    torch.manual_seed(0)
    tokens = torch.full((64, 6), 20)
    logps = -20.0 - 4 * torch.rand(64, 6)
    batch = preference.Batch(
        logps, logps, tokens, tokens - 1, torch.zeros(64, dtype=torch.bool), 20.0
    )
    ours = float(preference.brio(batch, preference.Weights(0.1)).mean())
    before = 0.0
    p = logps / tokens
    for distance in range(1, 6):
        margin = math.log(2 * distance) / 20.0
        before += float(torch.relu(p[:, distance:] - p[:, :-distance] + margin).sum(1).mean())
    say(8, "brio's loss on rankings of six", f"{before:.3f}", f"{ours:.3f}")


class SameJokes:
    """An encoder by which every sentence is as near to its own joke as to the one with the same
    words."""

    def encode(self, texts: list[str], **_: Any) -> np.ndarray:
        places = [int(text.split()[-1]) // 2 for text in texts]
        return np.eye(50)[places]


def recall() -> None:
    rows = [
        make(
            Retrieval,
            literal_id=f"l_{n}",
            literal=f"l {n}",
            joke_ids=[f"j_{n}"],
            jokes=[f"j {n}"],
            scores=None,
        )
        for n in range(100)
    ]
    ours = encoder.figures(encoder.ranks(SameJokes(), rows, []))["recall_at_1"]
    say(11, "recall@1 where each joke is there twice, about two sentences", "1.00", f"{ours:.2f}")


def main() -> None:
    say(0, "", "before", "now")
    full_fine_tuning()
    quantized_adapters()
    steps()
    ratios()
    lengths()
    positions()
    rankings()
    recall()


if __name__ == "__main__":
    main()
