"""The trainer of LLMR and KETCHUP: the student writes, the teacher's logits say what it is worth.

TRL's GRPOTrainer, whose loss takes an advantage for each token, knows no encoder-decoder; this one
trains both kinds.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch

from pipeline.config.student import Generation
from pipeline.config.whole import Config
from pipeline.models import decoding, student_prompt
from pipeline.models.likelihood import answer_logits, padded
from pipeline.models.teacher import Teacher, shared_vocabulary
from pipeline.rows.row import content_id, make
from pipeline.rows.training import Rollout
from pipeline.runs.files import ROLLOUTS
from pipeline.training.candidate_trainer import without_dropout
from pipeline.training.figure_trainer import FigureTrainer
from pipeline.training.logits.behaviour import Behaviour
from pipeline.training.losses import reward

COPY = "behaviour.safetensors"
"""In a checkpoint, where the copy that samples is older than the student."""


class Worth(NamedTuple):
    """What a teacher makes of samples; all are (B, T)."""

    returns: torch.Tensor
    """In logits."""
    baseline: torch.Tensor
    """What is taken from them in each state."""
    logps: torch.Tensor
    """The teacher's log-probabilities of the tokens, in nats."""
    there: torch.Tensor
    """Which tokens there are."""


class LlmrTrainer(FigureTrainer):
    """transformers' Trainer on prompts alone.

    Each batch is answered by the student, and its answers are scored by the teacher.
    """

    def __init__(self, *, config: Config, teacher: Teacher, **arguments: Any) -> None:
        settings: Any = config.llmr
        self.settings: Any = settings
        self.seed = config.seed
        self.teacher = teacher
        self.vocabulary = shared_vocabulary(config, "llmr")
        self.sampling = Generation(
            temperature=1.0,
            top_p=1.0,
            top_k=settings.top_k,
            max_new_tokens=settings.max_new_tokens,
        )
        without_dropout(arguments["model"])
        super().__init__(data_collator=_collate, **arguments)
        self.rollouts = Path(self.args.output_dir) / ROLLOUTS
        self.behaviour = Behaviour(self.model)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        settings = self.settings
        answers, drawn_BT = self._written(model, inputs)
        worth = self._worth(inputs, answers)
        with self.accelerator.autocast():
            logits_BTV = self._logits(model, inputs, answers).float()
        logps_BT = self._logps(logits_BTV, answers)
        if drawn_BT is None:
            drawn_BT = self._drawn(logits_BTV.detach(), answers)
        finished_B = self._finished(model, answers)
        ended_B = finished_B.to(logps_BT.device)
        counts_BT = worth.there * ended_B[:, None]
        ratio_BT = torch.exp(logps_BT.detach() - drawn_BT)
        advantages_BT = reward.advantages(
            worth.returns, worth.baseline, ratio_BT, settings.denom, settings.clip
        )
        loss = reward.policy_gradient(logps_BT, advantages_BT, worth.there, ended_B)
        if settings.entropy:
            entropy_BT = reward.entropy(logits_BTV)
            mean_entropy = (entropy_BT * counts_BT).sum() / counts_BT.sum().clamp(min=1)
            loss = loss - settings.entropy * mean_entropy
        else:
            entropy_BT = reward.entropy(logits_BTV.detach())
        counted = counts_BT.bool()
        self.note(
            model.training,
            reward=worth.returns[counted],
            teacher_logp=worth.logps[counted],
            entropy=entropy_BT[counted],
            ratio=ratio_BT[counted],
            finished=finished_B,
            length=worth.there.sum(1),
        )
        if model.training:
            self._keep(inputs["literals"], answers, finished_B.tolist(), worth)
        return (loss, {"logps": logps_BT}) if return_outputs else loss

    def _logits(self, model: Any, inputs: dict[str, Any], answers: list[list[int]]) -> torch.Tensor:
        """The model's logits for each token of its answers: (B, T, V)."""
        pad = self.processing_class.pad_token_id
        return answer_logits(model, inputs["prompts"], answers, pad)

    def _finished(self, model: Any, answers: list[list[int]]) -> torch.Tensor:
        """Which answers ended by themselves, in tokens that the teacher knows: (B,)."""
        stops = set(student_prompt.stop_tokens(model, self.processing_class))
        return torch.tensor([ids[-1] in stops and max(ids) < self.vocabulary for ids in answers])

    def _written(
        self, model: Any, inputs: dict[str, Any]
    ) -> tuple[list[list[int]], torch.Tensor | None]:
        """A sample for each prompt, and how likely the copy that wrote it drew each token (B, T).

        In nats; None where the student itself wrote it.
        """
        training = model.training
        step = self.state.global_step
        every = self.settings.sync_every
        copied = training and step % every > 0
        if training and every > 1 and not copied:
            self.behaviour.update(step)
        drawn_BT = None
        with self.behaviour.instead(copied), self.accelerator.autocast(), torch.no_grad():
            model.eval()
            seeds = [_seed(self.seed, literal, step * training) for literal in inputs["literals"]]
            answers = decoding.write(
                model, self.processing_class, inputs["prompts"], self.sampling, seeds
            )
            if copied:
                drawn_BT = self._drawn(self._logits(model, inputs, answers), answers)
            model.train(training)
        return answers, drawn_BT

    def _drawn(self, logits_BTV: torch.Tensor, answers: list[list[int]]) -> torch.Tensor:
        """log mu of each token in nats, where these are the logits that it was drawn by: (B, T)."""
        logits_BTV = logits_BTV.float()
        taken_BT = self._ids(answers, logits_BTV)
        return reward.drawn_from(logits_BTV, taken_BT, self.settings.top_k)

    def _worth(self, inputs: dict[str, Any], answers: list[list[int]]) -> Worth:
        """What the teacher's logits say of the samples."""
        settings = self.settings
        views = [list(view) for view in zip(*inputs["views"], strict=True)]
        logits_BTV = self.teacher.logits(views, answers, self.vocabulary)
        _, there_BT = padded([[1] * len(ids) for ids in answers], 0, logits_BTV.device)
        f_BTV = reward.action_values(logits_BTV)
        taken_BT = f_BTV.gather(-1, self._ids(answers, f_BTV)[..., None])[..., 0]
        values_BT = reward.state_values(f_BTV, settings.value)
        given_BT = reward.rewards(taken_BT, values_BT, there_BT, settings.k_step)
        baseline_BT = torch.zeros_like(taken_BT)
        if settings.baseline == "softmax":
            baseline_BT = reward.state_values(f_BTV, "softmax")
        return Worth(
            returns=reward.returns(given_BT, there_BT, settings.k_step),
            baseline=baseline_BT,
            logps=self._logps(logits_BTV, answers),
            there=there_BT,
        )

    def _ids(self, answers: list[list[int]], like: torch.Tensor) -> torch.Tensor:
        """Token ids (B, T), cut to the size of `like` (B, T, V): what is above is unfinished."""
        ids_BT, _ = padded(answers, 0, like.device)
        return ids_BT.clamp(max=like.shape[-1] - 1)

    def _logps(self, logits_BTV: torch.Tensor, answers: list[list[int]]) -> torch.Tensor:
        """log p of each token in nats: (B, T)."""
        logps_BTV = logits_BTV.float().log_softmax(-1)
        return logps_BTV.gather(-1, self._ids(answers, logps_BTV)[..., None])[..., 0]

    def _keep(
        self, literals: list[str], answers: list[list[int]], finished: list[bool], worth: Worth
    ) -> None:
        """Write the batch's rollouts, each on a line of its own even after one that a kill tore."""
        texts = self.processing_class.batch_decode(answers, skip_special_tokens=True)
        tokens_B = worth.there.sum(1)
        rewards = ((worth.returns * worth.there).sum(1) / tokens_B).tolist()
        logps = ((worth.logps * worth.there).sum(1) / tokens_B).tolist()
        tokens = tokens_B.tolist()
        self.rollouts.parent.mkdir(parents=True, exist_ok=True)
        with self.rollouts.open("ab") as file:
            for number, literal in enumerate(literals):
                row = make(
                    Rollout,
                    literal_id=literal,
                    step=self.state.global_step + 1,
                    text=texts[number].strip(),
                    tokens=tokens[number],
                    finished=finished[number],
                    reward=rewards[number],
                    teacher_logp=logps[number],
                )
                file.write(b"\n" + row.line())

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.settings.sync_every > 1:
            output = Path(self._get_output_dir(trial=trial))
            folder = output / f"checkpoint-{self.state.global_step}"
            folder.mkdir(parents=True, exist_ok=True)
            self.behaviour.save(folder / COPY)
        super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        copy = Path(resume_from_checkpoint) / COPY
        if copy.exists():
            self.behaviour.load(copy)


def _collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "size": torch.zeros(len(rows)),  # by which transformers counts a batch
        "literals": [row["literal_id"] for row in rows],
        "prompts": [row["prompt"] for row in rows],
        "views": [row["views"] for row in rows],
    }


def _seed(*parts: Any) -> int:
    """What a sample is drawn with.

    It depends on literal and step alone, so that a resumed training draws the same.
    """
    return int(content_id("s", *parts)[2:], 16)
