"""Who judges, in words."""

import pytest

from pipeline.config.file import assign, load, parse_assignment, validate
from tests import ROOT


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ([], "standin-judge"),
        (["judge.endpoint.model='standin-critic'"], "standin-critic, which is also the critic"),
        (
            ["judge.endpoint.model='x'", "critic.endpoint.model='x'", "teacher.endpoint.model='x'"],
            "x, which is also the teacher and the critic",
        ),
    ],
)
def test_a_judge_that_taught_or_criticised_is_named_as_such(settings, words):
    config = load(ROOT / "configs/demo.toml")
    for setting in settings:
        assign(config, *parse_assignment(setting))
    assert validate(config, "").judge_in_words == words
