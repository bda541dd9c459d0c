from collections import Counter

import pytest

from pipeline.llm.answer import Answer
from pipeline.stages.teacher import parse

LITERAL = "The kettle is on."


def parsed(text, n=3, ended="whole", **more):
    jokes, dropped = parse(Answer("c_1", text=text, ended=ended, **more), LITERAL, n)
    return jokes, dict(Counter(reason for reason, _ in dropped))


@pytest.mark.parametrize(
    "text",
    [
        "1. One.\n2. Two.\n3. Three.",
        "Here are three:\n\n1) One.\n2) Two.\n3) Three.\n\nLet me know if you want more!",
        '1. "One."\n\n2. "Two."\n\n3. "Three."',
        "**1.** One.\n**2.** Two.\n**3.** Three.",
        "1. **One.**\n2. *Two.*\n3. \u201cThree.\u201d",
        "(1) One.\n(2) Two.\n(3) Three.",
        "  1: One.\r\n  2: Two.\r\n  3: Three.",
        "1. One.\n1. Two.\n1. Three.",
        "1. One.\n2. Two.\n3. Three.\nLet me know if you want more!",
        "```\n1. One.\n2. Two.\n3. Three.\n```",
        "1. One.\n2. Two.\n3. Three.\n*Explanation: a pun.*",
        "<think>\n1. Hm.\n2. No.\n</think>\n1. One.\n2. Two.\n3. Three.",
        "Here are three lighthearted, non-offensive paraphrases:\n1. One.\n2. Two.\n3. Three.",
    ],
)
def test_numbered_lists_as_models_write_them(text):
    assert parsed(text) == (["One.", "Two.", "Three."], {})


def test_an_item_runs_on_over_lines():
    assert parsed("1. One\n   and more.\n2. Two.", n=2) == (["One and more.", "Two."], {})
    assert parsed("1. One at\n   10:30 sharp.\n2. Two.", n=2) == (
        ["One at 10:30 sharp.", "Two."],
        {},
    )


def test_quotes_inside_a_joke_stay():
    assert parsed('1. "Hi," said the kettle, "bye."', n=1)[0] == ['"Hi," said the kettle, "bye."']


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("The kettle is on, and it will not come off.", {"no list": 1}),
        ("", {"no list": 1}),
        (None, {"no list": 1}),
        ("<ol><li>One.</li><li>Two.</li></ol>", {"no list": 1}),
        ("I'm sorry, but I can't make a joke about this.", {"refused": 1}),
        ("I cannot help with that request.", {"refused": 1}),
        ("1. I'm sorry, I can't joke about that.", {"refused": 1}),
        ("1. One.\n2. Two.\n3. Three.\n\nNote: some may find these offensive.", {"warned": 1}),
        ("Please be mindful of others.\n\n1. One.\n2. Two.\n3. Three.", {"warned": 1}),
    ],
)
def test_an_answer_without_usable_jokes_has_a_reason(text, dropped):
    assert parsed(text) == ([], dropped)


def test_a_joke_may_sound_like_a_refusal():
    text = "1. I can't make it tonight, my couch won't let go.\n2. I can't help but notice.\n3. I'm sorry I can't come."
    assert len(parsed(text)[0]) == 3
    assert parsed("1. One.\n2. Two.\n3. Three.\nNote: this may be offensive.") == (
        [],
        {"warned": 1},
    )


def test_refusal_fields_of_the_protocol():
    assert parsed(None, refusal="No.") == ([], {"refused": 1})
    assert parsed("1. One.", ended="filtered") == ([], {"refused": 1})


def test_a_failed_request_is_no_joke():
    said = "bad_request: HTTP 400: too long"
    assert parse(Answer("c_1", error=said), LITERAL, 3) == ([], [("bad request", said)])


def test_what_was_left_out_is_kept_to_be_read():
    assert parse(Answer("c_1", text="1. One.\n2. ONE!\n3. Two."), LITERAL, 2)[1] == [
        ("same joke twice", "ONE!")
    ]
    assert parse(Answer("c_1", text="I cannot help with that."), LITERAL, 2)[1] == [
        ("refused", "I cannot help with that.")
    ]


def test_jokes_are_dropped_one_by_one():
    text = "1. One.\n2. the kettle is ON\n3. one!\n4. Two.\n5."
    assert parsed(text) == (
        ["One.", "Two."],
        {"copy of the literal": 1, "same joke twice": 1, "empty": 1, "fewer than asked": 1},
    )
    assert parsed("1. One.\n2. Two.\n3. Three.", n=2) == (["One.", "Two."], {"more than asked": 1})
    assert parsed("1. One.\n2. Two is cu", ended="cut", n=2) == (
        ["One."],
        {"cut at max_tokens": 1, "fewer than asked": 1},
    )


def test_one_joke_needs_no_number():
    assert parsed("One.", n=1) == (["One."], {})
