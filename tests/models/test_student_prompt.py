"""How long an answer is, and how much room a prompt leaves for one."""

import pytest
from tokenizers.processors import TemplateProcessing

from pipeline.config.file import validate
from pipeline.judging.preferences import preferences
from pipeline.models import student, student_prompt
from pipeline.progress import Progress
from tests.judging.test_preferences import verdict
from tests.models import small


def measured(demo, folder, jokes):
    config = validate({**demo, "student": {"model": str(folder)}}, "test")
    tokenizer = student.load_tokenizer(config)
    with Progress("rows", len(jokes)) as progress:
        return student_prompt.measure(
            config, tokenizer, None, {"l_1": "It rains."}, jokes, progress
        )


def with_bos(folder):
    """A decoder whose tokenizer begins every text with bos, as Llama's does."""
    small.qwen2(folder)
    words = small.tokenizer(ends=False)
    words._tokenizer.post_processor = TemplateProcessing(
        single="<|user|> $A", special_tokens=[("<|user|>", words.convert_tokens_to_ids("<|user|>"))]
    )
    words.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("make", "around"), [(with_bos, 1), (small.bart, 1), (small.t5, 1)])
def test_an_answer_s_length_is_that_of_its_text(demo, tmp_path, make, around):
    folder = make(tmp_path / "student")
    text = "The rain rains in the rain."
    plain = len(small.tokenizer(ends=False)(text)["input_ids"])
    found = measured(demo, folder, {"j_a": text})
    assert found.lengths == {"j_a": plain}
    config = validate({**demo, "student": {"model": str(folder)}}, "test")
    tokenizer = student.load_tokenizer(config)
    context = student.architecture(config).get_text_config()
    most = getattr(context, "max_position_embeddings", None) or 10**9
    taken = student_prompt.length(tokenizer, student_prompt.prompt(tokenizer, "It rains."))
    left = most if student.is_encoder_decoder(config) else most - taken
    assert found.room == {"l_1": left - around}


def test_bounds_of_a_length_ratio_are_of_the_texts_alone(demo, tmp_path):
    """10 words beside 13 are .77; with eos at the end of each, 11 beside 14 would be .79."""
    folder = small.t5(tmp_path / "t5")
    word = small.tokenizer(ends=False)
    texts = {"j_a": " ".join(["the"] * 10), "j_b": " ".join(["the"] * 13)}
    lengths = [len(word(text)["input_ids"]) for text in texts.values()]
    found = measured(demo, folder, texts)
    ratio = lengths[0] / lengths[1]
    between = (ratio + (lengths[0] + 1) / (lengths[1] + 1)) / 2
    rows, left_out = preferences([verdict("a")], found, (between, 1.2))
    assert not rows
    assert [one.reason for one in left_out] == ["length ratio"]
