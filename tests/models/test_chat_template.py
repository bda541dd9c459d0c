"""Chat templates from outside: a sentence comes through whole, the same on every day, or is refused."""

import datetime
import json
import re
import shutil

import pytest
from tokenizers import pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer
from transformers.utils import chat_template_utils

from pipeline.config.file import validate
from pipeline.errors import ConfigError, StudentError
from pipeline.models import chat_template, generation, likelihood, student, student_prompt
from pipeline.runs.hashes import folder_hash
from tests import ROOT
from tests.models import small

MICRO = ROOT / "data/students/micro"
SENTENCE = 'Zoë said "5 < 6 & <b>7</b>", it\'s 日本語 🤡.'
LOOP = "{% for message in messages %}%s{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"


@pytest.fixture
def folder(tmp_path):
    """A copy of the micro student."""
    copy = tmp_path / "student"
    shutil.copytree(MICRO, copy)
    return copy


def loaded(demo, folder, template=None, **section):
    """The tokenizer of a student with this chat template, as every stage loads it."""
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    config = validate({**demo, "student": {"model": str(folder), **section}}, "test")
    return student.load_tokenizer(config)


def served(tokenizer, folder, sentence=SENTENCE, **given):
    """What a server makes of a sentence with the exported tokenizer: token ids."""
    tokenizer.chat_template = chat_template.served(tokenizer)
    tokenizer.save_pretrained(folder / "out")
    out = AutoTokenizer.from_pretrained(folder / "out")
    ask = [{"role": "user", "content": f"Say it with a joke: {sentence}"}]
    return out.apply_chat_template(ask, add_generation_prompt=True, **given)["input_ids"]


def in_loop(text):
    return LOOP.replace("%s", text)


KEEPING = {
    "plain": "{{ message.content }}",
    "trimmed": "{{ '<|user|>' + message['content'] | trim }}",
    "string or parts": "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}{{ part.text }}{% endfor %}{% endif %}",
    "a system message of its own": "{{ 'You are <b>funny</b> & brief.\n' }}{{ message.content }}",
    "a thought that is closed": "{{ message.content }}<think>\n\n</think>\n\n",
    "of a thought in the system message": "Think inside <think>.{{ message.content }}",
}


@pytest.mark.parametrize("name", KEEPING)
def test_a_sentence_comes_through_once_and_whole(demo, folder, name):
    tokenizer = loaded(demo, folder, in_loop(KEEPING[name]))
    prompt = student_prompt.prompt(tokenizer, SENTENCE)
    assert prompt.count(f"Say it with a joke: {SENTENCE}") == 1
    other = student_prompt.prompt(tokenizer, "The kettle is on.")
    assert other == prompt.replace(SENTENCE, "The kettle is on.")
    assert served(tokenizer, folder) == tokenizer(prompt)["input_ids"]


LOSING = {
    "stripped of quotes": ("{{ message.content | replace('\"', '') }}", "leaves the message out"),
    "in lower case": ("{{ message.content | lower }}", "leaves the message out, or changes it"),
    "escaped": ("{{ message.content | e }}", "leaves the message out, or changes it"),
    "as JSON": ("{{ message.content | tojson }}", "leaves the message out, or changes it"),
    "cut": ("{{ message.content[:200] }}", "leaves the message out, or changes it"),
    "with ellipsis": ("{{ message.content | truncate(300) }}", "leaves the message out"),
    "blanks collapsed": ("{{ message.content.split() | join(' ') }}", "leaves the message out"),
    "not at all": ("<|user|>", "leaves the message out"),
    "nothing": ("{# #}", "leaves the message out"),
    "system alone": (
        "{% if message.role == 'system' %}{{ message.content }}{% endif %}",
        "leaves the message out",
    ),
    "another name": ("{{ message.text }}", "leaves the message out"),
    "another role": (
        "{% if message.role == 'human' %}{{ message.content }}{% endif %}",
        "leaves the message out",
    ),
    "twice": ("{{ message.content }} {{ message.content }}", "prints the message 2 times"),
    "with its length": ("{{ message.content | length }}{{ message.content }}", "differ in more"),
    "at random": ("{{ range(10 ** 5) | random }}{{ message.content }}", "another prompt|differ in"),
    "parts": (
        "{% for part in message.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}",
        "It wants content as a list of parts",
    ),
    "parts by index": ("{{ message.content[0].text }}", "It wants content as a list of parts"),
    "parts in a sum": ("{{ '' + message.content[0]['text'] }}", "fails on a message of a user"),
    "system needed": (
        "{% if messages[0].role != 'system' %}{{ raise_exception('Say who you are') }}{% endif %}",
        "fails on a message of a user: TemplateError: Say who you are",
    ),
    "no generation prompt": (
        "{% if add_generation_prompt %}{{ raise_exception('Never generate') }}{% endif %}",
        "TemplateError: Never generate",
    ),
    "a sum of words and a number": ("{{ message.content + 1 }}", "TypeError"),
    "a division by nothing": ("{{ 1 // 0 }}", "ZeroDivisionError"),
    "unknown filter": ("{{ message.content | shout }}", "No filter named 'shout'"),
    "unknown value": ("{{ bot.name.first }}", "UndefinedError: 'bot' is undefined"),
    "out of the sandbox": ("{{ message.__class__.__mro__[1] }}", "SecurityError|leaves"),
    "broken": ("{% if %}", "TemplateSyntaxError"),
    "without end": (
        "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
        "RecursionError",
    ),
    "an open thought": ("{{ message.content }}<think>\n", "opens a thought .<think>."),
    "a thought begun": ("{{ message.content }}<think>Okay, ", "opens a thought .<think>."),
    "another's thought": ("{{ message.content }}[THINK]", r"opens a thought .\[THINK\]."),
    "a second thought": ("{{ message.content }}<think></think><think>", "opens a thought"),
}


@pytest.mark.parametrize("name", LOSING)
def test_what_does_not_keep_a_sentence_is_refused_in_words(demo, folder, name):
    text, fault = LOSING[name]
    with pytest.raises(StudentError, match=fault) as refusal:
        loaded(demo, folder, in_loop(text))
    said = str(refusal.value)
    assert said.startswith(f"student.model = '{folder}': its chat template ")
    assert "chat_template.jinja" in said
    assert max(map(len, said.splitlines())) < 700


def test_a_later_sentence_that_does_not_come_through_is_refused(demo, folder):
    tokenizer = loaded(demo, folder, in_loop("{{ message.content | replace('duck', 'd**k') }}"))
    with pytest.raises(StudentError, match="leaves the message out, or changes it: of 'Say it"):
        student_prompt.prompt(tokenizer, "The duck is on.")


def test_a_student_prompt_without_the_sentence_is_refused(demo, folder, tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / "configs").mkdir(parents=True)
    (home / "prompts").mkdir()
    (home / "prompts/student.j2").write_text("Say it with a joke.")
    monkeypatch.setenv("HUMOR_DISTILL_HOME", str(home))
    with pytest.raises(ConfigError, match="student.j2 says the same of different sentences"):
        loaded(demo, folder)


def test_a_template_that_knows_neither_day_nor_thinking_stays_as_it_is(demo, folder, capfd):
    tokenizer = loaded(demo, folder)
    assert tokenizer.chat_template == (MICRO / "chat_template.jinja").read_text()
    assert capfd.readouterr().err == ""


class Days(datetime.datetime):
    """A clock that goes on by a day."""

    day_ = 0

    @classmethod
    def now(cls, tz=None):
        cls.day_ += 1
        return datetime.datetime(2031, 1, 1) + datetime.timedelta(days=cls.day_)


DATED = {
    "Llama 3": (
        "{%- if not date_string is defined %}{%- if strftime_now is defined %}"
        '{%- set date_string = strftime_now("%d %b %Y") %}{%- endif %}{%- endif %}{{ date_string }}: ',
        "26 Jul 2024: ",
    ),
    "ISO": ("{{ strftime_now('%Y-%m-%d') }} ", "2024-07-26 "),
    "in a macro": (
        "{% macro today() %}{{ strftime_now('%B %-d, %Y') }}{% endmacro %}{{ today() }} ",
        "July 26, 2024 ",
    ),
    "by another name": ("{% set now = strftime_now %}{{ now('%A') }} ", "Friday "),
    "a number": ("{{ strftime_now('%Y') | int + 1 }} ", "2025 "),
    "a format put together": ("{{ strftime_now('%' ~ 'j' ~ '/%y') }} ", "208/24 "),
    "with a per cent": ("{{ strftime_now('100%% %%d %d') }} ", "100% %d 26 "),
    "the hour": ("{{ strftime_now('%H:%M:%S.%f %p') }} ", "00:00:00.000000 AM "),
    "a name that is only printed": ("strftime_now ", "strftime_now "),
    "where there is a blank line before": (
        "\n  {% if true %}{{ strftime_now('%d') }}{% endif %} ",
        "\n26 ",
    ),
    "where there is a blank before": ("  {% if true %}{{ strftime_now('%d') }}{% endif %} ", "26 "),
    "only where told": (
        "{% if strftime_now is not defined %}now{% else %}{{ strftime_now('%D') }}{% endif %} ",
        "07/26/24 ",
    ),
}


@pytest.mark.parametrize("name", DATED)
def test_a_template_is_told_the_same_day_always(demo, folder, name, monkeypatch):
    monkeypatch.setattr(chat_template_utils, "datetime", Days)
    text, says = DATED[name]
    tokenizer = loaded(demo, folder, text + in_loop("{{ message.content }}"))
    prompt = student_prompt.prompt(tokenizer, SENTENCE)
    assert prompt == f"{says}Say it with a joke: {SENTENCE}<|assistant|>"
    assert served(tokenizer, folder) == tokenizer(prompt)["input_ids"]


@pytest.mark.parametrize("letter", "aAbBcCdDefFgGhHIjklmMnpPrRStTuUVwWxXyYzZ")
def test_the_day_is_told_in_every_way(demo, folder, letter):
    text = f"[{{{{ strftime_now('%{letter}') }}}}]"
    tokenizer = loaded(demo, folder, text + in_loop("{{ message.content }}"), date="1999-02-03")
    told = datetime.datetime(1999, 2, 3).strftime(f"%{letter}")
    assert student_prompt.prompt(tokenizer, SENTENCE).startswith(f"[{told}]")


def test_an_exported_student_s_day_is_the_next_run_s_to_say(demo, folder):
    template = "{{ strftime_now('%Y-%m-%d') }}" + in_loop("{{ message.content }}")
    tokenizer = loaded(demo, folder, template, date="2025-01-31")
    assert student_prompt.prompt(tokenizer, "A.").startswith("2025-01-31Say")
    served(tokenizer, folder)
    shutil.copy(folder / "config.json", folder / "out")
    again = loaded(demo, folder / "out")
    assert student_prompt.prompt(again, "A.").startswith("2024-07-26Say")
    assert again.chat_template.count("macro strftime_now") == 1
    (folder / "out/chat_template.jinja").write_text(again.chat_template)
    assert loaded(demo, folder / "out").chat_template == again.chat_template


def test_a_served_student_does_not_begin_to_think(demo, folder):
    template = in_loop("{{ message.content }}")
    template += (
        "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}"
    )
    tokenizer = loaded(demo, folder, template)
    ids = tokenizer(student_prompt.prompt(tokenizer, SENTENCE))["input_ids"]
    assert tokenizer.decode(ids).endswith("<think></think>")
    assert served(tokenizer, folder) == ids
    assert served(tokenizer, folder, enable_thinking=True) == ids


NAMED = {"default": in_loop("{{ message.content }}"), "tool_use": "tools!", "rag": "documents!"}


def test_of_named_templates_the_default_is_the_student_s(demo, folder):
    tokenizer = AutoTokenizer.from_pretrained(MICRO)
    tokenizer.chat_template = NAMED
    tokenizer.save_pretrained(folder)
    assert (folder / "additional_chat_templates/rag.jinja").exists()
    tokenizer = loaded(demo, folder)
    assert tokenizer.chat_template == NAMED["default"]
    ids = tokenizer(student_prompt.prompt(tokenizer, SENTENCE))["input_ids"]
    assert served(tokenizer, folder) == ids
    assert not (folder / "out/additional_chat_templates").exists()


def named_in_config(folder, templates):
    """Named templates as transformers 4 saved them."""
    (folder / "chat_template.jinja").unlink()
    path = folder / "tokenizer_config.json"
    told = [{"name": name, "template": text} for name, text in templates.items()]
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": told}))


def test_of_named_templates_the_only_one_is_the_student_s(demo, folder):
    named_in_config(folder, {"chat": NAMED["default"]})
    assert loaded(demo, folder).chat_template == NAMED["default"]


def test_named_templates_without_a_default_are_refused(demo, folder):
    named_in_config(folder, {"rag": "a", "chat": NAMED["default"]})
    with pytest.raises(StudentError, match=r"several chat templates \(chat, rag\) and no default"):
        loaded(demo, folder)


def test_the_only_template_in_a_folder_of_its_own_is_part_of_the_student(demo, folder):
    (folder / "chat_template.jinja").unlink()
    path = folder / "additional_chat_templates/chat.jinja"
    path.parent.mkdir()
    path.write_text(NAMED["default"])
    assert loaded(demo, folder).chat_template == NAMED["default"]
    before = folder_hash(folder)
    path.write_text("Another. " + NAMED["default"])
    assert folder_hash(folder) != before


def adding(folder, single, template=None):
    """The student with a tokenizer that puts special tokens around every text."""
    tokenizer = AutoTokenizer.from_pretrained(MICRO)
    tokenizer.bos_token = "<|user|>"
    special = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<|user|>", "<|end|>")]
    tokenizer._tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=special)
    tokenizer.chat_template = template
    (folder / "chat_template.jinja").unlink()
    tokenizer.save_pretrained(folder)
    return folder


TEMPLATES = {
    "none": None,
    "with bos": "{{ bos_token }}" + in_loop("{{ message.content }}"),
    "without bos": in_loop("{{ message.content }}"),
    "with a blank before": "  {% if true %} x{% endif %}\n" + in_loop("{{ message.content }}"),
    "with lines before": "\n\n  {% if true %} x{% endif %}\n" + in_loop("{{ message.content }}"),
}


@pytest.mark.parametrize("single", ["$A <|end|>", "<|user|> $A <|end|>", "<|user|> $A", "$A"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_decoder_s_prompt_has_one_bos_at_most_and_no_eos(demo, folder, single, name):
    adding(folder, single, TEMPLATES[name])
    tokenizer = loaded(demo, folder)
    begins = single.startswith("<|user|>") or name == "with bos"
    prompt = student_prompt.prompt(tokenizer, SENTENCE)
    ids = tokenizer(prompt)["input_ids"]
    assert tokenizer.eos_token_id not in ids
    assert ids.count(tokenizer.bos_token_id) == begins
    assert (ids[0] == tokenizer.bos_token_id) == begins
    both = likelihood.encode(tokenizer, prompt, ["Ha."], separate=False)
    assert both["prompt"] == ids
    assert both["answers"][0].count(tokenizer.eos_token_id) == 1
    assert student_prompt.length(tokenizer, prompt) == len(ids)
    tokenizer.pad_token = "<|pad|>"  # a change after which transformers may make its own anew
    assert tokenizer(prompt)["input_ids"] == ids
    assert served(tokenizer, folder) == ids
    assert AutoTokenizer.from_pretrained(folder / "out")(prompt)["input_ids"] == ids


def test_add_eos_token_is_switched_off(demo, folder, monkeypatch):
    tokenizer = AutoTokenizer.from_pretrained(MICRO, add_eos_token=True)
    tokenizer.add_eos_token = True
    tokenizer.save_pretrained(folder)
    assert AutoTokenizer.from_pretrained(folder)("a")["input_ids"][-1] == tokenizer.eos_token_id
    mended = loaded(demo, folder)
    assert mended("a")["input_ids"] == AutoTokenizer.from_pretrained(MICRO)("a")["input_ids"]
    assert not mended.add_eos_token


def test_what_no_server_could_be_given_is_refused(demo, folder):
    tokenizer = AutoTokenizer.from_pretrained(MICRO)
    word = tokenizer("the kettle")["input_ids"][1]  # with its blank before it, which no text has
    begins = {"id": "before", "ids": [word], "tokens": tokenizer.convert_ids_to_tokens([word])}
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="before $A", special_tokens=[begins]
    )
    tokenizer.save_pretrained(folder)
    with pytest.raises(StudentError, match="before every text, and no chat template could give"):
        loaded(demo, folder)


def test_an_answer_of_a_student_whose_tokenizer_ends_texts_is_that_of_one_whose_does_not(
    demo, folder
):
    config = validate({**demo, "student": {"model": str(MICRO)}}, "test")
    texts = [student_prompt.prompt(student.load_tokenizer(config), SENTENCE)]
    settings = validate(demo, "test").evaluate.model_copy(update={"max_new_tokens": 12})
    model = student.load(config)
    right = generation.generate(model, student.load_tokenizer(config), texts, settings, [0])
    ended = adding(folder, "$A <|end|>", (MICRO / "chat_template.jinja").read_text())
    assert generation.generate(model, loaded(demo, ended), texts, settings, [0]) == right


@pytest.mark.parametrize("kind", [small.bart, small.t5])
def test_an_encoder_s_texts_end_in_eos(demo, tmp_path, kind):
    tokenizer = loaded(demo, kind(tmp_path))
    assert (
        tokenizer(student_prompt.prompt(tokenizer, "A."))["input_ids"][-1] == tokenizer.eos_token_id
    )


def test_where_a_tokenizer_s_bos_changes_the_next_token_the_template_s_is_taken(demo, folder):
    """Sentencepiece's dummy blank comes before a text, and not after a special token."""
    template = "{{ bos_token }}" + in_loop("{{ message.content }}")
    adding(folder, "<|user|> $A", template)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    blank = pre_tokenizers.Metaspace(replacement="Ġ", prepend_scheme="first", split=False)
    tokenizer._tokenizer.pre_tokenizer = blank
    tokenizer.save_pretrained(folder)
    tokenizer = loaded(demo, folder)
    prompt = student_prompt.prompt(tokenizer, "A kettle.")
    ids = tokenizer(prompt)["input_ids"]
    assert ids.count(tokenizer.bos_token_id) == 1
    assert served(tokenizer, folder, "A kettle.") == ids


@pytest.mark.parametrize(
    "day", ["2024-7-26", "20240726", "2024-W30-5", "26 Jul 2024", "2024-02-30", 0, True, "", None]
)
def test_a_day_is_written_as_one(demo, day):
    with pytest.raises(ConfigError, match=r"student\.date: .* is no day: write it as 2024-07-26"):
        validate({**demo, "student": {"model": "x", "date": day}}, "test")


@pytest.mark.parametrize("day", ["2025-01-31", datetime.date(2025, 1, 31)])
def test_a_day_of_toml_s_own_is_the_same(demo, day):
    config = validate({**demo, "student": {"model": "x", "date": day}}, "test")
    assert config.student.date == "2025-01-31"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", config.model_dump(mode="json")["student"]["date"])
