"""TRL's GKDTrainer on a run's rows: the student learns the teacher's distribution over tokens."""

import logging
from typing import Any

import torch
from trl.experimental.gkd import GKDTrainer

from pipeline.execution.context import Context
from pipeline.models import likelihood, student
from pipeline.models.likelihood import IGNORED, padded
from pipeline.models.teacher import Teacher
from pipeline.runs.hashes import folder_hash
from pipeline.training.fit import data_set, finish, without_held_out
from pipeline.training.losses.divergence import mean_total_variation

# TRL 1.16 passes what it deprecates
logging.getLogger("transformers.generation.utils").setLevel(logging.ERROR)


def train(context: Context, arguments: Any, tokenizer: Any) -> None:
    """Divergence from the teacher.

    It is taken on the step's rows, and on what the student writes to their prompts. Weights, curve
    and facts go to the context.
    """
    config = context.config
    settings: Any = config.gkd
    start = context.inputs["student"]
    without_held_out(arguments, context, context.held_out)
    weights = student.weights(context.run, start)
    model = student.load(config, weights, train=True)
    teacher = Teacher(config, "gkd", tokenizer)
    context.facts["start"] = {"step": str(start), "sha256": folder_hash(weights)}
    context.facts["teacher"] = teacher.identity
    kind = TotalVariation if settings.divergence == "tvd" else GKDTrainer
    trainer = kind(
        model=model,
        teacher_model=teacher.model,
        args=arguments,
        train_dataset=data_set(context.records, context),
        eval_dataset=data_set(context.held_out, context),
        data_collator=Collator(tokenizer),
        processing_class=tokenizer,
    )
    trainer.model_accepts_loss_kwargs = (
        False  # it would divide by the tokens of the teacher's jokes, not the student's
    )
    finish(trainer, context, tokenizer)


class TotalVariation(GKDTrainer):
    """GKDTrainer with the total variation distance."""

    @staticmethod
    def generalized_jsd_loss(
        student_logits: torch.Tensor,
        teacher_logits: torch.Tensor,
        labels: torch.Tensor,
        num_items_in_batch: Any = None,
        **_: Any,
    ) -> torch.Tensor:
        return mean_total_variation(student_logits, teacher_logits, labels, num_items_in_batch)


class Collator:
    """Rows (prompt, completion) as GKDTrainer takes them.

    Padded on the right, and the prompts alone on the left.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, rows: list[dict[str, str]]) -> dict[str, torch.Tensor]:
        pad = self.tokenizer.pad_token_id
        turned: list[list[int]] = []
        ids: list[list[int]] = []
        labels: list[list[int]] = []
        for row in rows:
            encoded = likelihood.encode(
                self.tokenizer, row["prompt"], [row["completion"]], separate=False
            )
            prompt = encoded["prompt"]
            [answer] = encoded["answers"]
            turned.append(prompt[::-1])
            ids.append(prompt + answer)
            labels.append([IGNORED] * len(prompt) + answer)
        ids_BT, mask_BT = padded(ids, pad, "cpu")
        labels_BT, _ = padded(labels, IGNORED, "cpu")
        turned_BS, asked_BS = padded(turned, pad, "cpu")
        return {
            "input_ids": ids_BT,
            "attention_mask": mask_BT,
            "labels": labels_BT,
            "prompts": turned_BS.flip(1),
            "prompt_attention_mask": asked_BS.flip(1),
        }
