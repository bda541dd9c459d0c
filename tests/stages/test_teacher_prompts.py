"""Several ways of asking the teacher."""

import json
from collections import Counter

import pytest

from pipeline import prompts, standin
from pipeline.judging import diversity
from pipeline.stages import teacher
from tests import ROOT
from tests.conftest import rows
from tests.stages.test_teacher import parsed

ALL = ["teacher", "teacher_deadpan", "teacher_absurd", "teacher_storyteller", "teacher_verbalized"]
SENTENCES = [
    json.loads(line)["text"]
    for line in (ROOT / "data/literals/train.jsonl").read_text().splitlines()
][:200]
FEW = ("--set", "literals.limit={train=40,validation=5,test=5,ood=5}")


@pytest.fixture
def told(cli, data):
    """Runs the teacher with these prompts and gives its rows."""

    def tell(name, *names, jokes=3):
        given = ("--set", f"teacher.prompts={json.dumps(names)}", "--set", f"teacher.jokes={jokes}")
        cli("teacher", "--run", name, *FEW, *given)
        return rows(data / f"runs/{name}/teacher/records.jsonl")

    return tell


def test_each_joke_says_which_prompt_asked_for_it(cli, told, data):
    jokes = told("every", *ALL)
    asked = Counter(row["prompt"] for row in jokes)
    assert set(asked) == set(ALL)
    assert min(asked.values()) > 60
    for row in jokes:
        assert row["index"] // 3 == ALL.index(row["prompt"])
    alone = told("alone", "teacher")
    assert [row["text"] for row in jokes if row["prompt"] == "teacher"] == [
        row["text"] for row in alone
    ]
    recipe = json.loads((data / "runs/every/teacher/manifest.json").read_text())["recipe"]
    assert list(recipe["prompts"]) == ALL
    assert "faults" not in cli("verify", "--run", "every")


def test_a_joke_that_another_prompt_gave_is_left_out(told, data):
    jokes = told("every", *ALL)
    by_literal = {}
    for row in jokes:
        by_literal.setdefault(row["literal_id"], []).append(teacher.fold(row["text"]))
    assert all(len(texts) == len(set(texts)) for texts in by_literal.values())
    dropped = rows(data / "runs/every/teacher/dropped.jsonl")
    assert any(row["reason"] == "same joke twice" for row in dropped)


def test_a_verbalized_prompt_gives_more_devices_than_the_plain_one():
    def told(name):
        jokes = []
        for text in SENTENCES:
            content = prompts.render(name, n=5, literal=text)
            asked = {"model": "standin-teacher", "messages": [{"role": "user", "content": content}]}
            answer = standin.respond(asked)[1]["choices"][0]["message"]["content"]
            jokes += [(text, joke) for joke in parsed(answer, n=5)[0]]
        return diversity.measure(jokes)

    plain, verbalized = told("teacher"), told("teacher_verbalized")
    assert verbalized.effective > plain.effective


def test_an_endpoint_with_schemas_is_asked_for_probabilities_where_the_prompt_is():
    for name in ALL:
        text = prompts.render(name, n=5, literal="The kettle is on.", json=True)
        assert '"jokes"' in text
        assert text.splitlines()[-1] == 'Sentence: "The kettle is on."'
        assert ('"probability"' in prompts.text(name)) == (name == "teacher_verbalized")
    items = teacher.WITH_PROBABILITIES["json_schema"]["schema"]["properties"]["jokes"]["items"]
    assert items["required"] == ["text", "probability"]


@pytest.mark.parametrize(
    ("text", "jokes"),
    [
        (
            "1. (probability: 0.3) One.\n2. (prob. 12 %) Two.\n3. [p=0.05] Three.",
            ["One.", "Two.", "Three."],
        ),
        (
            "1. One. (probability: 0.3)\n2. Two. (p = .1)\n3. Three. (p = 8%)",
            ["One.", "Two.", "Three."],
        ),
        ("1. One (0.3)\n2. Two\n3. Three", ["One (0.3)", "Two", "Three"]),
        ("1. One. (0.3)\n2. Two. (.05)\n3. Three", ["One.", "Two.", "Three"]),
        (
            "1. One. [p \u2248 0.12]\n2. Two. (Probability: 0,12)\n3. Three.",
            ["One.", "Two.", "Three."],
        ),
        ("1. **(0.12)** One.\n2. **(0.2)** Two.\n3. **(0.3)** Three.", ["One.", "Two.", "Three."]),
        (
            "1. It rained (50%)\n2. It did (100%)\n3. So (9%)",
            ["It rained (50%)", "It did (100%)", "So (9%)"],
        ),
        (
            "1. The rent, probability 100%\n2. With hope, probability 0%\n3. So",
            ["The rent, probability 100%", "With hope, probability 0%", "So"],
        ),
        ("1. Beats 50%\n2. At 9 %\n3. Of 100 %", ["Beats 50%", "At 9 %", "Of 100 %"]),
        (
            '{"jokes": [{"text": "One.", "probability": 0.4}, {"probability": 0.1, "text": "Two."}, '
            '{"text": "Three.", "probability": 0.02}]}',
            ["One.", "Two.", "Three."],
        ),
    ],
)
def test_probabilities_are_no_part_of_a_joke(text, jokes):
    assert parsed(text)[0] == jokes
