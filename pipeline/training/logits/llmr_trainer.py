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
from pipeline.models.likelihood import answer_states, padded
from pipeline.models.sampler import seed
from pipeline.models.teacher import Teacher, shared_vocabulary
from pipeline.models.tiles import in_tiles
from pipeline.rows.row import make
from pipeline.rows.training import Rollout
from pipeline.runs.files import ROLLOUTS
from pipeline.training import world
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
        self.rollouts = Path(self.args.output_dir) / f"{world.place()}-{ROLLOUTS}"
        self.behaviour = Behaviour(self.model)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        settings = self.settings
        own = self.accelerator.unwrap_model(model)
        answers, copys_BT = self._written(own, inputs)
        worth = self._worth(inputs, answers)
        logps_BT, own_BT, entropy_BT = world.through(
            model, own, lambda: self._likelihood(own, inputs, answers)
        )
        drawn_BT = own_BT if copys_BT is None else copys_BT
        finished_B = self._finished(own, answers)
        ended_B = finished_B.to(logps_BT.device)
        counts_BT = worth.there * ended_B[:, None]
        ratio_BT = torch.exp(logps_BT.detach() - drawn_BT)
        advantages_BT = reward.advantages(
            worth.returns, worth.baseline, ratio_BT, settings.denom, settings.clip
        )
        joined = world.weight(counts_BT.sum())
        # the loss is a mean over tokens times the share of answers that ended: of all processes
        ended = world.fraction(ended_B)  # every process takes part in it
        share = ended / ended_B.float().mean() if ended_B.any() else 1.0
        loss = reward.policy_gradient(logps_BT, advantages_BT, worth.there, ended_B)
        loss = loss * joined * share
        if settings.entropy:
            mean_entropy = (entropy_BT * counts_BT).sum() / counts_BT.sum().clamp(min=1)
            loss = loss - settings.entropy * joined * mean_entropy
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

    def _likelihood(
        self, model: Any, inputs: dict[str, Any], answers: list[list[int]]
    ) -> tuple[torch.Tensor, ...]:
        """Of each token of the model's answers, (B, T), in nats: log pi, log mu and the entropy.

        mu is what the model itself would draw by. The entropy has a gradient where it has a weight.
        """
        settings = self.settings
        pad = self.processing_class.pad_token_id

        def read(values_MD: torch.Tensor, taken_M: torch.Tensor) -> tuple[torch.Tensor, ...]:
            logits_MV = states.logits(values_MD).float()
            drawn_M = reward.drawn_from(logits_MV.detach(), taken_M, settings.top_k)
            with torch.set_grad_enabled(torch.is_grad_enabled() and settings.entropy > 0):
                entropy_M = reward.entropy(logits_MV)
            return _logps(logits_MV, taken_M), drawn_M, entropy_M

        with self.accelerator.autocast():
            states = answer_states(model, inputs["prompts"], answers, pad)
            taken_BT, there_BT = padded(answers, 0, states.values.device)
            return in_tiles(read, states.vocabulary, there_BT, states.values, taken_BT)

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
            seeds = [seed(self.seed, literal, step * training) for literal in inputs["literals"]]
            answers = decoding.write(
                model, self.processing_class, inputs["prompts"], self.sampling, seeds
            )
            if copied:
                _, drawn_BT, _ = self._likelihood(model, inputs, answers)
            model.train(training)
        return answers, drawn_BT

    def _worth(self, inputs: dict[str, Any], answers: list[list[int]]) -> Worth:
        """What the teacher's logits say of the samples."""
        settings = self.settings
        views = [list(view) for view in zip(*inputs["views"], strict=True)]

        def read(logits_MV: torch.Tensor, taken_M: torch.Tensor) -> tuple[torch.Tensor, ...]:
            f_MV = reward.action_values(logits_MV)
            taken_f_M = f_MV.gather(-1, taken_M[:, None])[:, 0]
            values_M = reward.state_values(f_MV, settings.value)
            baseline_M = torch.zeros_like(taken_f_M)
            if settings.baseline == "softmax":
                baseline_M = reward.state_values(f_MV, "softmax")
            return taken_f_M, values_M, baseline_M, _logps(logits_MV, taken_M)

        taken_BT, values_BT, baseline_BT, logps_BT = self.teacher.figures(
            views, answers, self.vocabulary, read
        )
        _, there_BT = padded(answers, 0, taken_BT.device)
        given_BT = reward.rewards(taken_BT, values_BT, there_BT, settings.k_step)
        returns_BT = reward.returns(given_BT, there_BT, settings.k_step)
        return Worth(returns_BT, baseline_BT, logps_BT, there_BT)

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
        if self.settings.sync_every > 1 and self.args.should_save:
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


def _logps(logits_MV: torch.Tensor, taken_M: torch.Tensor) -> torch.Tensor:
    """log p of each token in nats: (M,)."""
    return logits_MV.log_softmax(-1).gather(-1, taken_M[:, None])[:, 0]


def _collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "size": torch.zeros(len(rows)),  # by which transformers counts a batch
        "literals": [row["literal_id"] for row in rows],
        "prompts": [row["prompt"] for row in rows],
        "views": [row["views"] for row in rows],
    }
