"""The critic's rounds of pairs, in the stage."""

import json
import zlib

import pytest

from pipeline.judging.preferences import rankings
from pipeline.rows.records import Verdict
from pipeline.rows.training import Measured
from tests.conftest import rows
from tests.execution.conftest import config  # noqa: F401 - a fixture

FLAGS = [
    "--set",
    'rounds=[{candidates="teacher", objective="brio", rankings=true}]',
    "--set",
    "teacher.jokes=6",
]
SWISS = ["--set", "critic.pairs=swiss"]


@pytest.fixture
def sampled(cli, config):  # noqa: F811
    """A run whose round judges six jokes of the teacher's for each of forty literals."""
    for stage in ("teacher", "sample"):
        cli(stage, "--run", "v1", "--config", config, *FLAGS)
    return config


def test_a_third_of_the_pairs_is_judged_and_ranks_all_candidates(cli, data, sampled):
    said = cli("critic", "--run", "v1", *FLAGS, *SWISS, "--dry-run")
    assert "up to 400 times" in said  # 40 literals, 5 of 15 pairs, both orders
    cli("critic", "--run", "v1", *FLAGS, *SWISS)
    verdicts = [Verdict(**row) for row in rows(data / "runs/v1/round-1/critic/records.jsonl")]
    per = {
        literal: [v for v in verdicts if v.literal_id == literal]
        for literal in {v.literal_id for v in verdicts}
    }
    assert len(per) > 30
    for judged in per.values():
        jokes = {joke for verdict in judged for joke in (verdict.a, verdict.b)}
        if len(jokes) == 6:
            assert len(judged) == 5
    lengths = {joke: 5 for verdict in verdicts for joke in (verdict.a, verdict.b)}
    measured = Measured(dict.fromkeys(per, "p"), lengths, dict.fromkeys(per, 9))
    ranked, _ = rankings(verdicts, measured, (0.8, 1.2))
    assert len(ranked) == len(per)
    assert max(len(row.candidates) for row in ranked) == 6
    assert all(row.scores == sorted(row.scores, reverse=True) for row in ranked)


def test_the_same_rounds_again_cost_nothing(cli, data, sampled):
    cli("critic", "--run", "v1", *FLAGS, *SWISS)
    folder = data / "runs/v1/round-1/critic"
    first, paid = (
        rows(folder / "records.jsonl"),
        json.loads((folder / "manifest.json").read_text())["spent"]["calls"],
    )
    cli("critic", "--run", "v1", *FLAGS, *SWISS, "--force")
    assert rows(folder / "records.jsonl") == first
    assert json.loads((folder / "manifest.json").read_text())["spent"]["calls"] == paid


def test_a_failed_pair_is_not_judged_again(cli, data, sampled, monkeypatch):
    from pipeline import standin

    respond = standin.respond

    def mute(body):
        status, answer = respond(body)
        if (
            "critic" in body["model"]
            and zlib.crc32(body["messages"][0]["content"].encode()) % 5 == 0
        ):
            answer["choices"][0]["message"]["content"] = "I cannot tell."
            answer["choices"][0]["logprobs"] = None
        return status, answer

    monkeypatch.setattr(standin, "respond", mute)
    cli("critic", "--run", "v1", *FLAGS, *SWISS)
    verdicts = rows(data / "runs/v1/round-1/critic/records.jsonl")
    assert sum(verdict["outcome"] == "failed" for verdict in verdicts) > 5
    pairs = [frozenset((verdict["a"], verdict["b"])) for verdict in verdicts]
    assert len(pairs) == len(set(pairs))
