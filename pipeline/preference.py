"""TRL's DPOTrainer with what it lacks: losses of our own, and a record of what became of each preference.

Imports torch.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from trl import DPOTrainer

from pipeline import losses
from pipeline.config import TRL_LOSSES, Dpo
from pipeline.errors import StudentError
from pipeline.progress import Progress
from pipeline.records import Margin, Preference, make


def refused(arguments: Any) -> str | None:
    """What is wrong with a DPOConfig, or None; losses of our own are not mixed with those that only TRL has."""
    names = list(arguments.loss_type)
    if taken := (losses.LOSSES.keys() & TRL_LOSSES) - {"sigmoid", "sft"}:
        return f"pipeline/losses.py: {', '.join(sorted(taken))} is TRL's name for a loss of its own. Choose another."
    if unknown := set(names) - TRL_LOSSES - losses.LOSSES.keys():
        return f"unknown loss_type {sorted(unknown)}. Known: {', '.join(sorted(TRL_LOSSES | losses.LOSSES.keys()))}."
    if not TRL_LOSSES.issuperset(names) and not losses.LOSSES.keys() >= set(names):
        mixable = ", ".join(losses.LOSSES)
        return f"loss_type {names}: a loss of pipeline/losses.py can be mixed with those that are there: {mixable}."
    plain = {"ld_alpha": None, "use_weighting": False, "f_divergence_type": "reverse_kl"}
    changed = [key for key, value in plain.items() if getattr(arguments, key) != value]
    if changed and not TRL_LOSSES.issuperset(names):
        return f"loss_type {names} of pipeline/losses.py knows no {', '.join(changed)}."
    return None


class PreferenceTrainer(DPOTrainer):
    """DPOTrainer that also takes the losses of pipeline/losses.py, and writes down which step saw which row."""

    def __init__(self, *, settings: Dpo, name: str, **arguments: Any) -> None:
        self.settings = settings
        rows = sum(len(arguments[part] or ()) for part in ("train_dataset", "eval_dataset"))
        self._reference = None if sys.stderr.isatty() else Progress(f"{name}, reference", rows)  # there TRL has a bar
        super().__init__(**arguments)
        self._reference = None
        if self.aux_loss_enabled and not TRL_LOSSES.issuperset(self.loss_types):
            raise StudentError(f"loss_type {self.loss_types} of pipeline/losses.py trains no mixture of experts.")
        self.steps_file = Path(self.args.output_dir) / "steps.jsonl"
        self._places: dict[int, list[int]] = defaultdict(list)
        for place, row in enumerate(self.train_dataset):
            chosen, rejected = row["prompt_ids"] + row["chosen_ids"], row["prompt_ids"] + row["rejected_ids"]
            self._places[_key(chosen, rejected)].append(place)

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> Any:
        found = super().compute_ref_log_probs(model, inputs)
        if self._reference:
            self._reference.advance(rows=len(found[0]))
        return found

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if model.training:
            self._note(inputs)
        if TRL_LOSSES.issuperset(self.loss_types):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        outputs = _forward(model, inputs)
        chosen, rejected = outputs.log_probs.sum(dim=1).chunk(2)
        if self.precompute_ref_logps:
            ref_chosen, ref_rejected = inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]
        else:
            ref_chosen, ref_rejected = self.compute_ref_log_probs(self.ref_model or model, inputs)
        tokens = inputs["completion_mask"][:, 1:].sum(dim=1).chunk(2)
        batch = losses.Batch(chosen, rejected, ref_chosen, ref_rejected, *tokens)
        weighted = zip(self.loss_types, self.loss_weights, strict=True)
        terms = [weight * losses.LOSSES[name](batch, self.beta, self.settings).mean() for name, weight in weighted]
        self._report(batch, "train" if model.training else "eval")
        loss = torch.stack(terms).sum()
        return (loss, outputs) if return_outputs else loss

    def _report(self, batch: losses.Batch, mode: str) -> None:
        """The figures that TRL's own losses log, under TRL's names."""
        chosen = self.beta * (batch.chosen - batch.ref_chosen).detach()
        rejected = self.beta * (batch.rejected - batch.ref_rejected).detach()
        figures = {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/accuracies": (chosen > rejected).float(),
            "rewards/margins": chosen - rejected,
            "logps/chosen": batch.chosen.detach(),
            "logps/rejected": batch.rejected.detach(),
        }
        for name, values in figures.items():
            self._metrics[mode][name].append(self.accelerator.gather(values).mean().item())

    def _note(self, inputs: dict[str, Any]) -> None:
        sequences = [
            ids[mask.bool()].tolist()
            for ids, mask in zip(inputs["input_ids"].cpu(), inputs["attention_mask"].cpu(), strict=True)
        ]
        half = len(sequences) // 2
        pairs = zip(sequences[:half], sequences[half:], strict=True)
        rows = [place for chosen, rejected in pairs for place in self._places.get(_key(chosen, rejected), [])]
        self.steps_file.parent.mkdir(parents=True, exist_ok=True)
        with self.steps_file.open("a") as file:
            file.write("\n" + json.dumps({"step": self.state.global_step + 1, "rows": rows}))

    def steps(self) -> dict[int, list[int]]:
        """The optimizer steps of each row, of all attempts; what a repeated step saw is the same."""
        found: dict[int, set[int]] = defaultdict(set)
        lines = self.steps_file.read_text().splitlines() if self.steps_file.exists() else []
        for line in lines:
            try:
                seen = json.loads(line)
            except ValueError:  # empty, or torn by a kill: its step is after the last checkpoint, and was repeated
                continue
            for place in seen["rows"]:
                found[place].add(seen["step"])
        return {place: sorted(steps) for place, steps in found.items()}

    def log_probabilities(self, dataset: Any, name: str) -> list[tuple[float, float]]:
        """log p(chosen | prompt) and log p(rejected | prompt) of each row, in nats, by the model as it is now."""
        loader = DataLoader(dataset, batch_size=self.args.per_device_eval_batch_size, collate_fn=self.data_collator)
        found: list[tuple[float, float]] = []
        self.model.eval()
        with Progress(name, len(dataset)) as progress, torch.no_grad(), self.accelerator.autocast():
            for batch in loader:
                inputs = self._prepare_inputs(batch)
                chosen, rejected = _forward(self.model, inputs).log_probs.sum(dim=1).chunk(2)
                found += zip(chosen.tolist(), rejected.tolist(), strict=True)
                progress.advance(rows=len(chosen))
        return found


def _forward(model: Any, inputs: dict[str, Any]) -> Any:
    """TRL's fused head: log_probs (2B, T - 1), 0 outside the answers; chosen first, then rejected."""
    labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    return model(**inputs, labels=labels, use_cache=False, fused_lm_head=True)


def _key(chosen: list[int], rejected: list[int]) -> int:
    return hash((tuple(chosen), tuple(rejected)))


Scored = list[tuple[float, float]]


def before(trainer: PreferenceTrainer, dataset: Any, name: str) -> Scored:
    """log_probabilities of the starting student; TRL has them already where the reference is computed in advance.

    With ld_alpha TRL's are weighted, and are computed here without the weights.
    """
    if "ref_chosen_logps" in dataset.column_names and trainer.ld_alpha is None:
        return list(zip(dataset["ref_chosen_logps"], dataset["ref_rejected_logps"], strict=True))
    return trainer.log_probabilities(dataset, name)


def margins(
    rows: list[Preference], held_out: bool, start: Scored, end: Scored, steps: dict[int, list[int]]
) -> Iterator[Margin]:
    """What learning did to each preference; `start` and `end` are log-probabilities in the order of rows."""
    for place, (row, first, last) in enumerate(zip(rows, start, end, strict=True)):
        yield make(
            Margin,
            literal_id=row.literal_id,
            preference_id=row.id,
            held_out=held_out,
            steps=[] if held_out else steps.get(place, []),
            chosen_before=first[0],
            rejected_before=first[1],
            chosen_after=last[0],
            rejected_after=last[1],
        )
