"""TRL's DPOTrainer, with a record of which step saw which preference."""

import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from trl import DPOTrainer

from pipeline.models.likelihood import IGNORED
from pipeline.progress import Progress
from pipeline.training import world
from pipeline.training.margins import Scores, SeenSteps


class PreferenceTrainer(DPOTrainer):
    """DPOTrainer that writes down which step saw which row."""

    def __init__(self, *, name: str, **arguments: Any) -> None:
        self._reference: Progress | None = None
        if not sys.stderr.isatty():  # there TRL has a bar
            rows = sum(len(arguments[part] or ()) for part in ("train_dataset", "eval_dataset"))
            self._reference = Progress(f"{name}, reference", rows)
        super().__init__(**arguments)
        self._reference = None
        self.seen = SeenSteps(Path(self.args.output_dir), world.place())
        self._places: dict[int, list[int]] = defaultdict(list)
        for place, row in enumerate(self.train_dataset):
            prompt = row["prompt_ids"]
            key = _key(prompt + row["chosen_ids"], prompt + row["rejected_ids"])
            self._places[key].append(place)

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> Any:
        chosen_and_rejected = super().compute_ref_log_probs(model, inputs)
        if self._reference:
            self._reference.advance(rows=len(chosen_and_rejected[0]))
        return chosen_and_rejected

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        if model.training:
            self.seen.note(self.state.global_step + 1, self._rows(inputs))
        self.loss_weights = self._joined(inputs)
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def _joined(self, inputs: dict[str, Any]) -> list[float]:
        """The losses' weights, with which the mean over the processes is one over all their rows.

        That of sft is one over all tokens of their chosen answers.
        """
        own = self.args.loss_weights or [1.0] * len(self.loss_types)
        if world.size() == 1:
            return own
        chosen_BT, _ = inputs["completion_mask"].chunk(2)
        rows = world.weight(chosen_BT.new_tensor(len(chosen_BT))).item()
        tokens = world.weight(chosen_BT.sum()).item()
        return [
            weight * (tokens if name == "sft" else rows)
            for name, weight in zip(self.loss_types, own, strict=True)
        ]

    def _rows(self, inputs: dict[str, Any]) -> list[int]:
        """The places of a batch's rows; the chosen answers come first, then the rejected."""
        ids_BT = inputs["input_ids"].cpu()
        mask_BT = inputs["attention_mask"].cpu().bool()
        sequences = [ids[mask].tolist() for ids, mask in zip(ids_BT, mask_BT, strict=True)]
        half = len(sequences) // 2
        places = []
        for chosen, rejected in zip(sequences[:half], sequences[half:], strict=True):
            places += self._places.get(_key(chosen, rejected), [])
        return places

    def log_probabilities(self, dataset: Any, name: str) -> Scores:
        """log p(chosen | prompt) and log p(rejected | prompt) of each row, in nats.

        By the model as it is now.
        """
        own = dataset.select(world.share(range(len(dataset))))
        loader = DataLoader(
            own, batch_size=self.args.per_device_eval_batch_size, collate_fn=self.data_collator
        )
        scores: list[tuple[float, float]] = []
        self.model.eval()
        with Progress(name, len(own)) as progress, torch.no_grad(), self.accelerator.autocast():
            for batch in loader:
                inputs = self._prepare_inputs(batch)
                labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, IGNORED)
                out = self.model(
                    input_ids=inputs["input_ids"],
                    attention_mask=inputs["attention_mask"],
                    labels=labels,
                    use_cache=False,
                    fused_lm_head=True,
                )
                chosen, rejected = out.log_probs.sum(dim=1).chunk(2)
                scores += zip(chosen.tolist(), rejected.tolist(), strict=True)
                progress.advance(rows=len(chosen))
        return world.whole(scores, len(dataset))

    def before(self, dataset: Any, name: str) -> Scores:
        """log_probabilities of the starting student.

        TRL has them where the reference is computed in advance; but with ld_alpha TRL's are
        weighted, and are computed here without the weights.
        """
        if "ref_chosen_logps" in dataset.column_names and self.ld_alpha is None:
            return list(
                zip(dataset["ref_chosen_logps"], dataset["ref_rejected_logps"], strict=True)
            )
        return self.log_probabilities(dataset, name)


def _key(chosen: list[int], rejected: list[int]) -> int:
    return hash((tuple(chosen), tuple(rejected)))
