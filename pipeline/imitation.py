"""Maximum likelihood: TRL's SFTTrainer, or transformers' Seq2SeqTrainer for an encoder-decoder. Imports torch."""

from pathlib import Path
from typing import Any

from pipeline import student  # isort: skip - first, as it sets the environment of the libraries below

from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer
from trl import SFTTrainer

from pipeline import trainers
from pipeline.config import Config
from pipeline.context import Context
from pipeline.recipe import folder_hash
from pipeline.runs import Step


def train(context: Context, arguments: Any, tokenizer: Any, held_out: Path | None, start: Step | None = None) -> None:
    """Maximum likelihood on the rows written so far, from the untrained student or from a step's.

    TRL's SFTTrainer; for an encoder-decoder, which that would train on the wrong targets, transformers' Seq2SeqTrainer.
    Weights, curve and facts go to the context.
    """
    trainers.without_held_out(arguments, context, held_out)
    weights = student.weights(context.run, start) if start else None
    model = student.load(context.config, weights, train=True)
    context.facts["start"] = {"student": context.config.student.model}
    if start and weights:
        context.facts["start"] = {"step": str(start), "sha256": folder_hash(weights)}
    rows, held = trainers.data_set(context.written, context), trainers.data_set(held_out, context)
    lora = None if start else _lora(context.config, student.is_encoder_decoder(context.config))
    if student.is_encoder_decoder(context.config):
        trainer: Any = Seq2SeqTrainer(
            model=_adapted(model, lora, arguments),
            args=arguments,
            train_dataset=_sources_and_targets(rows, tokenizer),
            eval_dataset=_sources_and_targets(held, tokenizer),
            data_collator=DataCollatorForSeq2Seq(tokenizer, model),
            processing_class=tokenizer,
        )
    else:
        trainer = SFTTrainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            eval_dataset=held,
            processing_class=tokenizer,
            peft_config=lora,
        )
    trainers.finish(trainer, context, tokenizer)


def _sources_and_targets(rows: Any, tokenizer: Any) -> Any:
    """What an encoder-decoder reads and writes, as token ids."""
    if rows is None:
        return None
    return rows.map(
        lambda batch: tokenizer(batch["prompt"], text_target=batch["completion"]),
        batched=True,
        remove_columns=rows.column_names,
    )


def _lora(config: Config, encoder_decoder: bool = False) -> Any:
    if config.student.lora is None:
        return None
    from peft import LoraConfig

    task = "SEQ_2_SEQ_LM" if encoder_decoder else "CAUSAL_LM"
    return LoraConfig(task_type=task, **config.student.lora.model_dump())


def _adapted(model: Any, lora: Any, arguments: Any) -> Any:
    """The model with a new adapter, as TRL's trainers make it for themselves."""
    if lora is None:
        return model
    from peft import get_peft_model, prepare_model_for_kbit_training

    if getattr(model, "is_quantized", False):
        model = prepare_model_for_kbit_training(model, arguments.gradient_checkpointing)
    return get_peft_model(model, lora)
