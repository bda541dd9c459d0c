"""Models and texts from outside: pickles, code, and every script."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from pipeline.models import student
from pipeline.rows.jsonl import write
from pipeline.rows.records import Joke, LiteralText
from pipeline.rows.row import make
from pipeline.runs.step import Step
from tests import ROOT
from tests.conftest import rows
from tests.small_run import run
from tests.synthetic import Synthetic

MICRO = ROOT / "data/students/micro"


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickled_weights_are_refused_and_never_unpickled(cli, small, tmp_path, data):
    folder = tmp_path / "student"
    shutil.copytree(MICRO, folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({**tensors, "bomb": Bomb(tmp_path / "exploded")}, folder / "pytorch_model.bin")
    run("teacher", "--run", "v1", "--config", small)
    said = cli("sft", "--run", "v1", "--config", small, "--set", f"student.model={folder}", code=8)
    assert "no weights in safetensors" in said
    assert not (tmp_path / "exploded").exists()


PARTS = "{% for part in messages[0].content %}{{ part.text }}{% endfor %}<|assistant|>"


def test_a_template_that_loses_the_sentence_is_refused_before_any_weights_are_loaded(
    cli, small, tmp_path, data, monkeypatch
):
    folder = tmp_path / "student"
    shutil.copytree(MICRO, folder)
    flags = ["--config", small, "--set", f"student.model={folder}", "--set", "literals.limit=8"]
    flags += ["--set", "sft.trainer.max_steps=1"]
    for stage in ("teacher", "sft"):
        run(stage, "--run", "v1", *flags)
    whole = (folder / "chat_template.jinja").read_text()
    monkeypatch.setattr(student, "load", lambda *_, **__: pytest.fail("a model was loaded"))
    for template in (PARTS, "{{ raise_exception('a system message, please') }}"):
        (folder / "chat_template.jinja").write_text(template)
        said = [
            cli("all", "--run", "new", *flags, code=8),
            cli("teacher", "--run", "new", *flags, code=8),
            cli("sft", "--run", "v1", *flags, "--force", code=8),
            cli("sample", "--run", "v1", *flags, "--set", "rounds=[{candidates='base'}]", code=8),
            cli("export", "--run", "v1", "--contestant", "sft", tmp_path / "out", code=8),
            cli("try", "--run", "v1", "The kettle is on.", code=8),
        ]
        for words in said:
            assert "its chat template " in words
            assert "mend its chat_template.jinja there" in words
        assert not (tmp_path / "out").exists()
    (folder / "chat_template.jinja").write_text(whole)


CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM
Path({mark!r}).touch()
class MyConfig(LlamaConfig):
    model_type = "mine"
class MyModel(LlamaForCausalLM):
    config_class = MyConfig
"""


def test_a_model_s_own_code_runs_only_where_the_config_says_so(
    cli, small, tmp_path, data, monkeypatch
):
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder, mark = tmp_path / "student", tmp_path / "ran"
    shutil.copytree(MICRO, folder)
    (folder / "code.py").write_text(CODE.format(mark=str(mark)))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "architectures": ["MyModel"]}
    config["auto_map"] = {"AutoConfig": "code.MyConfig", "AutoModelForCausalLM": "code.MyModel"}
    (folder / "config.json").write_text(json.dumps(config))
    run("teacher", "--run", "v1", "--config", small)
    flags = ["--config", small, "--set", f"student.model={folder}"]
    said = cli("sft", "--run", "v1", *flags, code=8)
    assert "student.trust_remote_code" in said
    assert not mark.exists()
    run(
        "sft",
        "--run",
        "v1",
        *flags,
        "--set",
        "student.trust_remote_code=true",
        "--set",
        "sft.trainer.max_steps=1",
    )
    assert mark.exists()


TEXTS = [
    "Naïve café 🤡👩‍👩‍👧 — “ha”",
    "שלום, מה שלומך? \u202bעברית\u202c",
    "two\nlines and\r\nthree",
    "a\u2028b\u2029c\x85d\ttab",
    'back\\slash "quote" {{ x }} {% y %} <b>&amp;</b>',
    "日本語の冗談です 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 e\u0301",
    "[bold]x[/bold] \x1b[31m \x00 nul",
    "Answer: 1\nAnswer: 1",
]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """A run whose teacher wrote every script, taken through the real stages."""
    data = tmp_path_factory.mktemp("scripts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HUMOR_DISTILL_DATA", str(data))
        made = Synthetic("v1", 40)
        splits = ["train"] * 6 + ["validation", "test"]
        made.literals = [
            make(LiteralText, text=f"{text} {n}", split=splits[n % 8], source="test", licence="CC0")
            for n, text in enumerate(TEXTS * 5)
        ]
        write(data / "literals-v1.jsonl", made.literals)
        jokes = [
            make(
                Joke,
                literal_id=row.id,
                literal=row.text,
                text=f"{row.text}! {TEXTS[(n + i) % 8]} {i}",
                author="teacher",
                index=i,
                call=None,
            )
            for n, row in enumerate(made.literals)
            for i in range(2)
        ]
        made.step(Step("teacher"), jokes)
        flags = [
            "--set",
            'rounds=[{candidates="teacher"}]',
            "--set",
            "dpo.length_ratio=[0.1, 10.0]",
        ]
        for stage in ("sft", "dpo"):
            flags += [
                "--set",
                f"{stage}.trainer.max_steps=1",
                "--set",
                f"{stage}.trainer.learning_rate=1e-5",
            ]
        for stage in ("sample", "critic", "sft", "dpo", "evaluate"):
            run(stage, "--run", "v1", *(flags if stage == "sample" else []))
    return data, made.literals, jokes


def test_every_script_survives_every_stage_byte_for_byte(scripts, monkeypatch):
    data, literals, jokes = scripts
    folder = data / "runs/v1"
    text_of = {joke.id: joke.text for joke in jokes}
    literal_of = {literal.id: literal.text for literal in literals}
    samples, verdicts = (
        rows(folder / "round-1/sample/records.jsonl"),
        rows(folder / "round-1/critic/records.jsonl"),
    )
    assert len(samples) == 70  # train and validation
    assert all(row["text"] == text_of[row["id"]] for row in samples)
    assert len(verdicts) == 35
    assert all(
        (row["a_text"], row["b_text"]) == (text_of[row["a"]], text_of[row["b"]]) for row in verdicts
    )
    assert all(row["literal"] == literal_of[row["literal_id"]] for row in verdicts)
    for name in ("sft/records.jsonl", "sft/validation.jsonl"):
        assert all(row["completion"] == text_of[row["joke_id"]] for row in rows(folder / name))
        assert all(literal_of[row["literal_id"]] in row["prompt"] for row in rows(folder / name))
    preferences = rows(folder / "round-1/dpo/records.jsonl") + rows(
        folder / "round-1/dpo/validation.jsonl"
    )
    assert preferences
    assert all(row["chosen"] == text_of[row["chosen_id"]] for row in preferences)
    judged = rows(folder / "evaluate/records.jsonl")
    assert {row["b_text"] for row in judged} <= set(text_of.values())
    assert all(row["literal"] == literal_of[row["literal_id"]] for row in judged)
    monkeypatch.setenv("HUMOR_DISTILL_DATA", str(data))
    assert "evaluate: whole" in run("verify", "--run", "v1")


def test_no_joke_talks_the_critic_into_a_verdict(scripts):
    """The stand-in reads the quoted texts alone: every verdict has a reason and both orders are
    valid."""
    data, _, _ = scripts
    for row in rows(data / "runs/v1/round-1/critic/records.jsonl"):
        assert row["outcome"] != "failed"
        assert all(order["reason"] for order in row["orders"])


def test_a_literal_longer_than_the_student_s_context_is_left_out_of_every_stage_with_its_reason(
    small, tmp_path, data
):
    long = " ".join(["word"] * 700)
    texts = [
        (f"The kettle in room {n} broke on Monday.", split)
        for n, split in enumerate(["train"] * 8 + ["test"] * 4)
    ]
    texts += [(f"{long} one.", "train"), (f"{long} two.", "test")]
    write(
        tmp_path / "literals.jsonl",
        [
            make(LiteralText, text=text, split=split, source="test", licence="CC0")
            for text, split in texts
        ],
    )
    flags = [
        "--set",
        f"literals.files=['{tmp_path}/literals.jsonl']",
        "--set",
        'evaluate.splits=["test"]',
    ]
    run("all", "--run", "v1", "--config", small, *flags)
    folder = data / "runs/v1"
    dropped = {
        step: json.loads((folder / step / "manifest.json").read_text())["dropped"]
        for step in ("sft", "evaluate")
    }
    assert dropped["sft"] == {"longer than max_length": 3}
    assert dropped["evaluate"] == {}
    lost = [row for row in rows(folder / "evaluate/records.jsonl") if row["a_text"] == ""]
    assert [row["outcome"] for row in lost] == ["b"] * len(lost)
    figures = rows(folder / "evaluate/metrics.jsonl")
    judged = [row for row in figures if row["vs"] is None and row["contestant"] != "teacher"]
    assert sum(row["no_answer"] for row in judged) == len(lost) >= 3
    assert {row["n"] + row["failed"] for row in judged} == {
        row["n"] for row in figures if row["vs"]
    }
    samples = [row["reason"] for row in rows(folder / "round-1/sample/dropped.jsonl")]
    assert set(samples) <= {"longer than the student's context", "cut at max_new_tokens"}
    assert samples.count("longer than the student's context") == 3
    assert "evaluate: whole" in run("verify", "--run", "v1")
