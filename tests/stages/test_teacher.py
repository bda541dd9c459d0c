import time
from collections import Counter

import pytest

from pipeline.judging.choice import read_order
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
        '1. "One."\n\n2. "Two."\n\n3. "Three."',
        "**1.** One.\n**2.** Two.\n**3.** Three.",
        "**1. One.**\n**2. Two.**\n**3. Three.**",
        "__1. One.__\n__2. Two.__\n__3. Three.__",
        "**1) One.**\n\n**2) Two.**\n\n**3) Three.**",
        "*1. One.*\n*2. Two.*\n*3. Three.*",
        "### 1. One.\n### 2. Two.\n### 3. Three.",
        "> 1. One.\n> 2. Two.\n> 3. Three.",
        "1. **One.**\n2. *Two.*\n3. \u201cThree.\u201d",
        "(1) One.\n(2) Two.\n(3) Three.",
        "1\\. One.\n2\\. Two.\n3\\. Three.",
        "1 - One.\n2 - Two.\n3 - Three.",
        "1.One.\n2.Two.\n3.Three.",
        "  1: One.\r\n  2: Two.\r\n  3: Three.",
        "1. One.\n1. Two.\n1. Three.",
        "0. One.\n1. Two.\n2. Three.",
        "1. One.\n2. Two.\n4. Three.",
        "1.\nOne.\n2.\nTwo.\n3.\nThree.",
        "1\nOne.\n2\nTwo.\n3\nThree.",
        "**1**\nOne.\n**2**\nTwo.\n**3**\nThree.",
        "Joke 1: One.\nJoke 2: Two.\nJoke 3: Three.",
        "**Paraphrase 1:** One.\n**Paraphrase 2:** Two.\n**Paraphrase 3:** Three.",
        "Joke #1\nOne.\n\nJoke #2\nTwo.\n\nJoke #3\nThree.",
        "1. One. 2. Two. 3. Three.",
        "1) One. 2) Two.\n3) Three.",
        "(1) One. (2) Two. (3) Three.",
        "\u0661. One.\n\u0662. Two.\n\u0663. Three.",
        "\u0967. One.\n\u0968. Two.\n\u0969. Three.",
        "\uff11\uff0eOne.\n\uff12\uff0eTwo.\n\uff13\uff0eThree.",
        "\uff081\uff09One.\n\uff082\uff09Two.\n\uff083\uff09Three.",
        "\u4e00\u3001One.\n\u4e8c\u3001Two.\n\u4e09\u3001Three.",
        "\u2460 One.\n\u2461 Two.\n\u2462 Three.",
        "1\ufe0f\u20e3 One.\n2\ufe0f\u20e3 Two.\n3\ufe0f\u20e3 Three.",
        "\u200f1. One.\n\u200f2. Two.\n\u200f3. Three.",
        "- One.\n- Two.\n- Three.",
        "```\n1. One.\n2. Two.\n3. Three.\n```",
        "1. One.\n2. Two.\n3. Three.<|eot_id|>",
        "1. One.\n2. Two.\n3. Three.</s></s>\n",
        "<|start_header_id|>assistant<|end_header_id|>\n\n1. One.\n2. Two.\n3. Three.<|eot_id|>",
        "<answer>\n1. One.\n2. Two.\n3. Three.\n</answer>",
        "<think>\n1. Hm.\n2. No.\n</think>\n1. One.\n2. Two.\n3. Three.",
        "1. Hm.\n2. No.\n</think>\n1. One.\n2. Two.\n3. Three.",
        "[THINK]1. Hm.[/THINK]1. One.\n2. Two.\n3. Three.",
        "\u25c1think\u25b71. Hm.\u25c1/think\u25b71. One.\n2. Two.\n3. Three.",
        "analysisWe need three.1. Hm.assistantfinal1. One.\n2. Two.\n3. Three.",
        '{"jokes": ["One.", "Two.", "Three."]}',
        '{"jokes": ["1. One.", "2. Two.", "3. Three."]}',
        '{"paraphrases": [{"text": "One."}, {"text": "Two."}, {"text": "Three."}]}',
        '["One.", "Two.", "Three."]',
        '```json\n{"jokes": ["One.", "Two.", "Three."]}\n```',
        '<think>{"jokes": ["Hm."]}</think>{"jokes": ["One.", "Two.", "Three."]}',
    ],
)
def test_lists_as_models_write_them(text):
    assert parsed(text) == (["One.", "Two.", "Three."], {})


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        (
            "Here are three:\n\n1) One.\n2) Two.\n3) Three.\n\nLet me know if you want more!",
            {"beside the list": 1},
        ),
        ("1. One.\n2. Two.\n3. Three.\nLet me know if you want more!", {"beside the list": 1}),
        (
            "Three lighthearted, non-offensive ones:\n1. One.\n2. Two.\n3. Three.",
            {"beside the list": 1},
        ),
        ("1. One.\n2. Two.\n3. Three.\n\nMay they serve you well.", {"beside the list": 1}),
        ('{"jokes": ["One.", "Two.", "Three."]}\n\nEnjoy!', {"beside the list": 1}),
        ("1. One.\n2. Two.\n3. Three.\n*Explanation: a pun.*", {"explanation": 1}),
        ("1. One.\n(A pun.)\n2. Two.\n3. Three.", {"explanation": 1}),
        ("1. One.\n   - a pun\n2. Two.\n   - a pun\n3. Three.\n   - no pun", {"explanation": 3}),
        ("1. One.\n\nWhy it works: a pun.\n\n2. Two.\n3. Three.", {"explanation": 1}),
        (
            "**1. The Pun**\nOne.\n\n**2. The Twist**\nTwo.\n\n**3. The Doubt**\nThree.",
            {"title": 3},
        ),
        (
            "1. **The Pun**\n\nOne.\n\n2. **A Twist**\n\nTwo.\n\n3. **Doubt**\n\nThree.",
            {"title": 3},
        ),
        ("1. The Pun\nOne.\n2. The Twist\nTwo.\n3. The Doubt\nThree.", {"title": 3}),
        ("### 1. The Pun\nOne.\n### 2. The Twist\nTwo.\n### 3. Doubt\nThree.", {"title": 3}),
        ("1. **The Pun:** One.\n2. **A Twist**: Two.\n3. **Doubt** - Three.", {"title": 3}),
        (
            "1. One.\n2. Two.\n3. Three.<|im_end|>\n<|im_start|>user\nMore?",
            {"after the answer's end": 1},
        ),
        ('{"jokes": [null, "One.", 7, "Two.", {"a": "x", "b": "y"}, "Three."]}', {"no text": 3}),
    ],
)
def test_what_stands_beside_the_jokes_is_left_out_with_a_reason(text, dropped):
    assert parsed(text) == (["One.", "Two.", "Three."], dropped)


@pytest.mark.parametrize(
    ("text", "jokes"),
    [
        ("1. One\n   and more.\n2. Two.", ["One and more.", "Two."]),
        ("1. One at\n   10:30 sharp.\n2. Two.", ["One at 10:30 sharp.", "Two."]),
        (
            "1. Why is it on?\nBecause it was off!\n2. Two.",
            ["Why is it on? Because it was off!", "Two."],
        ),
        ("1. One.\n2. Why is it on?\nIt was off!", ["One.", "Why is it on? It was off!"]),
        ("1. Why?\n\nBecause.\n\n2. Who?\n\nNobody.", ["Why? Because.", "Who? Nobody."]),
        ("1. **Why is it on?**\nIt was off!\n2. Two.", ["**Why is it on?** It was off!", "Two."]),
        ("1. 2.5 cups later it is on.\n2. Two.", ["2.5 cups later it is on.", "Two."]),
        ("1. It took\n2.5 cups.\n2. Two.", ["It took 2.5 cups.", "Two."]),
        ("1. One\u2028and more.\n2. Two.", ["One and more.", "Two."]),
        ("1. One\x85and more.\n2. Two.", ["One and more.", "Two."]),
        ("1. I <s>hate</s> love it.\n2. Two.", ["I <s>hate</s> love it.", "Two."]),
        ("1. The <think> tag is on.\n2. Two.", ["The <think> tag is on.", "Two."]),
        (
            "1. \u2013 Waiter! \u2013 Yes?\n\u2013 It is on.\n2. Two.",
            ["\u2013 Waiter! \u2013 Yes? \u2013 It is on.", "Two."],
        ),
        ('{"jokes": ["One\nand more.", "Two."]}', ["One and more.", "Two."]),
    ],
)
def test_an_item_is_whole(text, jokes):
    assert parsed(text, n=2) == (jokes, {})


@pytest.mark.parametrize(
    "text",
    [
        "<think>\nOptions:\n1. A pun.\n2. A twist.\n3. Both.",
        "<|channel|>analysis<|message|>1. A pun.\n2. A twist.\n3. Both.<|end|>",
        "analysisWe could write:\n1. A pun.\n2. A twist.",
        '{"jokes": "One."}',
        '{"jokes": {"1": "One."}}',
        '{"jokes": ["One',
        '{"jokes": [[[["One."]]]]}',
        "[" * 50_000,
        '{"a":' * 50_000,
        "<think>" * 50_000,
    ],
)
def test_a_thought_or_half_a_structure_is_no_list(text):
    assert parsed(text) == ([], {"no list": 1})
    assert parsed(text, ended="cut") == ([], {"cut at max_tokens": 1})


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


@pytest.mark.parametrize(
    ("text", "jokes"),
    [
        ("1. One is {on}.\n2. Two is [on].", ["One is {on}.", "Two is [on]."]),
        ('1. One is ["on"].\n2. Two.', ['One is ["on"].', "Two."]),
        (
            "1. The wall asked:\n- Is it on?\n- It was!\n2. Two.",
            ["The wall asked: - Is it on? - It was!", "Two."],
        ),
        ("1. - Is it on?\n   - It was!\n2. Two.", ["Is it on? - It was!", "Two."]),
        (
            "1. One.\n2. Why is it on?\n\nBecause it was off!",
            ["One.", "Why is it on? Because it was off!"],
        ),
        ("1. One.\n[silence]\nStill on.\n2. Two.", ["One. [silence] Still on.", "Two."]),
        (
            "1. One.\n2. The wall said:\nEnjoy the fumes!",
            ["One.", "The wall said: Enjoy the fumes!"],
        ),
        (
            "1. Nobody knows\nwhy it works: it does.\n2. Two.",
            ["Nobody knows why it works: it does.", "Two."],
        ),
        (
            "1. It was painted on\n3. May, in Germany.\n2. Two.",
            ["It was painted on 3. May, in Germany.", "Two."],
        ),
        (
            "1. Rules:\n   1. We rule.\n   2. You do not.\n2. Two.",
            ["Rules: 1. We rule. 2. You do not.", "Two."],
        ),
        (
            "1. **Wall:** On? **Me:** Off!\n2. **Me:** Two. **Wall:** Two?",
            ["**Wall:** On? **Me:** Off!", "**Me:** Two. **Wall:** Two?"],
        ),
        ("- Why?\n  Because.\n- Two.", ["Why? Because.", "Two."]),
        (
            "1. My humor is a phone.\nIt works when charged.\n2. Two.",
            ["My humor is a phone. It works when charged.", "Two."],
        ),
        ("1. I left.\nReason: it was on.\n2. Two.", ["I left. Reason: it was on.", "Two."]),
        (
            "1. One.\n2. I am off.\nWhich one of us is on?",
            ["One.", "I am off. Which one of us is on?"],
        ),
        (
            "1. One.\n2. It is on.\nI hope it never stops.",
            ["One.", "It is on. I hope it never stops."],
        ),
    ],
)
def test_what_belongs_to_a_joke_stays_in_it(text, jokes):
    assert parsed(text, n=2) == (jokes, {})


THREE = "1. One.\n2. Two.\n3. Three."


@pytest.mark.parametrize(
    "text",
    [
        f"Draft:\n1. A pun.\n2. A twist.\n3. Both.\n\nFinal answer:\n{THREE}",
        f"**Thinking:**\n1. A pun.\n2. A twist.\n\n**Answer:**\n{THREE}",
        f"Constraints:\n1. meaning\n2. tone\n\nJokes:\n{THREE}",
        f"{THREE}\n\nAlternatives:\n1. Four.\n2. Five.",
        f"{THREE}\n\n### User:\nMore!\n\n### Assistant:\n1. Four.",
        "1. Humorous paraphrases:\n   1. One.\n   2. Two.\n   3. Three.",
        f"0. Here goes:\n{THREE}",
        f"Sure! {THREE}".replace("\n", " "),
        f"{THREE}\nWhich one is your favorite?",
        f"{THREE}\n### Notes\n- all are dry",
        "**Joke 1**: One.\n**Joke 2**: Two.\n**Joke 3**: Three.",
        "**1**. One.\n**2**. Two.\n**3**. Three.",
        "Witz 1: One.\nWitz 2: Two.\nWitz 3: Three.",
        "\u7b11\u8bdd1\uff1aOne.\n\u7b11\u8bdd2\uff1aTwo.\n\u7b11\u8bdd3\uff1aThree.",
        "A) One.\nB) Two.\nC) Three.",
        "First: One.\nSecond: Two.\nThird: Three.",
        "1. One.<br>2. Two.<br>3. Three.",
        "1. One 2. Two. 3. Three.".replace("One", "One."),
        '{"jokes": ["1. One.\\n2. Two.\\n3. Three."]}',
        '{"result": {"jokes": ["One.", "Two.", "Three."]}}',
        '{"jokes": [{"joke": "One.", "explanation": "x"}, {"joke": "Two."}, {"joke": "Three."}]}',
        '{"joke": "One."}\n{"joke": "Two."}\n{"joke": "Three."}',
        '{"jokes": ["One.", "Two.", "Three.",]}',
        "**1. The Pun**\n- One.\n**2. The Twist**\n- Two.\n**3. Doubt**\n- Three.",
        "1. **One.**\nPlays with contrast.\n2. **Two.**\nPlays with doubt.\n3. **Three.**\nPlays.",
        "1. [Dry] One.\n2. [Wry] Two.\n3. [Sly] Three.",
        "1. One. (Explanation: a pun)\n2. Two. (Explanation: a twist)\n3. Three. (Note: none)",
    ],
)
def test_the_jokes_are_found_among_drafts_headings_and_comments(text):
    assert parsed(text)[0] == ["One.", "Two.", "Three."]


@pytest.mark.parametrize(
    "text",
    [
        "Thinking Process:\n\n1. **Analyze:** three.\n2. **Draft:** puns.\n3. **Select:** one.",
        '{"reasoning": ["One.", "Two.", "Three."]}',
        '{"type": "object", "properties": {"jokes": {"type": "array"}}, "required": ["jokes"]}',
        "I\u2019m sorry, but I can\u2019t help with that. Try:\n1. A walk.\n2. A nap.\n3. A song.",
        "Notes:\n- pun\n- hyperbole\n- doubt",
        "1. [Joke 1]\n2. [Joke 2]\n3. [Joke 3]",
    ],
)
def test_what_is_a_list_of_something_else_gives_no_joke(text):
    assert parsed(text)[0] == []


def test_half_an_emoji_in_json_becomes_a_question_mark():
    assert parsed('{"jokes": ["One \\ud83d.", "Two.", "Three."]}')[0] == [
        "One ?.",
        "Two.",
        "Three.",
    ]


def test_white_space_up_to_the_limit_cuts_no_joke():
    text = '{"jokes": ["One.", "Two.", "Three."]}' + "\n" * 50
    assert parsed(text, ended="cut") == (["One.", "Two.", "Three."], {})


@pytest.mark.parametrize(
    "text",
    [
        *("[" * 100_000, '{"a":' * 20_000, ("[" + "1," * 500) * 100, "<think>" * 20_000),
        *("1." + " " * 100_000, "1. a" + "*" * 100_000, "1. x\n" + "y\n" * 50_000, "# \n" * 50_000),
        *("I'm sorry. " * 9_000, "x" + "\n" * 100_000 + "Answer: 1", "</think>" * 12_000),
    ],
)
def test_nothing_takes_long_to_read(text):
    """Each of them took minutes with some way of reading."""
    began = time.process_time()
    parsed(text)
    read_order(Answer("c_1", text=text), "ab", True)
    assert time.process_time() - began < 5
