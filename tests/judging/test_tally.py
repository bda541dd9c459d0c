"""What a step says of its judging, and that one whose judging all failed is not complete."""

import json
import zlib

import pytest

from pipeline import standin
from tests.conftest import rows
from tests.execution.conftest import TEACHERS, config, judged  # noqa: F401 - a fixture


@pytest.fixture
def mute(monkeypatch):
    """A critic that gives no answer to one in so many prompts, and no log-probabilities."""
    respond = standin.respond

    def mute_one_in(many, logprobs=True):
        def answer(body):
            status, answer = respond(body)
            choice = answer["choices"][0]
            if "critic" in body["model"]:
                if not logprobs:
                    choice["logprobs"] = None
                if zlib.crc32(body["messages"][0]["content"].encode()) % many == 0:
                    choice["message"]["content"] = "I cannot tell."
            return status, answer

        monkeypatch.setattr(standin, "respond", answer)

    return mute_one_in


def test_judging_that_all_failed_is_not_complete_and_says_why(cli, config, data, mute):  # noqa: F811
    mute(1)
    for stage, code in (("teacher", 0), ("sample", 0), ("critic", 4)):
        said = cli(stage, "--run", "v1", "--config", config, "--set", TEACHERS, code=code)
    total = sum(1 for _ in rows(data / "runs/v1/round-1/critic/records.jsonl.partial"))
    assert f"{total} of {total} verdicts failed: {total} no answer. With none left" in said
    assert "One answer was: 'I cannot tell.'" in said
    assert not (data / "runs/v1/round-1/critic/manifest.json").exists()


def test_judging_that_failed_in_part_is_told_in_the_last_line_and_in_status(
    cli,
    config,  # noqa: F811
    data,
    mute,
):
    mute(5)
    said = judged(cli, config)
    verdicts = rows(data / "runs/v1/round-1/critic/records.jsonl")
    failed = sum(verdict["outcome"] == "failed" for verdict in verdicts)
    words = f"{failed} of {len(verdicts)} verdicts failed: {failed} no answer"
    assert 0 < failed < len(verdicts)
    assert said.splitlines()[-1].endswith(words)
    assert words in cli("status", "--run", "v1")
    manifest = json.loads((data / "runs/v1/round-1/critic/manifest.json").read_text())
    assert manifest["judging"] == {
        "verdicts": len(verdicts),
        "failed": failed,
        "reasons": {"no answer": failed},
    }
    assert "faults" not in cli("verify", "--run", "v1")


def test_a_step_without_any_usable_logprob_says_so_once(cli, config, mute):  # noqa: F811
    mute(10**9, logprobs=False)
    assert judged(cli, config).count("had log-probabilities that could") == 1
    said = judged(cli, config, "--set", "critic.endpoint.logprobs=false", "--force")
    assert "log-probabilities" not in said
