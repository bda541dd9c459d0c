"""TRL's DPOTrainer, with a record of which step saw which preference. Imports torch."""

import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from trl import DPOTrainer

from pipeline.progress import Progress
from pipeline.training.margins import Scores, Seen


class PreferenceTrainer(DPOTrainer):
    """DPOTrainer that writes down which step saw which row."""

    def __init__(self, *, name: str, **arguments: Any) -> None:
        rows = sum(len(arguments[part] or ()) for part in ("train_dataset", "eval_dataset"))
        self._reference = (
            None if sys.stderr.isatty() else Progress(f"{name}, reference", rows)
        )  # there TRL has a bar
        super().__init__(**arguments)
        self._reference = None
        self.seen = Seen(Path(self.args.output_dir) / "steps.jsonl")
        self._places: dict[int, list[int]] = defaultdict(list)
        for place, row in enumerate(self.train_dataset):
            chosen, rejected = (
                row["prompt_ids"] + row["chosen_ids"],
                row["prompt_ids"] + row["rejected_ids"],
            )
            self._places[_key(chosen, rejected)].append(place)

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> Any:
        found = super().compute_ref_log_probs(model, inputs)
        if self._reference:
            self._reference.advance(rows=len(found[0]))
        return found

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        if model.training:
            self.seen.note(self.state.global_step + 1, self._rows(inputs))
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def _rows(self, inputs: dict[str, Any]) -> list[int]:
        sequences = [
            ids[mask.bool()].tolist()
            for ids, mask in zip(
                inputs["input_ids"].cpu(), inputs["attention_mask"].cpu(), strict=True
            )
        ]
        half = len(sequences) // 2
        pairs = zip(sequences[:half], sequences[half:], strict=True)
        return [
            place
            for chosen, rejected in pairs
            for place in self._places.get(_key(chosen, rejected), [])
        ]

    def log_probabilities(self, dataset: Any, name: str) -> Scores:
        """log p(chosen | prompt) and log p(rejected | prompt) of each row, in nats, by the model as
        it is now."""
        loader = DataLoader(
            dataset, batch_size=self.args.per_device_eval_batch_size, collate_fn=self.data_collator
        )
        found: list[tuple[float, float]] = []
        self.model.eval()
        with Progress(name, len(dataset)) as progress, torch.no_grad(), self.accelerator.autocast():
            for batch in loader:
                inputs = self._prepare_inputs(batch)
                labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
                inputs = {key: inputs[key] for key in ("input_ids", "attention_mask")}
                out = self.model(**inputs, labels=labels, use_cache=False, fused_lm_head=True)
                chosen, rejected = out.log_probs.sum(dim=1).chunk(2)
                found += zip(chosen.tolist(), rejected.tolist(), strict=True)
                progress.advance(rows=len(chosen))
        return found

    def before(self, dataset: Any, name: str) -> Scores:
        """log_probabilities of the starting student; TRL has them already where the reference is
        computed in advance.

        With ld_alpha TRL's are weighted, and are computed here without the weights.
        """
        if "ref_chosen_logps" in dataset.column_names and self.ld_alpha is None:
            return list(
                zip(dataset["ref_chosen_logps"], dataset["ref_rejected_logps"], strict=True)
            )
        return self.log_probabilities(dataset, name)


def _key(chosen: list[int], rejected: list[int]) -> int:
    return hash((tuple(chosen), tuple(rejected)))
