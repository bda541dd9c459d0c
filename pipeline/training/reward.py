"""What people prefer, learned: TRL's RewardTrainer on pairs that they judged.

The loss is that of Bradley and Terry (1952), -log sigmoid(reward of chosen - reward of rejected).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trl import RewardConfig, RewardTrainer

from pipeline.config.whole import Config
from pipeline.errors import ConfigError
from pipeline.execution.context import Context
from pipeline.models import reward
from pipeline.rows.training import Comparison
from pipeline.training.arguments import build
from pipeline.training.fit import fit, save_weights

REFUSED = {
    "load_best_model_at_end": (
        "the held-out pairs tell how often it is right, and would tell too much of a step that "
        "they had chosen."
    ),
    "train_sampling_strategy": "a row is a pair, which has no one length to group by.",
    "model_init_kwargs": "the backbone is loaded as [reward_model] says.",
}
"""Keys of TRL's that its trainer cannot have here."""


def arguments(config: Config, folder: Path) -> RewardConfig:
    """[reward_model.trainer] as RewardConfig; ConfigError for what it does not take."""
    settings: Any = config.reward_model
    for key, why in REFUSED.items():
        if settings.trainer.get(key):
            raise ConfigError(f"[reward_model.trainer] {key}: {why}")
    built: RewardConfig = build(RewardConfig, config, settings.trainer, folder, "reward_model")
    return built


def train(
    context: Context, rows: Sequence[Comparison], held_out: Sequence[Comparison], tokenizer: Any
) -> None:
    """Train the backbone on rows; weights, curve and facts go to the context."""
    model = reward.load(context.config, tokenizer)
    trainer = RewardTrainer(
        model=model,
        args=arguments(context.config, context.folder),
        train_dataset=_read(rows, tokenizer),
        eval_dataset=_read(held_out, tokenizer),
        processing_class=tokenizer,
    )
    fit(trainer, context)

    def save(folder: Path) -> None:
        trainer.accelerator.unwrap_model(trainer.model).save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    save_weights(context, save, adapter=False)


def _read(rows: Sequence[Comparison], tokenizer: Any) -> Any:
    """The rows as tokens: a tokenizer without eos (BERT's) is one that TRL stumbles over."""
    from datasets import Dataset

    examples = []
    for row in rows:
        examples.append(
            {
                "chosen_ids": reward.tokens(tokenizer, row.literal, row.chosen),
                "rejected_ids": reward.tokens(tokenizer, row.literal, row.rejected),
            }
        )
    return Dataset.from_list(examples)
