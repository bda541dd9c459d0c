"""TRL's GKDTrainer on a run's rows: the student learns the teacher's distribution over tokens. Imports torch."""

import logging
from pathlib import Path
from typing import Any

from pipeline import student  # isort: skip - first, as it sets the environment of the libraries below

import torch
from trl.experimental.gkd import GKDTrainer

from pipeline import likelihood, teachers, trainers
from pipeline.context import Context
from pipeline.likelihood import IGNORED, padded
from pipeline.recipe import folder_hash

logging.getLogger("transformers.generation.utils").setLevel(logging.ERROR)  # TRL 1.16 passes what it deprecates


def train(context: Context, arguments: Any, tokenizer: Any, held_out: Path | None) -> None:
    """Divergence from the teacher on the rows written so far, and on what the student writes to their prompts.

    Weights, curve and facts go to the context.
    """
    config, start = context.config, context.inputs["student"]
    settings: Any = config.gkd
    trainers.without_held_out(arguments, context, held_out)
    weights = student.weights(context.run, start)
    model = student.load(config, weights, train=True)
    teacher = teachers.Teacher(config, "gkd", tokenizer)
    context.facts["start"] = {"step": str(start), "sha256": folder_hash(weights)}
    context.facts["teacher"] = teacher.identity
    kind = TotalVariation if settings.divergence == "tvd" else GKDTrainer
    trainer = kind(
        model=model,
        teacher_model=teacher.model,
        args=arguments,
        train_dataset=trainers.data_set(context.written, context),
        eval_dataset=trainers.data_set(held_out, context),
        data_collator=Collator(tokenizer),
        processing_class=tokenizer,
    )
    trainer.model_accepts_loss_kwargs = False  # it would divide by the tokens of the teacher's jokes, not the student's
    trainers.finish(trainer, context, tokenizer)


class TotalVariation(GKDTrainer):
    """GKDTrainer with the total variation distance (f-distill, Wen et al., arXiv 2307.15190)."""

    @staticmethod
    def generalized_jsd_loss(
        student_logits: torch.Tensor,
        teacher_logits: torch.Tensor,
        labels: torch.Tensor,
        num_items_in_batch: Any = None,
        **_: Any,
    ) -> torch.Tensor:
        """1/2 sum |student - teacher| over the vocabulary, a mean over labelled tokens; logits (B, T, V)."""
        there = labels != IGNORED
        apart = total_variation(student_logits[there], teacher_logits[there])
        return apart.sum() / (there.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch)


def total_variation(logits: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """1/2 sum |softmax(logits) - softmax(others)|: (..., V) to (...), from 0 to 1."""
    return 0.5 * (logits.softmax(-1) - others.softmax(-1)).abs().sum(-1)


class Collator:
    """Rows (prompt, completion) as GKDTrainer takes them: padded on the right, and prompts alone on the left."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, rows: list[dict[str, str]]) -> dict[str, torch.Tensor]:
        encoded = [
            likelihood.encode(self.tokenizer, row["prompt"], [row["completion"]], separate=False) for row in rows
        ]
        pad = self.tokenizer.pad_token_id
        prompts, answers = [row["prompt"] for row in encoded], [row["answers"][0] for row in encoded]
        pairs = list(zip(prompts, answers, strict=True))
        ids_BT, mask_BT = padded([prompt + answer for prompt, answer in pairs], pad, "cpu")
        labels_BT, _ = padded([[IGNORED] * len(prompt) + answer for prompt, answer in pairs], IGNORED, "cpu")
        turned_BS, asked_BS = padded([prompt[::-1] for prompt in prompts], pad, "cpu")
        return {
            "input_ids": ids_BT,
            "attention_mask": mask_BT,
            "labels": labels_BT,
            "prompts": turned_BS.flip(1),
            "prompt_attention_mask": asked_BS.flip(1),
        }
