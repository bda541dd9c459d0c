import json
import shutil

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BartConfig,
    BartForConditionalGeneration,
    GenerationConfig,
)

from pipeline.config.file import validate
from pipeline.config.student import Generation
from pipeline.errors import StudentError
from pipeline.models import decoding, generation, student, student_prompt
from pipeline.models.sampler import RowSampler
from pipeline.progress import Progress
from pipeline.rows.records import LiteralText
from pipeline.rows.row import make
from tests import ROOT
from tests.conftest import rows
from tests.small_run import STORIES, needs_stories

MICRO = ROOT / "data/students/micro"
LITERALS = [
    "The kettle is on.",
    "My old umbrella broke in the wind, so I walked home wet.",
    "Zoë naps 🤡 daily.",
]


def configured(demo, **student_section):
    demo["student"] |= student_section
    return validate(demo, "test")


@pytest.fixture
def micro(demo):
    config = configured(demo)
    return config, student.load(config), student.load_tokenizer(config)


def test_the_micro_student_is_what_the_readme_says():
    assert sum(path.stat().st_size for path in MICRO.iterdir()) < 12 * 2**20
    model = AutoModelForCausalLM.from_pretrained(MICRO)
    assert model.num_parameters() < 5_000_000
    assert model.dtype == torch.bfloat16
    tokenizer = AutoTokenizer.from_pretrained(MICRO)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert "licence" in (MICRO / "README.md").read_text().lower()


def test_prompt_goes_through_the_chat_template(micro):
    _, _, tokenizer = micro
    assert (
        student_prompt.prompt(tokenizer, LITERALS[0])
        == "<|user|>Say it with a joke: The kettle is on.<|assistant|>"
    )


@pytest.mark.parametrize(
    "model", ["data/students/micro", pytest.param(str(STORIES), marks=needs_stories)]
)
@pytest.mark.parametrize("literal", LITERALS)
def test_no_token_spans_prompt_and_answer(demo, model, literal):
    tokenizer = student.load_tokenizer(configured(demo, model=model))
    prompt = student_prompt.prompt(tokenizer, literal)
    for answer in ("The kettle, again.", "and so on", "\u201cHm\u201d"):
        together = tokenizer(prompt + answer)["input_ids"]
        assert (
            together[: student_prompt.length(tokenizer, prompt)] == tokenizer(prompt)["input_ids"]
        )


@needs_stories
def test_a_template_that_writes_bos_does_not_double_it(demo):
    tokenizer = student.load_tokenizer(configured(demo, model=str(STORIES)))
    tokenizer.chat_template = "{{ bos_token }}[{{ messages[0].content }}]"
    ids = tokenizer(student_prompt.prompt(tokenizer, "The kettle is on."))["input_ids"]
    assert ids.count(tokenizer.bos_token_id) <= 1


def variant(tmp_path, **changes):
    """A copy of the micro student with another tokenizer configuration."""
    folder = tmp_path / "student"
    shutil.copytree(MICRO, folder)
    path = folder / "tokenizer_config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return str(folder)


def test_a_tokenizer_without_eos_is_refused(demo, tmp_path):
    with pytest.raises(StudentError, match="has no eos token"):
        student.load_tokenizer(configured(demo, model=variant(tmp_path, eos_token=None)))


@pytest.mark.parametrize("pad", [None, "<|end|>"])
def test_pad_is_never_eos(demo, tmp_path, pad):
    tokenizer = student.load_tokenizer(configured(demo, model=variant(tmp_path, pad_token=pad)))
    assert tokenizer.pad_token == "<|pad|>"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_a_tokenizer_with_no_room_for_a_pad_is_refused(demo, tmp_path, monkeypatch):
    monkeypatch.setattr(student, "PAD_NAMES", ("<|nothing|>",))
    with pytest.raises(StudentError, match="no spare embedding"):
        student.load_tokenizer(configured(demo, model=variant(tmp_path, pad_token=None)))


def test_an_encoder_decoder_is_loaded_as_one(demo, tmp_path):
    sizes = {
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16,
    }
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 64}
    BartForConditionalGeneration(BartConfig(**sizes, **heads)).save_pretrained(tmp_path / "bart")
    config = validate({**demo, "student": {"model": str(tmp_path / "bart")}}, "test")
    assert student.is_encoder_decoder(config)
    assert isinstance(student.load(config), BartForConditionalGeneration)
    assert not student.is_encoder_decoder(validate(demo, "test"))
    # its context holds the sentence, and as much of an answer; a decoder's holds both together
    assert [student_prompt.room(config)(tokens) for tokens in (10, 1024, 1025)] == [1024, 1024, 0]
    assert student_prompt.room(config, max_length=100)(10) == 100
    assert student_prompt.room(validate(demo, "test"))(10) == 256 - 10


def test_a_student_that_is_not_there_is_named(demo):
    with pytest.raises(StudentError, match="no/such-model"):
        student.load_tokenizer(configured(demo, model="no/such-model"))


def test_row_sampler_draws_from_the_nucleus_with_its_probabilities():
    p = torch.tensor([0.5, 0.3, 0.15, 0.05])
    rows_ = 4000
    empty = torch.zeros(rows_, 1, dtype=torch.long)
    pick = RowSampler(range(rows_), 1, Generation(top_p=0.9, max_new_tokens=1), pad=-1)
    found = pick(empty, p.log().expand(rows_, 4)).argmax(-1)
    shares = torch.bincount(found, minlength=4) / rows_
    assert shares.tolist() == pytest.approx([0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0], abs=0.03)


def test_row_sampler_leaves_out_what_is_unlikely_beside_the_likeliest():
    """min_p = 0.25 leaves what has a quarter of 0.5 or more."""
    p = torch.tensor([0.5, 0.3, 0.15, 0.05])
    rows_ = 4000
    empty = torch.zeros(rows_, 1, dtype=torch.long)
    settings = Generation(top_p=1.0, min_p=0.25, max_new_tokens=1)
    found = RowSampler(range(rows_), 1, settings, pad=-1)(empty, p.log().expand(rows_, 4))
    shares = torch.bincount(found.argmax(-1), minlength=4) / rows_
    assert shares.tolist() == pytest.approx([0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0], abs=0.03)
    wide = torch.randn(3, 500) * 0.1
    settings = Generation(top_p=1.0, min_p=1.0, max_new_tokens=1)
    only = RowSampler(range(3), 1, settings, pad=-1)(torch.zeros(3, 1, dtype=torch.long), wide)
    assert torch.equal(only.argmax(-1), wide.argmax(-1))


def test_row_sampler_is_exact_where_the_nucleus_is_wide():
    torch.manual_seed(0)
    scores, ids = torch.randn(6, 500) * 0.1, torch.zeros(6, 1, dtype=torch.long)
    pick = RowSampler(range(6), 1, Generation(top_p=0.99, max_new_tokens=1), pad=-1)
    chosen = pick(ids, scores).argmax(-1)
    for row in range(6):
        p, token = scores[row].softmax(-1).sort(descending=True)
        cdf = (p * (p.cumsum(-1) - p < 0.99)).cumsum(-1)
        assert chosen[row] == token[int((cdf < pick.draws[row, 0] * cdf[-1]).sum())]


def test_a_row_s_draws_do_not_depend_on_the_rows_beside_it(micro):
    _, model, tokenizer = micro
    texts = [student_prompt.prompt(tokenizer, text) for text in LITERALS]
    settings = Generation(max_new_tokens=12)
    together = generation.generate(model, tokenizer, texts, settings, [1, 2, 3])
    assert generation.generate(model, tokenizer, texts, settings, [1, 2, 3]) == together
    alone = [
        generation.generate(model, tokenizer, [texts[n]], settings, [n + 1])[0] for n in range(3)
    ]
    assert alone == together
    assert generation.generate(model, tokenizer, texts, settings, [4, 5, 6]) != together


def test_greedy_in_segments_is_transformers_own_greedy(micro, monkeypatch):
    _, model, tokenizer = micro
    texts = [student_prompt.prompt(tokenizer, text) for text in LITERALS]
    monkeypatch.setattr(decoding, "SEGMENT", 5)
    ours = generation.generate(
        model, tokenizer, texts, Generation(temperature=0, max_new_tokens=24), [0] * 3
    )
    for text, (answer, count) in zip(texts, ours, strict=True):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        stop = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
        out = model.generate(
            ids, generation_config=GenerationConfig(do_sample=False, max_new_tokens=24, **stop)
        )
        theirs = out[0, ids.shape[1] :]
        assert answer == tokenizer.decode(theirs, skip_special_tokens=True).strip()
        assert count == len(theirs)


def test_the_sft_student_has_learned_to_stop(made, demo):
    config = configured(demo)
    tokenizer = student.load_tokenizer(config)
    model = student.load(config, made / "runs/v1/sft/weights")
    prompts = [
        student_prompt.prompt(tokenizer, row["literal"])
        for row in rows(made / "runs/v1/evaluate/answers.jsonl")[:24]
    ]
    answers = generation.generate(
        model, tokenizer, prompts, Generation(temperature=0, max_new_tokens=60), [0] * 24
    )
    assert sum(count < 60 for _, count in answers) >= 20
    assert (
        json.loads((made / "runs/v1/sft/weights/generation_config.json").read_text())[
            "eos_token_id"
        ]
        == 1
    )


def test_a_literal_that_does_not_fit_is_left_out_and_counted(demo):
    config = configured(demo)
    literals = [
        make(LiteralText, text=text, split="train", source="", licence="")
        for text in ("The kettle is on.", "word " * 400)
    ]
    tasks = [generation.Task(literal, "base", 0) for literal in literals]
    model, tokenizer = student.load(config), student.load_tokenizer(config)
    dropped = []
    writing = generation.Writing(config, "round-1/sample", lambda *what: dropped.append(what))
    settings = Generation(max_new_tokens=8)
    jokes = list(generation.write_jokes(writing, model, tokenizer, tasks, settings))
    assert [joke.literal_id for joke in jokes] == [literals[0].id]
    long = literals[1].id
    assert dropped == [(long, long, "longer than the student's context", "base")]


def test_a_literal_that_spells_out_a_special_token_is_left_out_and_counted(demo):
    config = configured(demo)
    texts = ("The kettle is on.", "The kettle <|end|> is on.", "The kettle < | end | > is on.")
    literals = [
        make(LiteralText, text=text, split="train", source="", licence="") for text in texts
    ]
    tasks = [generation.Task(literal, "base", 0) for literal in literals]
    model, tokenizer = student.load(config), student.load_tokenizer(config)
    dropped = []
    writing = generation.Writing(config, "round-1/sample", lambda *what: dropped.append(what))
    settings = Generation(max_new_tokens=8)
    jokes = list(generation.write_jokes(writing, model, tokenizer, tasks, settings))
    assert {joke.literal for joke in jokes} == {texts[0], texts[2]}
    spelled = literals[1].id
    assert dropped == [(spelled, spelled, "a special token of the student's", "base")]


def test_jokes_and_literals_that_spell_out_a_special_token_are_found(demo):
    config = configured(demo)
    tokenizer = student.load_tokenizer(config)
    literals = {"l_1": "The kettle is on.", "l_2": "A <|user|> is on."}
    jokes = {"j_1": "So it is.", "j_2": "So<|assistant|>it is.", "j_3": "Even </s> is."}
    measured = student_prompt.measure(config, tokenizer, None, literals, jokes, Progress("x", 3))
    assert measured.special == {"l_2", "j_2"}
    assert measured.unfit("l_1", "j_1", "j_3") is None
    assert measured.unfit("l_1", "j_1", "j_2") == "a special token of the student's"
    assert measured.unfit("l_2", "j_1") == "a special token of the student's"


def test_fingerprint_sees_a_single_changed_weight(micro):
    _, model, _ = micro
    before = student.fingerprint(model)
    assert student.fingerprint(model) == before
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] += 1e-3
    assert student.fingerprint(model) != before
