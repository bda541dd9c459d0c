import json

import pytest

from pipeline import prompts, standin
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
        ("We went to the new swimming pool.", "swimming"),
        ("Everyone likes sandwiches.", "sandwiches"),
        ("I did it.", "did"),
    ],
)
def test_topic(sentence, topic):
    assert standin.topic(sentence) == topic


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
