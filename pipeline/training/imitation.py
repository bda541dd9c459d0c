"""Maximum likelihood: TRL's SFTTrainer, or transformers' Seq2SeqTrainer for an encoder-decoder."""

from typing import Any

from peft import LoraConfig, get_peft_model
from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, set_seed
from trl import SFTTrainer

from pipeline.config.whole import Config
from pipeline.execution.context import Context
from pipeline.models import student
from pipeline.runs.hashes import folder_hash
from pipeline.runs.step import Step
from pipeline.training.fit import data_set, finish, without_held_out
from pipeline.training.float32 import built
from pipeline.training.selection import stop_early


def train(context: Context, arguments: Any, tokenizer: Any, start: Step | None = None) -> None:
    """Maximum likelihood on the step's rows, from the untrained student or from a step's.

    TRL's SFTTrainer; for an encoder-decoder, which that would train on the wrong targets,
    transformers' Seq2SeqTrainer. Weights, curve and facts go to the context.
    """
    without_held_out(arguments, context, context.held_out)
    encoder_decoder = student.is_encoder_decoder(context.config)
    if start:
        weights = student.weights(context.run, start)
        model = student.load(context.config, weights, train=True)
        lora = None
        context.facts["start"] = {"step": str(start), "sha256": folder_hash(weights)}
    else:
        model = student.load(context.config, train=True)
        lora = _lora(context.config, encoder_decoder)
        context.facts["start"] = {"student": context.config.student.model}
    if lora:
        set_seed(context.config.seed)
        model = get_peft_model(model, lora)
    rows = data_set(context.records, context)
    held_out = data_set(context.held_out, context)
    if encoder_decoder:
        trainer: Any = Seq2SeqTrainer(
            model=model,
            args=arguments,
            train_dataset=_sources_and_targets(rows, tokenizer),
            eval_dataset=_sources_and_targets(held_out, tokenizer),
            data_collator=DataCollatorForSeq2Seq(tokenizer, model),
            processing_class=tokenizer,
        )
    else:
        trainer = built(
            SFTTrainer,
            model=model,
            args=arguments,
            train_dataset=rows,
            eval_dataset=held_out,
            processing_class=tokenizer,
        )
    if start:
        stop_early(context, trainer, tokenizer)
    finish(trainer, context, tokenizer)


def _sources_and_targets(rows: Any, tokenizer: Any) -> Any:
    """What an encoder-decoder reads and writes, as token ids."""
    if rows is None:
        return None
    return rows.map(
        lambda batch: tokenizer(batch["prompt"], text_target=batch["completion"]),
        batched=True,
        remove_columns=rows.column_names,
    )


def _lora(config: Config, encoder_decoder: bool) -> LoraConfig | None:
    if config.student.lora is None:
        return None
    task = "SEQ_2_SEQ_LM" if encoder_decoder else "CAUSAL_LM"
    return LoraConfig(task_type=task, **config.student.lora.model_dump())
