"""What is taken away gives the same answers, and says where it comes from."""

import json
import re
import shutil

import datasets
import pytest
import torch
from huggingface_hub import DatasetCard, ModelCard
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from pipeline.__main__ import main
from pipeline.models import chat_template, student, student_prompt
from pipeline.rows.jsonl import write
from pipeline.rows.records import LiteralText
from pipeline.rows.row import make
from pipeline.runs.manifest import seal
from pipeline.terminal import CONTROL
from tests import ROOT
from tests.conftest import rows
from tests.small_run import STORIES, needs_stories, run

MICRO = ROOT / "data/students/micro"


def answers_of(folder, sentences):
    """What any transformers user gets from the folder: its chat template, its generation config."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    found = []
    for sentence in sentences:
        ask = [{"role": "user", "content": f"Say it with a joke: {sentence}"}]
        ids = tokenizer.apply_chat_template(
            ask, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.no_grad():
            out = model.generate(**ids)
        found.append(
            tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True).strip()
        )
    return found


def test_an_exported_student_gives_the_run_s_answers(inside, tmp_path):
    said = run("export", "--run", "v1", "--contestant", "round-1", tmp_path / "funny")
    assert said.endswith(f"{tmp_path / 'funny'}\n")
    answers = [
        row for row in rows(inside / "runs/v1/evaluate/answers.jsonl") if row["author"] == "round-1"
    ][:12]
    assert answers_of(tmp_path / "funny", [row["literal"] for row in answers]) == [
        row["text"] for row in answers
    ]
    card = ModelCard.load(tmp_path / "funny/README.md")
    assert card.data.license == "apache-2.0"
    metric = [
        row
        for row in rows(inside / "runs/v1/evaluate/metrics.jsonl")
        if row["contestant"] == "round-1"
    ][0]
    assert card.data.eval_results[0].metric_value == pytest.approx(metric["wtr"], abs=1e-4)
    for word in (
        "standin-teacher",
        "humor-distill (Apache-2.0)",
        "6 steps on",
        "## Limits",
        "greedy",
    ):
        assert word in card.text + (tmp_path / "funny/SERVING.md").read_text()
    assert str(tmp_path) not in card.text
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "funny").iterdir()} == {0o644}


def test_a_request_can_have_a_greedy_student_sampled_where_it_is_served(inside, tmp_path):
    """As `transformers serve` reads the key generation_config that SERVING.md names."""
    run("export", "--run", "v1", "--contestant", "sft", tmp_path / "funny")
    serving = (tmp_path / "funny/SERVING.md").read_text()
    given = json.loads(re.search(r"generation_config = '(.*?)'", serving)[1])
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "funny")
    assert model.generation_config.do_sample is False
    ids = torch.arange(5, 25)[None]
    drawn = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        config = GenerationConfig(**given, temperature=1.0, max_new_tokens=24)
        drawn.append(model.generate(ids, generation_config=config).tolist())
    assert drawn[0] != drawn[1]


def test_an_adapter_is_merged(inside, tmp_path):
    run("sft", "--run", "merge", "--from", "v1", "--set", "student.lora.r=4")
    run("export", "--run", "merge", "--contestant", "sft", tmp_path / "merged")
    assert not list((tmp_path / "merged").glob("adapter*"))
    config = student_config("merge")
    with_adapter = student.load(config, inside / "runs/merge/sft/weights")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        apart, together = (model(ids).logits for model in (with_adapter, merged))
    torch.testing.assert_close(apart, together, atol=1e-4, rtol=1e-4)
    text = (tmp_path / "merged/README.md").read_text()
    assert "an adapter merged into the start" in text
    assert "This run was not evaluated" in text


DATED = (
    "{{ bos_token }}Today is {{ strftime_now('%d %b %Y') }}.\n"
    "{% for message in messages %}<|user|>{{ message.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% if enable_thinking is not defined %}<think>\n"
    "{% endif %}{% endif %}"
)


@pytest.mark.parametrize("single", ["$A <|end|>", "<|pad|> $A <|end|>"])
def test_a_server_gives_an_exported_student_the_prompts_of_its_training(
    data, small, tmp_path, single
):
    """Whatever day it is, and whatever the tokenizer and its templates had about them."""
    tokenizer = AutoTokenizer.from_pretrained(MICRO)
    tokenizer.bos_token = "<|pad|>"
    ids = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<|pad|>", "<|end|>")]
    tokenizer._tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=ids)
    tokenizer.chat_template = {"default": DATED, "rag": "documents"}
    shutil.copytree(MICRO, tmp_path / "student")
    tokenizer.save_pretrained(tmp_path / "student")
    flags = ["--config", small, "--set", f"student.model={tmp_path / 'student'}"]
    flags += ["--set", "student.date=2025-01-31", "--set", "sft.trainer.max_steps=1"]
    flags += ["--set", "literals.limit=8"]
    for stage in ("teacher", "sft"):
        run(stage, "--run", "v1", *flags)
    run("export", "--run", "v1", "--contestant", "sft", tmp_path / "out")
    trained = student.load_tokenizer(student_config("v1"))
    exported = AutoTokenizer.from_pretrained(tmp_path / "out")
    told = rows(data / "runs/v1/sft/records.jsonl")
    literals = {row["id"]: row["literal"] for row in rows(data / "runs/v1/teacher/records.jsonl")}
    for row in told:
        ask = f"Say it with a joke: {literals[row['joke_id']]}"
        prompt = exported.apply_chat_template(
            [{"role": "user", "content": ask}], add_generation_prompt=True
        )["input_ids"]
        assert prompt == trained(row["prompt"])["input_ids"]
        assert "Today is 31 Jan 2025.\n<|user|>" in exported.decode(prompt)
        assert prompt.count(exported.bos_token_id) == 1
    assert told
    assert '"date": "2025-01-31"' in (tmp_path / "out/README.md").read_text()


def student_config(name):
    from pipeline.runs.run import Run

    return Run(name).config()


@needs_stories
def test_a_tokenizer_without_a_chat_template_gets_one_that_gives_the_same_prompt(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(STORIES)
    assert not tokenizer.chat_template
    prompt = student_prompt.prompt(tokenizer, "The kettle is on.")
    tokenizer.chat_template = chat_template.served(tokenizer)
    ask = [{"role": "user", "content": "Say it with a joke: The kettle is on."}]
    ids = tokenizer.apply_chat_template(ask, add_generation_prompt=True)["input_ids"]
    tokenizer.chat_template = None
    assert ids == tokenizer(prompt)["input_ids"]


def test_the_rows_of_a_run_load_as_one_data_set(inside, tmp_path):
    run("export", "--run", "v1", "--rows", tmp_path / "rows")
    verdicts = datasets.load_dataset(
        str(tmp_path / "rows"), "round-1-critic", split="train", cache_dir=str(tmp_path)
    )
    assert verdicts["id"] == [
        row["id"] for row in rows(inside / "runs/v1/round-1/critic/records.jsonl")
    ]
    names = {
        part["config_name"] for part in DatasetCard.load(tmp_path / "rows/README.md").data.configs
    }
    assert {
        "teacher",
        "teacher-dropped",
        "sft",
        "round-1-sample",
        "round-1-dpo-margins",
        "evaluate-metrics",
    } <= names
    assert json.loads((tmp_path / "rows/manifests/teacher.json").read_text())["step"] == "teacher"


def test_what_is_there_is_not_overwritten_and_what_is_not_is_named(inside, cli, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").touch()
    said = cli("export", "--run", "v1", "--contestant", "sft", tmp_path / "full", code=3)
    assert "is not an empty folder" in said
    said = cli("export", "--run", "v1", "--contestant", "round-9", tmp_path / "new", code=3)
    assert "has no student 'round-9'. There are: base, sft, round-1." in said
    assert not (tmp_path / "new").exists()


def test_a_push_that_fails_loses_nothing(inside, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    code = main(
        [
            "export",
            "--run",
            "v1",
            "--contestant",
            "base",
            str(tmp_path / "out"),
            "--push",
            "me/funny",
        ]
    )
    said = capsys.readouterr()
    assert code == 6, said
    assert f"hf upload me/funny {tmp_path / 'out'} --repo-type model" in said.err
    assert (tmp_path / "out/model.safetensors").exists()


def test_try_answers_as_evaluate_does(inside, monkeypatch, capsys):
    answers = rows(inside / "runs/v1/evaluate/answers.jsonl")
    sentence = answers[0]["literal"]
    monkeypatch.setenv("COLUMNS", "400")
    assert main(["try", "--run", "v1", sentence]) == 0
    said = capsys.readouterr().out
    for row in answers:
        if row["literal"] == sentence:
            assert row["text"] in said
            assert row["author"] in said


def test_try_reads_sentences_from_a_pipe_and_says_what_is_too_long(inside, monkeypatch, capsys):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("The kettle is on.\n" + "word " * 3000 + "\n\n"))
    assert main(["try", "--run", "v1"]) == 0
    said = capsys.readouterr()
    assert "The kettle is on." in said.out
    assert "which leave no room for 24 tokens of an answer" in said.err


def test_a_sentence_of_control_characters_is_shown_as_escapes(inside):
    said = run("try", "--run", "v1", "The \x1b]0;kettle\x07 is \u202e\x9b31m on.\r")
    assert "The \\u001b]0;kettle\\u0007 is \\u202e\\u009b31m on." in " ".join(said.split())
    assert CONTROL.findall(said) == []


def test_cards_say_what_made_the_run_and_not_what_its_configuration_says_now(apart, tmp_path):
    path = apart / "runs/v1/config.json"
    config = json.loads(path.read_text())
    config["teacher"]["endpoint"]["model"] = "another-teacher"
    config["evaluate"]["max_new_tokens"] = 7
    path.write_text(json.dumps(config))
    run("export", "--run", "v1", "--contestant", "sft", tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    assert "standin-teacher" in text
    assert "another-teacher" not in text
    assert "24 train" in text
    assert json.loads((tmp_path / "out/generation_config.json").read_text())["max_new_tokens"] == 24
    results = ModelCard.load(tmp_path / "out/README.md").data.eval_results
    rates = ["win_tie_rate", "fresh_rate"]
    assert [(result.dataset_split, result.metric_type) for result in results] == [
        (split, rate) for split in ("test", "ood") for rate in rates
    ]


def test_a_card_gives_no_figure_of_weights_that_are_gone(apart, tmp_path):
    path = apart / "runs/v1/round-1/dpo/manifest.json"
    manifest = {**json.loads(path.read_text()), "sha256": "0" * 64}
    path.write_text(json.dumps({**manifest, "seal": seal(manifest)}))
    run("export", "--run", "v1", "--contestant", "sft", tmp_path / "out")
    card = ModelCard.load(tmp_path / "out/README.md")
    assert (
        "This run was evaluated on other rows or weights of round-1: there is no figure."
        in card.text
    )
    assert not card.data.eval_results


def test_literals_of_one_name_and_empty_files_make_a_whole_data_set(apart, tmp_path):
    other = make(
        LiteralText, text="A file of the same name.", split="train", source="test", licence="CC0"
    )
    (tmp_path / "other").mkdir()
    write(tmp_path / "other/train.jsonl", [other])
    path = apart / "runs/v1/config.json"
    config = json.loads(path.read_text())
    config["literals"]["files"].append(str(tmp_path / "other/train.jsonl"))
    path.write_text(json.dumps(config))
    (apart / "runs/v1/sft/validation.jsonl").write_text("")
    run("export", "--run", "v1", "--rows", tmp_path / "rows")
    names = [
        part["config_name"] for part in DatasetCard.load(tmp_path / "rows/README.md").data.configs
    ]
    assert len(names) == len(set(names))
    assert "sft-validation" not in names
    assert {
        "literals-train",
        "literals-train-2",
        "literals-validation",
        "literals-test",
        "literals-ood",
    } <= set(names)
    assert rows(tmp_path / "rows/data/literals-train-2.jsonl") == [json.loads(other.line())]


def test_the_lines_of_python_that_serving_shows_give_the_run_s_answer(
    inside, tmp_path, monkeypatch
):
    run("export", "--run", "v1", "--contestant", "round-1", tmp_path / "funny")
    text = (tmp_path / "funny/SERVING.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    assert len([line for line in code.splitlines() if line]) <= 5
    answer = next(
        row for row in rows(inside / "runs/v1/evaluate/answers.jsonl") if row["author"] == "round-1"
    )
    monkeypatch.chdir(tmp_path)
    printed = []
    code = code.replace('"The kettle is on."', json.dumps(answer["literal"]))
    exec(code, {"print": printed.append})
    assert printed == [answer["text"]]
