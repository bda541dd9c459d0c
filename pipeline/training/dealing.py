"""How rows are dealt out to processes that train together, so that together they are as one.

transformers and accelerate give every process equally many rows: where they do not divide, some of
the first are taken again, at the end of each epoch and of each evaluation. Here the last batch of
an epoch is split as evenly as it goes, and every process evaluates all that is held out.
"""

from collections.abc import Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import BatchSampler
from transformers import TrainerCallback
from transformers.trainer_pt_utils import LengthGroupedSampler

from pipeline.training import world
from pipeline.writing import new_file


class Dealt(BatchSampler):
    """One process's batches of a sampler's.

    Each is one of so many that one process would have in a row. The last of an epoch may have fewer
    rows; only where fewer rows than processes are left are some of them taken twice.
    """

    def __init__(self, rows: BatchSampler) -> None:
        super().__init__(rows.sampler, rows.batch_size, rows.drop_last)

    def __len__(self) -> int:
        each = self.batch_size * world.size()
        number = len(cast(Sized, self.sampler))
        return number // each if self.drop_last else -(-number // each)

    def __iter__(self) -> Iterator[list[int]]:
        size = world.size()
        rows: list[int] = []
        for row in self.sampler:
            rows.append(row)
            if len(rows) == self.batch_size * size:
                start = self.batch_size * world.place()
                yield rows[start : start + self.batch_size]
                rows = []
        if rows and not self.drop_last:
            own = rows[world.place() :: size]
            yield own or [rows[world.place() % len(rows)]]


class GroupedByLength(LengthGroupedSampler):
    """transformers' sampler, whose order a training that goes on draws again as it was.

    It is drawn by torch's own generator, whose state at the beginning of an epoch is kept.
    """

    def __init__(self, sampler: LengthGroupedSampler, folder: Path) -> None:
        # rows of one step are of like length, whoever takes them
        super().__init__(sampler.batch_size * world.size(), lengths=sampler.lengths)
        self.folder = folder
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        path = self.folder / f"epoch-{self.epoch}.rng.pt"
        kept = path.exists()
        world.together()  # nobody finds what another writes now
        if kept:
            torch.set_rng_state(torch.load(path))
        elif world.first():
            self.folder.mkdir(parents=True, exist_ok=True)
            with new_file(path) as file:
                torch.save(torch.get_rng_state(), file)
        return super().__iter__()


def deal_out(trainer: Any) -> None:
    """Have a trainer's processes take their rows as `Dealt` says, and evaluate each by itself."""
    sampler_of = trainer._get_train_sampler

    def sampler(*arguments: Any) -> Any:
        found = sampler_of(*arguments)
        if type(found) is LengthGroupedSampler:
            return GroupedByLength(found, Path(trainer.args.output_dir))
        return found

    trainer._get_train_sampler = sampler
    if world.size() == 1:
        return
    _deal_training(trainer)
    _evaluate_alone(trainer)


def _deal_training(trainer: Any) -> None:
    accelerator = trainer.accelerator
    prepare = accelerator.prepare
    gather = accelerator.gather_for_metrics
    loader_of = trainer.get_train_dataloader

    def prepared(loader: Any, **_: Any) -> Any:
        if type(loader.batch_sampler) is not BatchSampler:  # one that deals out by itself
            return prepare(loader)
        loader.__dict__["batch_sampler"] = Dealt(loader.batch_sampler)
        config = accelerator.dataloader_config
        return prepare_data_loader(
            loader,
            accelerator.device,
            num_processes=1,
            process_index=0,
            put_on_device=True,
            rng_types=["torch"],  # by which rows are grouped
            use_seedable_sampler=config.use_seedable_sampler,
            data_seed=config.data_seed,
            non_blocking=config.non_blocking,
        )

    def dealt() -> Any:
        with _replaced(accelerator, "prepare", prepared):
            return loader_of()

    def gathered(values: Any, *arguments: Any, **more: Any) -> Any:
        """What TRL logs of a step, of an epoch's last batch too, of which some have fewer rows."""
        if not (trainer.model.training and accelerator.gradient_state.end_of_dataloader):
            return gather(values, *arguments, **more)
        if isinstance(values, tuple):
            return tuple(gathered(value) for value in values)
        each = world.of_each(values.reshape(-1).cpu())
        return torch.cat(each).to(values.device)

    trainer.get_train_dataloader = dealt
    accelerator.gather_for_metrics = gathered


def _evaluate_alone(trainer: Any) -> None:
    accelerator = trainer.accelerator
    evaluate = trainer.evaluate
    loader_of = trainer.get_eval_dataloader
    gather_for_metrics = type(accelerator).gather_for_metrics

    def prepared(loader: Any, **_: Any) -> Any:
        return prepare_data_loader(
            loader, accelerator.device, num_processes=1, process_index=0, put_on_device=True
        )

    def whole(*arguments: Any, **more: Any) -> Any:
        with _replaced(accelerator, "prepare", prepared):
            return loader_of(*arguments, **more)

    def own(values: Any, *arguments: Any, **more: Any) -> Any:
        return gather_for_metrics(accelerator, values, *arguments, **more)

    def alone(*arguments: Any, **more: Any) -> Any:
        with (
            world.alone(),
            _replaced(accelerator, "gather", lambda values: values),
            _replaced(accelerator, "gather_for_metrics", own),
        ):
            return evaluate(*arguments, **more)

    trainer.get_eval_dataloader = whole
    trainer.evaluate = alone
    trainer.callback_handler.callbacks.insert(0, SameFigures())


class SameFigures(TrainerCallback):
    """Has the processes choose by the figures of the first, before any callback reads them.

    Each evaluates all that is held out, and GPUs of two kinds may differ in a last digit.
    """

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any
    ) -> None:
        metrics |= world.of_first(metrics)
        logged = state.log_history[-1]
        logged |= {key: value for key, value in metrics.items() if key in logged}


@contextmanager
def _replaced(of: Any, name: str, value: Any) -> Iterator[None]:
    """Within, an object's method is another."""
    before = vars(of).get(name)
    setattr(of, name, value)
    try:
        yield
    finally:
        delattr(of, name)
        if before is not None:
            setattr(of, name, before)
