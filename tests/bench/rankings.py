"""BRIO on rankings of six candidates, in one pass and in six: `make bench-rankings`.

For each model: answer tokens per second and peak memory of a training step (forward, loss,
backward) on 8 prompts of 24 tokens with 6 answers of 20 to 28, when the six are scored together
(pipeline/models/likelihood.py) and when there is a forward pass of the plain model for each. The two take
turns, each in a process of its own; figures are medians of 3 turns.
"""

import json
import resource
import statistics
import subprocess
import sys
import time

PROMPTS, ANSWERS, STEPS, TURNS = 8, 6, 8, 3
MODELS = ("micro", "decoder-only, 50k words", "BART, 50k words")
WAYS = ("six passes", "one pass")


def build(name):
    import torch
    from transformers import (
        AutoModelForCausalLM,
        BartConfig,
        BartForConditionalGeneration,
        Qwen2Config,
        Qwen2ForCausalLM,
    )

    from tests import ROOT

    torch.manual_seed(0)
    if name == "micro":
        return AutoModelForCausalLM.from_pretrained(
            ROOT / "data/students/micro", dtype=torch.float32
        )
    if name.startswith("BART"):
        sizes = {
            f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in HALF.items()
        }
        return BartForConditionalGeneration(BartConfig(vocab_size=50265, d_model=256, **sizes))
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=50000,
            hidden_size=256,
            intermediate_size=704,
            num_hidden_layers=6,
            num_attention_heads=4,
            num_key_value_heads=2,
            tie_word_embeddings=True,
        )
    )


HALF = {"layers": 3, "attention_heads": 4, "ffn_dim": 1024}


def six_passes(model, candidates, pad):
    """(B, K) by the plain model, a forward pass for each place."""
    import torch

    from pipeline.models.likelihood import padded

    columns = []
    for place in range(ANSWERS):
        answers = [row[place] for row in candidates.answers]
        if model.config.is_encoder_decoder:
            ids, mask = padded(candidates.prompts, pad, model.device)
            labels, _ = padded(answers, -100, model.device)
            logits = model(input_ids=ids, attention_mask=mask, labels=labels).logits
        else:
            rows = [prompt + ids for prompt, ids in zip(candidates.prompts, answers, strict=True)]
            ids, mask = padded(rows, pad, model.device)
            labels, _ = padded(
                [[-100] * len(p) + a for p, a in zip(candidates.prompts, answers, strict=True)],
                -100,
                model.device,
            )
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
            labels = labels[:, 1:]
        token = logits.log_softmax(-1).gather(2, labels.clamp(min=0)[..., None])[..., 0]
        columns.append((token * (labels != -100)).sum(1))
    return torch.stack(columns, 1)


def child(name, way):
    """One turn; prints tokens per second and the peak memory of the steps in MiB."""
    import torch

    from pipeline.models import memory
    from pipeline.models.likelihood import Candidates, scorer
    from pipeline.training.candidate_trainer import without_dropout
    from pipeline.training.losses import preference

    memory.keep_memory(0)
    draw = torch.Generator().manual_seed(0)

    def ids(least, most):
        return torch.randint(
            5, 4000, (int(torch.randint(least, most + 1, (1,), generator=draw)),), generator=draw
        ).tolist()

    batches = [
        Candidates(
            [ids(24, 24) for _ in range(PROMPTS)],
            [[ids(20, 28) for _ in range(ANSWERS)] for _ in range(PROMPTS)],
        )
        for _ in range(STEPS)
    ]
    cuda = torch.cuda.is_available()
    model = build(name).to("cuda" if cuda else "cpu").train()
    without_dropout(model)  # as the trainer does
    score = (
        six_passes
        if way == "six passes"
        else scorer(model, Candidates(batches[0].prompts[:1], batches[0].answers[:1]), 1)
    )
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = (
        torch.cuda.memory_allocated()
        if cuda
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    began, tokens = time.perf_counter(), 0
    for batch in batches:
        logps = score(model, batch, 1)
        count = batch.tokens.to(logps.device)
        tie = torch.zeros(PROMPTS, dtype=torch.bool, device=logps.device)
        rows = preference.Batch(logps, logps.detach(), count, tie, 24.0)
        (
            preference.sft(rows, preference.Weights(0.1))
            + 100 * preference.brio(rows, preference.Weights(0.1))
        ).mean().backward()
        tokens += int(count.sum())
    seconds = time.perf_counter() - began
    after = (
        torch.cuda.max_memory_allocated()
        if cuda
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    print(
        json.dumps(
            {
                "rate": tokens / seconds,
                "memory": (after - before) / 2**20,
                "first": logps[0].tolist(),
            }
        )
    )


def main():
    if len(sys.argv) == 3:
        child(*sys.argv[1:])
        return
    print(f"{'model':<26}{'':<12}{'tokens/s':>10}{'MiB':>8}")
    for name in MODELS:
        turns = {way: [] for way in WAYS}
        for _ in range(TURNS):
            for way in WAYS:
                command = [sys.executable, "-m", "tests.bench.rankings", name, way]
                said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                turns[way].append(json.loads(said.splitlines()[-1]))
        found = {
            way: {
                key: statistics.median(turn[key] for turn in turns[way])
                for key in ("rate", "memory")
            }
            for way in WAYS
        }
        for way in WAYS:
            print(f"{name:<26}{way:<12}{found[way]['rate']:>10,.0f}{found[way]['memory']:>8,.0f}")
        plain, ours = found["six passes"], found["one pass"]
        print(
            f"{'':<26}{ours['rate'] / plain['rate']:.2f} times as fast, with "
            f"{ours['memory'] / plain['memory']:.2f} of "
            "the memory"
        )


if __name__ == "__main__":
    main()
