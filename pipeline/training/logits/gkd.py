"""TRL's GKDTrainer on a run's rows: the student learns the teacher's distribution over tokens."""

import logging
from random import Random
from typing import Any

import torch
from trl.experimental.gkd import GKDTrainer

from pipeline.config.student import Generation
from pipeline.config.whole import Config
from pipeline.execution.context import Context
from pipeline.models import decoding, likelihood, student, student_prompt, teacher
from pipeline.models.likelihood import IGNORED, padded
from pipeline.models.sampler import seed
from pipeline.models.teacher import Teacher
from pipeline.models.tiles import each, states
from pipeline.runs.hashes import folder_hash
from pipeline.training import world
from pipeline.training.fit import data_set, finish, without_held_out
from pipeline.training.float32 import built
from pipeline.training.losses.divergence import mean_total_variation
from pipeline.training.selection import stop_early

# TRL 1.16 passes what it deprecates
logging.getLogger("transformers.generation.utils").setLevel(logging.ERROR)


NEVER = -1.0
"""A share of which TRL, which compares it with a number from 0, never takes any."""
TOO_LONG = "longer than the student's or the teacher's context"


def without_room(
    config: Config, arguments: Any, tokenizer: Any, literals: dict[str, str]
) -> list[str]:
    """The ids of the literals, given as texts by id, that leave too little room for an answer.

    An answer of the student's or, with seq_kd, the teacher's takes up to max_new_tokens.
    """
    if not arguments.lmbda and not arguments.seq_kd:
        return []
    student_room = student_prompt.room(config)
    teacher_room = teacher.teacher_room(config, "gkd")
    without = []
    for literal, text in literals.items():
        tokens = student_prompt.length(tokenizer, student_prompt.prompt(tokenizer, text))
        if min(student_room(tokens), teacher_room(tokens)) < arguments.max_new_tokens:
            without.append(literal)
    return without


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
    taught_by = Teacher(config, "gkd", tokenizer)
    context.facts["start"] = {"step": str(start), "sha256": folder_hash(weights)}
    context.facts["teacher"] = taught_by.identity
    kind = TotalVariation if settings.divergence == "tvd" else Trainer
    trainer = built(
        kind,
        model=model,
        teacher_model=taught_by.model,
        args=arguments,
        train_dataset=data_set(context.records, context),
        eval_dataset=data_set(context.held_out, context),
        data_collator=Collator(tokenizer),
        processing_class=tokenizer,
    )
    trainer.model_accepts_loss_kwargs = (
        False  # it would divide by the tokens of the teacher's jokes, not the student's
    )
    stop_early(context, trainer, tokenizer)
    finish(trainer, context, tokenizer)


def writes_at(step: int, seed: int, share: float) -> bool:
    """Whether the student writes what this step learns from, as it does in a share of them."""
    return Random(f"{seed} {step}").random() < share


class Trainer(GKDTrainer):
    """GKDTrainer for models that count positions from the first token, as GPT-2 does.

    Its divergence, taken a tile of places at a time.
    """

    lmbda: float

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """A sum over the labelled places, by their number or by `num_items_in_batch`: a scalar.

        Their number is that of all processes' places, by the mean over the processes.
        """
        plain = self.accelerator.unwrap_model(model)
        loss = world.through(model, plain, lambda: self._divergence(plain, inputs))
        there = (inputs["labels"][:, 1:] != IGNORED).sum()
        if num_items_in_batch is None:
            loss = loss / there.clamp(min=1) * world.weight(there)
        else:
            loss = loss / num_items_in_batch
        return (loss, {}) if return_outputs else loss

    def _divergence(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """Summed over the labelled places: a scalar."""
        given = {key: inputs[key] for key in ("input_ids", "attention_mask")}
        own = states(model, **given)
        self.teacher_model.eval()
        with torch.no_grad():
            taught = states(self.teacher_model, **given)

        def read(
            own_MD: torch.Tensor, taught_MD: torch.Tensor, labels_M: torch.Tensor
        ) -> tuple[torch.Tensor]:
            with torch.no_grad():
                teachers_MV = taught.logits(taught_MD)
            apart = self.generalized_jsd_loss(
                student_logits=own.logits(own_MD),
                teacher_logits=teachers_MV,
                labels=labels_M,
                beta=self.beta,
                num_items_in_batch=1,
            )
            return (apart,)

        labels_BT = inputs["labels"][:, 1:]
        there_BT = labels_BT != IGNORED
        parts = each(
            read, own.vocabulary, there_BT, own.values[:, :-1], taught.values[:, :-1], labels_BT
        )
        return sum((part for (part,) in parts), torch.zeros((), device=labels_BT.device))

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """The loss of a batch, a scalar, on what the student writes in `lmbda` of the steps.

        One coin is tossed a step (Agarwal et al., arXiv 2306.13649, algorithm 1), whatever its
        batch is made of.
        """
        share: float = self.lmbda
        writes = writes_at(self.state.global_step, self.args.seed, share)
        self.lmbda = 1.0 if writes else NEVER
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        self.lmbda = share
        return loss

    def generate_on_policy_outputs(
        self, model: Any, inputs: dict[str, Any], generation_config: Any
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What the student, or with seq_kd the teacher, writes: each (B, T), padded on the right.

        A row's draws depend on its prompt and the step alone, not on the rows or the process
        beside it. TRL pads on the left and gives its models no positions, and by themselves they
        count that padding.
        """
        tokenizer = self.processing_class
        asked = zip(inputs["prompts"], inputs["prompt_attention_mask"].bool(), strict=True)
        prompts = [ids_S[there_S].tolist() for ids_S, there_S in asked]
        settings = Generation(
            temperature=generation_config.temperature,
            top_p=1.0,
            max_new_tokens=generation_config.max_new_tokens,
        )
        step = self.state.global_step
        seeds = [seed(self.args.seed, step, prompt) for prompt in prompts]
        answers = decoding.write(model, tokenizer, prompts, settings, seeds)
        rows = list(zip(prompts, answers, strict=True))
        device = inputs["prompts"].device
        whole = [prompt + answer for prompt, answer in rows]
        ids_BT, mask_BT = padded(whole, tokenizer.pad_token_id, device)
        answered = [[IGNORED] * len(prompt) + answer for prompt, answer in rows]
        labels_BT, _ = padded(answered, IGNORED, device)
        return ids_BT, mask_BT, labels_BT


class TotalVariation(Trainer):
    """The same with the total variation distance."""

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
