"""Candidates of a student that is served elsewhere."""

import json
from collections import Counter

import pytest

from pipeline import standin
from tests.conftest import rows
from tests.execution.conftest import config  # noqa: F401 - a fixture
from tests.llm.test_door import reply, served


@pytest.fixture
def sampled(cli, config, data):  # noqa: F811
    def run(respond, *more, code=0):
        with served(respond) as (url, _):
            served_there = f'sample.endpoint={{base_url="{url}", model="m"}}'
            flags = ["--set", served_there, "--set", "sample.k=2", *more]
            student = 'rounds=[{candidates="base"}]'
            said = cli(
                *("sample", "--run", "v1", "--config", config, "--set", student, *flags), code=code
            )
        return said, data / "runs/v1/round-1/sample"

    return run


def test_what_is_no_joke_is_left_out_with_its_reason(sampled):
    answers = [
        reply("Whole."),
        reply("<think>Hm.</think>\nThought about.<|im_end|>"),
        reply("<think>\nHm."),
        (200, {"choices": [{"message": {"content": "Half a"}, "finish_reason": "length"}]}),
        (200, {"choices": [{"message": {"content": ""}, "finish_reason": "MAX_TOKENS"}]}),
        (200, {"choices": [{"message": {"content": "No"}, "finish_reason": "SAFETY"}]}),
        reply(None, refusal="No."),
        reply("\u2003\u3000Whole.\n"),
    ]
    _, folder = sampled(lambda body, n: answers[n % len(answers)])
    assert {row["text"] for row in rows(folder / "records.jsonl")} == {"Whole.", "Thought about."}
    dropped = Counter(row["reason"] for row in rows(folder / "dropped.jsonl"))
    assert dropped == {
        "no answer: empty": 10,
        "cut at max_new_tokens": 20,
        "no answer: refused": 20,
    }


def test_where_all_are_cut_no_row_is_left_and_one_is_quoted(sampled):
    choice = {"message": {"content": "Half a"}, "finish_reason": "length"}
    said, folder = sampled(lambda body, n: (200, {"choices": [choice]}), code=4)
    assert "no row is left. Dropped: 80 cut at max_new_tokens.\nOne was: 'Half a'" in said
    assert sum(1 for _ in rows(folder / "dropped.jsonl")) == 80


def test_a_server_that_does_not_sample_is_named_once(sampled):
    said, _ = sampled(lambda body, n: reply(json.dumps(body["messages"])))
    assert said.count("gives 2 equal candidates for each of the first 5 sentences") == 1
    assert "do_sample" in said


def test_a_server_that_samples_is_not(sampled):
    said, _ = sampled(lambda body, n: reply(str(n)))
    assert "equal candidates" not in said


def test_beams_are_refused_where_the_student_is_served(sampled):
    said, _ = sampled(standin.respond, "--set", "sample.num_beams=4", code=3)
    assert "sample.num_beams is no key of the OpenAI protocol" in said
