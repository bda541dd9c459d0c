"""A trainer for what TRL's lacks: losses of our own, encoder-decoders, rankings of k answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.data import DataLoader

from pipeline.models import likelihood, quickest, student_prompt
from pipeline.models.likelihood import Candidates
from pipeline.progress import Progress
from pipeline.rows.training import Preference, Ranking
from pipeline.training import launched, world
from pipeline.training.figure_trainer import FigureTrainer
from pipeline.training.losses.preference import LOSSES, Batch, Weights, ordered_pairs, weighted
from pipeline.training.margins import SeenSteps

Example = dict[str, Any]
"""prompt and answers as token ids, best first; the answers' lengths without what begins or ends
them; tie; weight; once they are known, the answers' ref_logps."""


def examples(rows: Sequence[Preference | Ranking], tokenizer: Any, separate: bool) -> list[Example]:
    """Rows as token ids; `separate` for an encoder-decoder."""
    examples = []
    for place, row in enumerate(rows):
        if isinstance(row, Ranking):
            answers = row.candidates
            tie = False
        else:
            answers = [row.chosen, row.rejected]
            tie = row.tie
        encoded = likelihood.encode(tokenizer, row.prompt, answers, separate)
        lengths = [student_prompt.answer_length(tokenizer, text) for text in answers]
        known = {"place": place, "tie": tie, "weight": row.weight, "lengths": lengths}
        examples.append({**known, **encoded})
    return examples


def without_dropout(model: torch.nn.Module) -> None:
    """Turn dropout off where it is a module, and where a module passes on a number, as in BART."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if isinstance(value, float) and (name.endswith("dropout") or name == "layerdrop"):
                setattr(module, name, 0.0)


class CandidateTrainer(FigureTrainer):
    """transformers' Trainer on prompts with several answers each, with TRL's DPOConfig.

    `terms` are the losses and their weights in the sum, `weights` the numbers inside of them. The
    reference's log-probabilities are computed once, before training, from the model that it is
    given.
    """

    def __init__(
        self, *, weights: Weights, terms: list[tuple[str, float]], name: str, **arguments: Any
    ) -> None:
        model = arguments["model"]
        args = arguments["args"]
        self.weights = weights
        self.terms = terms
        self.name = name
        self.pad = arguments["processing_class"].pad_token_id
        if args.disable_dropout:
            without_dropout(model)
        super().__init__(data_collator=self.collate, **arguments)
        launched.whole()
        longest = max([*self.train_dataset, *(self.eval_dataset or [])], key=_length)
        tried = Candidates([longest["prompt"]], [longest["answers"]])
        self.score = quickest.scorer(model, tried, self.pad)
        self.mean_tokens = _mean_tokens(self.train_dataset)
        self.seen = SeenSteps(Path(args.output_dir), world.place())
        for dataset in filter(None, (self.train_dataset, self.eval_dataset)):
            scores = self.log_probabilities(dataset, f"{name}, reference")
            for row, logps in zip(dataset, scores, strict=True):
                row["ref_logps"] = logps

    def collate(self, rows: list[Example]) -> dict[str, Any]:
        """A batch; tensors are (B,) but ref_logps, which is (B, K)."""
        batch: dict[str, Any] = {
            "place": torch.tensor([row["place"] for row in rows]),
            "tie": torch.tensor([row["tie"] for row in rows]),
            "weight": torch.tensor([row["weight"] for row in rows]),
            "lengths": likelihood.padded([row["lengths"] for row in rows], 0, "cpu")[0],
            "prompts": [row["prompt"] for row in rows],
            "answers": [row["answers"] for row in rows],
        }
        if "ref_logps" in rows[0]:
            known = [torch.tensor(row["ref_logps"]) for row in rows]
            batch["ref_logps"] = torch.nn.utils.rnn.pad_sequence(known, batch_first=True)
        return batch

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        if model.training:
            self.seen.note(self.state.global_step + 1, inputs["place"].tolist())
        candidates = Candidates(inputs["prompts"], inputs["answers"])
        own = self.accelerator.unwrap_model(model)
        # the encoder is called by itself, and so not under the model's own autocast
        with self.accelerator.autocast():
            logps = world.through(model, own, lambda: self.score(own, candidates, self.pad))
        batch = Batch(
            logps=logps,
            ref_logps=inputs["ref_logps"].to(logps.device),
            tokens=candidates.tokens.to(logps.device),
            lengths=inputs["lengths"].to(logps.device),
            tie=inputs["tie"].to(logps.device),
            mean_tokens=self.mean_tokens,
            weight=inputs["weight"].to(logps.device),
        )
        self._report(batch, model.training)
        terms = [(LOSSES[name], factor * _joined(name, batch)) for name, factor in self.terms]
        loss = weighted(batch, self.weights, terms)
        return (loss, {"logps": logps}) if return_outputs else loss

    def _report(self, batch: Batch, training: bool) -> None:
        """The figures that TRL's DPO logs, under its names.

        The reward of a likelihood ranking is its length-normalised log-probability; accuracy is the
        share of pairs in the right order.
        """
        with torch.no_grad():
            reward_BK = self.args.beta * (batch.logps - batch.ref_logps)
            if any(name == "brio" for name, _ in self.terms):
                reward_BK = batch.logps / batch.tokens.clamp(min=1)
            last = (batch.tokens > 0).sum(1, keepdim=True) - 1
            chosen = reward_BK[:, 0]
            rejected = reward_BK.gather(1, last)[:, 0]
            pair = ordered_pairs(batch, self.weights.length_ratio) & ~batch.tie[:, None, None]
            figures = {
                "rewards/chosen": chosen,
                "rewards/rejected": rejected,
                "rewards/accuracies": (reward_BK[:, :, None] > reward_BK[:, None, :])[pair].float(),
                "rewards/margins": chosen - rejected,
                "logps/chosen": batch.chosen,
                "logps/rejected": batch.logps.gather(1, last)[:, 0],
            }
        self.note(training, **figures)

    def before(self, dataset: list[Example], name: str) -> list[list[float]]:
        """log_probabilities of the starting student, which is the reference."""
        return [row["ref_logps"] for row in dataset]

    def log_probabilities(self, dataset: list[Example], name: str) -> list[list[float]]:
        """log p(answer | prompt) of every row's answers, in nats, by the model as it is now."""
        own = world.share(dataset)
        batches: Any = DataLoader(
            cast(Any, own),
            batch_size=self.args.per_device_eval_batch_size,
            collate_fn=self.collate,
        )
        scores: list[list[float]] = []
        self.model.eval()
        with Progress(name, len(own)) as progress, torch.no_grad(), self.accelerator.autocast():
            for batch in batches:
                candidates = Candidates(batch["prompts"], batch["answers"])
                padded = self.score(self.model, candidates, self.pad).tolist()
                for row, answers in zip(padded, candidates.answers, strict=True):
                    scores.append(row[: len(answers)])
                progress.advance(rows=len(padded))
        return world.whole(scores, len(dataset))


def _joined(name: str, batch: Batch) -> float:
    """What a loss is multiplied by so that the mean over the processes is one over all their rows.

    That of sft is one over all tokens of their best answers.
    """
    counted = batch.tie.new_tensor(len(batch.tie), dtype=torch.long)
    if name == "sft":
        counted = batch.tokens[~batch.tie, 0].sum()
    return world.weight(counted).item()


def _length(row: Example) -> int:
    """Tokens of a prompt and all its answers."""
    return len(row["prompt"]) + sum(map(len, row["answers"]))


def _mean_tokens(rows: list[Example]) -> float:
    """Tokens of an answer."""
    lengths: list[int] = []
    for row in rows:
        lengths += map(len, row["answers"])
    return sum(lengths) / len(lengths)
