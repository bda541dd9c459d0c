import collections
import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import prompts, standin
from pipeline.parsing import json_lists
from pipeline.standin import teacher
from pipeline.standin.similes import similes
from tests import ROOT

SENTENCES = [
    json.loads(line)["text"]
    for line in (ROOT / "data/literals/train.jsonl").read_text().splitlines()
]


def ask(model, content, **more):
    status, body = standin.respond(
        {"model": model, "messages": [{"role": "user", "content": content}], **more}
    )
    assert status == 200, body
    return body["choices"][0]


def judged(
    first, second, literal="The old kettle broke on Monday.", model="standin-critic", **more
):
    content = prompts.render(
        "critic", aspect="overall", literal=literal, first=first, second=second
    )
    return ask(model, content, logprobs=True, **more)


def test_the_same_request_has_the_same_answer_and_another_seed_another():
    content = prompts.render("teacher", n=3, literal=SENTENCES[0])
    assert ask("standin-teacher", content, seed=1) == ask("standin-teacher", content, seed=1)
    assert ask("standin-teacher", content, seed=1) != ask("standin-teacher", content, seed=2)


def test_it_refuses_three_to_four_percent():
    texts = [standin.teach(prompts.render("teacher", n=3, literal=text), 0) for text in SENTENCES]
    refused = sum(text.startswith("I'm sorry") for text in texts) / len(texts)
    assert 0.02 < refused < 0.055


@pytest.mark.parametrize(
    "literal", ["Hm.", "日本語の文です。", "12 34", "a", "It is what it is.", "Ünïcödé wörds, too!"]
)
def test_it_writes_on_any_sentence(literal):
    assert ask("standin-student", prompts.render("student", literal=literal))["message"]["content"]
    content = prompts.render("teacher", n=3, literal=literal)
    assert ask("standin-teacher", content)["message"]["content"].count("\n") >= 2


@pytest.mark.parametrize(
    ("sentence", "topic"),
    [
        ("My old kettle broke on Monday.", "kettle"),
        ("We went to the new swimming pool.", "pool"),
        ("Everyone likes sandwiches.", "sandwiches"),
        ("I did it.", "matter"),
        ("It is what it is.", "matter"),
        ("They will mention which it was.", "matter"),
        ("The dog ate my cake.", "dog"),
        ("We ate the last strawberries.", "strawberries"),
        ("The metronome is on the pier.", "metronome"),
    ],
)
def test_topic(sentence, topic):
    assert standin.topic(sentence) == topic


@pytest.mark.parametrize(
    ("sentence", "subjects"),
    [
        ("My old kettle broke on Monday.", ["food"]),
        ("The dog ate my cake.", ["animals", "food"]),
        ("It rained all through the wedding.", ["weather", "family"]),
        ("They will mention which it was.", []),
    ],
)
def test_subjects(sentence, subjects):
    assert standin.subjects(sentence) == subjects


def test_it_finds_the_subject_of_most_sentences():
    found = sum(bool(standin.subjects(sentence)) for sentence in SENTENCES)
    assert found > 0.9 * len(SENTENCES)


def test_a_line_stands_for_one_group_only():
    lines = [
        line
        for groups in standin.SUBJECTS.values()
        for group in groups
        for line in (*group.lines, group.aside)
    ]
    assert len(lines) == len(set(lines))
    assert len(standin.SUBJECTS) == 16


@pytest.mark.parametrize(
    ("joke", "fit"),
    [
        ("The cake fell. The cake went straight to my hips.", 1),
        ("The cake fell. Dentists call it a growth industry.", 1),
        ("The cake fell. The cake loafed around all day.", 0.4),  # bread is food too
        ("The cake fell. The cake honked at a pedestrian.", 0),
        ("The cake fell. The cake went to my hips.", 0),
        ("The cake fell. The cake declined to comment.", 0),
        ("The cake fell.", 0),
    ],
)
def test_what_fits_the_subject(joke, fit):
    assert standin.features("The cake fell.", joke)["fits the subject"] == fit


def test_what_everybody_says():
    name = "says what everybody says"
    assert standin.features("The cake fell.", "The cake fell. Scientists are baffled.")[name] == 1
    assert standin.features("The cake fell.", "The cake fell, as foretold by absolutely nobody.")[
        name
    ]
    assert (
        standin.features("The cake fell.", "The cake fell. The cake laughed at my diet.")[name] == 0
    )


@pytest.mark.parametrize(
    ("sentence", "joke", "leans"),
    [
        ("The cake fell again.", "The cake fell again, like a boomerang with a grudge.", 1),
        ("The cake fell like a stone.", "The cake fell like a stone. I miss it.", 0),
        ("The cake fell again.", "The cake fell again. I like the floor.", 0),
    ],
)
def test_leaning_on_a_simile(sentence, joke, leans):
    assert standin.features(sentence, joke)["leans on a simile"] == leans


def test_a_line_that_fits_beats_one_that_does_not_and_that_one_what_everybody_says():
    best_first = [
        "The cake fell. The cake kept three dentists in business.",
        "The cake fell. The cake got lost in translation.",
        "The cake fell. Scientists are baffled.",
        "The cake fell, lol.",
    ]
    for model in standin.TASTE:
        for better, worse in itertools.combinations(best_first, 2):
            for first, second, answer in ((better, worse, "1"), (worse, better, "2")):
                choice = judged(first, second, "The cake fell.", noise=0, model=model)
                assert choice["message"]["content"].endswith(answer)


def test_the_teachers_jokes_fit_or_are_similes_by_the_form_of_the_sentence():
    shares = {True: [], False: []}
    stock = 0
    for sentence in SENTENCES:
        joke = standin.joke(sentence, 0, 0, set())
        row = standin.features(sentence, joke)
        stock += row["says what everybody says"]
        shares[bool(similes(sentence))].append(row["fits the subject"] == 1)
    assert 0.15 < sum(shares[True]) / len(shares[True]) < 0.3
    assert 0.6 < sum(shares[False]) / len(shares[False]) < 0.8
    assert 0.05 < stock / len(SENTENCES) < 0.13


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        (
            "It rained again because I washed the car.",
            [
                ("again", "a boomerang with a grudge"),
                ("because", "a detective with a free afternoon"),
            ],
        ),
        ("The cake fell.", []),
    ],
)
def test_similes(sentence, said):
    assert similes(sentence) == said


STYLED = """Write {n} jokes in the voice of {who}, about the sentence below.

Sentence: "{sentence}"
"""


def test_another_style_has_other_favorite_lines():
    def teach(who, n=3):
        content = STYLED.format(n=n, who=who, sentence="The cake fell.")
        return [ask("standin-teacher", content, seed=seed)["message"]["content"] for seed in "abcd"]

    assert teach("a tired pirate") == teach("a tired pirate")
    assert teach("a tired pirate") != teach("a happy butler")
    assert all(text.count("The cake fell") == 3 for text in teach("a tired pirate"))
    assert all(text.count("The cake fell") == 5 for text in teach("a tired pirate", 5))


def favorites(who):
    """How often each line about a cake is drawn under a style."""
    prompt = teacher.prompted(STYLED.format(n=1, who=who, sentence="The cake fell."))
    texts = [teacher.draw(prompt, seed, 0, set()).text for seed in range(400)]
    counts = collections.Counter(text for text in texts if "The cake fell. The cake" in text)
    group = standin.groups("The cake fell.")[0]
    return [counts[f"The cake fell. The cake {line}."] for line in group.lines]


def test_a_style_leans_on_one_line_of_a_thing():
    assert favorites("a tired pirate") == [225, 12, 14]
    assert favorites("a happy butler") == [17, 11, 215]


VERBALIZED = """Write {n} jokes about the sentence below, each with its probability.
Answer with a JSON object.

Sentence: "{sentence}"
"""


def test_verbalized_sampling():
    content = VERBALIZED.format(n=5, sentence="The cake fell.")
    text = ask("standin-teacher", content)["message"]["content"]
    rows = json.loads(text)["jokes"]
    assert [sorted(row) for row in rows] == [["probability", "text"]] * 5
    assert all(row["text"].startswith("The cake fell") for row in rows)
    assert all(0 < row["probability"] < 0.5 for row in rows)
    listed = json_lists.read(text, 5)
    assert listed.items == [row["text"] for row in rows]


def devices(content, sentence):
    prompt = teacher.prompted(content.format(n=1, who="a pirate", sentence=sentence))
    return [
        standin.device(sentence, teacher.draw(prompt, seed, 0, set()).text) for seed in range(200)
    ]


def test_verbalized_sampling_draws_more_widely():
    stock = standin.device("x.", "x. Scientists are baffled.")
    plain = devices(STYLED, "The cake fell.")
    wide = devices(VERBALIZED, "The cake fell.")
    assert wide.count(stock) < plain.count(stock)
    assert most(wide) < 0.6 * most(plain)


def most(texts):
    return max(collections.Counter(texts).values())


def test_its_taste_in_each_feature():
    good = "The old kettle broke on Monday, and now the kettle wants a raise."
    worse = {
        "keeps the meaning": "A train left, and now the train wants a raise.",
        "has a twist": "On Monday the old kettle broke.",
        "is worn out": "Funny story: the old kettle broke on Monday, lol.",
        "repeats itself": "The old kettle broke on Monday raise raise raise raise raise.",
        "stops mid-sentence": "The old kettle broke on Monday, and now the kettle wants",
        "is the sentence itself": "The old kettle broke on Monday.",
    }
    for text in worse.values():
        for model in standin.TASTE:
            assert judged(good, text, noise=0, model=model)["message"]["content"].endswith(
                "Answer: 1"
            )
            assert judged(text, good, noise=0, model=model)["message"]["content"].endswith(
                "Answer: 2"
            )


def test_logprobs_belong_to_the_answer_token_and_agree_with_it():
    choice = judged(
        "The old kettle broke on Monday. Even the kettle rolled its eyes.", "Monday.", noise=0
    )
    content = choice["logprobs"]["content"]
    assert "".join(token["token"] for token in content) == choice["message"]["content"]
    assert content[-1]["token"] == "1"
    assert [top["token"] for top in content[-1]["top_logprobs"]] == ["1", "2"]


def test_position_bias_and_noise_are_settable():
    same = "The old kettle broke on Monday. Scientists are baffled."
    assert (
        standin.rank(
            prompts.render("critic", aspect="overall", literal="x y", first=same, second=same),
            "standin-critic",
            0,
            0,
        )[1]
        == 0.5
    )
    assert judged(same, same, position_bias=2.0, noise=0)["message"]["content"].endswith("1")
    assert judged(same, same, position_bias=-2.0, noise=0)["message"]["content"].endswith("2")


def test_judge_and_critic_differ_in_taste():
    assert standin.TASTE["standin-judge"] != standin.TASTE["standin-critic"]


def test_an_unknown_model_and_an_unreadable_prompt_are_refused():
    assert standin.respond({"model": "gpt", "messages": []})[0] == 404
    assert (
        standin.respond(
            {"model": "standin-critic", "messages": [{"content": "which is funnier?"}]}
        )[0]
        == 400
    )


CAKES = ["The cake fell.", "My pie was late.", "The muffin is cold."]


def sets(
    first, second, model="standin-judge", sentences=CAKES, head="Which of two sets is funnier?"
):
    lines = [head, ""]
    lines += [f"Sentence {i}: {json.dumps(text)}" for i, text in enumerate(sentences, 1)]
    for place, answers in enumerate((first, second), 1):
        lines += ["", f"Set {place}"]
        lines += [f"{i}. {json.dumps(text)}" for i, text in enumerate(answers, 1)]
    choice = ask(model, "\n".join(lines), logprobs=True, noise=0)
    return choice["message"]["content"], choice["logprobs"]["content"][-1]["top_logprobs"]


VARIED = [
    "The cake fell. The cake kept three dentists in business.",
    "My pie was late. The pie went straight to my hips.",
    "The muffin is cold. The muffin laughed at my diet.",
]
ONE_LINE = [
    "The cake fell. The cake laughed at my diet.",
    "My pie was late. The pie laughed at my diet.",
    "The muffin is cold. The muffin laughed at my diet.",
]


@pytest.mark.parametrize("model", list(standin.TASTE))
def test_a_set_that_uses_a_line_again_loses_against_a_varied_one(model):
    text, top = sets(VARIED, ONE_LINE, model)
    assert text == "Reason: set 2 uses a line again.\nAnswer: 1"
    assert [token["token"] for token in top] == ["1", "2"]
    text, _ = sets(ONE_LINE, VARIED, model)
    assert text == "Reason: set 1 uses a line again.\nAnswer: 2"


def test_a_set_of_better_jokes_wins():
    stock = [f"{text[:-1]}. Scientists are baffled." for text in CAKES[:1]] + VARIED[1:]
    text, _ = sets(VARIED, stock)
    assert text.endswith("Answer: 1")
    assert "set" in text
    text, _ = sets(stock, VARIED)
    assert text.endswith("Answer: 2")


def test_sets_of_different_sizes_are_refused():
    lines = ["Which of two sets is funnier?", *map(json.dumps, [*CAKES, *VARIED, "one", "two"])]
    body = {"model": "standin-judge", "messages": [{"content": "\n".join(lines)}]}
    assert standin.respond(body)[0] == 400


def test_its_version_is_of_all_its_files():
    files = sorted((ROOT / "pipeline/standin").glob("*.py"))
    assert standin.version() == hashlib.sha256(b"".join(map(Path.read_bytes, files))).hexdigest()


def test_it_is_served_on_a_port():
    command = [sys.executable, "-m", "pipeline.standin", "--help"]
    assert (
        "Serve the stand-in on loopback."
        in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    )
