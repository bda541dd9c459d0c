"""Encoder-decoders learn what they are shown, and a bare script on our rows gives our losses."""

import json
import random

import datasets
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)
from trl import DPOConfig

from pipeline.rows.row import make
from pipeline.rows.training import Preference
from pipeline.training.candidate_trainer import CandidateTrainer, examples
from pipeline.training.losses.preference import Weights
from tests.conftest import rows
from tests.models import small
from tests.small_run import run
from tests.training.test_feedback import bare_options, losses

WORDS = "kettle lamp clock chair door radio window shelf fan stove".split()


def preferences(count, seed):
    """The better answer ends in one way and the worse one in another, after words at random."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        word, other = draw.sample(WORDS, 2)
        values = {
            "literal_id": f"l_{number}",
            "verdict_id": f"v_{number}",
            "chosen_id": "j_1",
            "rejected_id": "j_2",
        }
        found.append(
            make(Preference, **values, prompt=f"Say {word}", **ends(other), p=0.9, tie=False)
        )
    return found


def ends(word):
    return {"chosen": f"{word} indeed", "rejected": f"{word} never"}


def trained(model, words, tmp_path, terms, steps=60, rate=3e-3):
    arguments = DPOConfig(
        output_dir=str(tmp_path / "out"),
        max_steps=steps,
        per_device_train_batch_size=16,
        learning_rate=rate,
        logging_steps=1,
        logging_first_step=True,
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
        save_strategy="no",
        seed=0,
    )
    trainer = CandidateTrainer(
        weights=Weights(0.1),
        terms=terms,
        name="toy",
        model=model,
        args=arguments,
        train_dataset=examples(preferences(200, 0), words, separate=True),
        eval_dataset=examples(preferences(50, 1), words, separate=True),
        processing_class=words,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trainer


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("terms", [[("sigmoid", 1.0)], [("sft", 1.0), ("brio", 100.0)]])
@pytest.mark.parametrize("make_model", [small.bart, small.t5])
def test_a_toy_preference_is_learned(make_model, terms, adapter, tmp_path):
    folder = make_model(tmp_path / "model", 64)
    words = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32)
    if adapter:
        lora = LoraConfig(
            task_type="SEQ_2_SEQ_LM", r=16, lora_alpha=64, target_modules="all-linear"
        )
        model = get_peft_model(model, lora)
    trainer = trained(model, words, tmp_path, terms, rate=1e-2 if adapter else 3e-3)
    history = trainer.state.log_history
    if terms == [("sigmoid", 1.0)]:
        assert history[0]["loss"] == pytest.approx(0.6931, abs=1e-4)
    first, last = history[0]["loss"], sum(row["loss"] for row in history[-6:-1]) / 5
    assert last < 0.7 * first
    assert trainer.evaluate()["eval_rewards/accuracies"] > 0.8


@pytest.mark.parametrize("make_model", [small.bart, small.t5])
def test_a_bare_script_on_our_rows_gives_our_losses(inside, make_model, tmp_path):
    folder = make_model(tmp_path / "model")
    table = "{max_steps=6, per_device_train_batch_size=8, learning_rate=3e-3, logging_steps=1}"
    settings = ["--set", f"student.model={folder}", "--set", f"sft.trainer={table}"]
    name = make_model.__name__ + "-bare"
    run("sft", "--run", name, "--from", "v1", *settings)
    words = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32)
    ours = inside / f"runs/{name}"
    options = bare_options(
        json.loads((ours / "config.json").read_text())["sft"]["trainer"], tmp_path
    )
    data = datasets.load_dataset(
        "json", data_files=str(ours / "sft/records.jsonl"), split="train", cache_dir=str(tmp_path)
    )
    trainer = Seq2SeqTrainer(
        model=model,
        args=Seq2SeqTrainingArguments(**options),
        train_dataset=data.map(
            lambda row: words(row["prompt"], text_target=row["completion"]),
            remove_columns=data.column_names,
        ),
        data_collator=DataCollatorForSeq2Seq(words, model),
        processing_class=words,
    )
    trainer.train()
    assert losses(trainer.state.log_history) == pytest.approx(
        losses(rows(ours / "sft/curve.jsonl")), abs=1e-5
    )


@pytest.mark.parametrize("make_model", [small.bart, small.t5])
def test_imitation_learns_to_copy_a_word(make_model, tmp_path):
    """Not only its loss falls: the student then writes the word."""
    folder = make_model(tmp_path / "model", 64)
    words = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32)
    draw = random.Random(0)
    data = [words(f"Say {word}", text_target=word) for word in draw.choices(WORDS, k=300)]
    options = {
        "num_train_epochs": 12,
        "per_device_train_batch_size": 16,
        "learning_rate": 3e-3,
        "save_strategy": "no",
    }
    trainer = Seq2SeqTrainer(
        model=model,
        args=Seq2SeqTrainingArguments(**bare_options(options, tmp_path)),
        train_dataset=data,
        data_collator=DataCollatorForSeq2Seq(words, model),
        processing_class=words,
    )
    trainer.train()
    from pipeline.config.student import Evaluate
    from pipeline.models.generation import generate

    settings = Evaluate(max_new_tokens=6)
    assert settings.beams(encoder_decoder=True) == 5
    said = generate(
        model.eval(), words, [f"Say {word}" for word in WORDS], settings, range(len(WORDS))
    )
    assert sum(text == word for (text, _), word in zip(said, WORDS, strict=True)) >= 8
