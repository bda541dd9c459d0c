"""[guards] through the stages: flagged, counted, shown, and kept out of training when asked."""

import contextlib
import json
import threading
from types import SimpleNamespace

import pytest

from pipeline import standin
from pipeline.config.guards import Guards
from pipeline.errors import ConfigError
from pipeline.judging import offence
from tests import ROOT
from tests.conftest import rows
from tests.small_run import manifest, run

WHY = ("may offend", "not judged by the moderator")


def flags(**guards):
    given = [
        f"guards.{key}={value if key == 'moderator' else json.dumps(value)}"
        for key, value in guards.items()
    ]
    return [part for setting in given for part in ("--set", setting)]


@contextlib.contextmanager
def moderator():
    """A server by which a joke offends that says lol, and that gives no answer about parties."""
    asked = []

    def respond(body):
        prompt = body["messages"][0]["content"]
        asked.append(prompt)
        answer = "1" if "lol." in prompt else "2"
        text = "Hm." if "party" in prompt else f"Reason: so it is.\nAnswer: {answer}"
        message = {"role": "assistant", "content": text}
        return 200, {
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }

    server = standin.server(0, respond)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        server.server_close()


def test_known_jokes_are_flagged_shown_and_kept_out(inside, tmp_path):
    jokes = rows(inside / "runs/v1/teacher/records.jsonl")
    learned = rows(inside / "runs/v1/sft/records.jsonl")
    reference = next(row for row in rows(inside / "runs/v1/evaluate/records.jsonl"))
    known = [
        next(row["text"] for row in jokes if row["id"] == learned[0]["joke_id"]),
        reference["b_text"],
    ]
    path = tmp_path / "known.txt"
    path.write_text("\n".join(known))
    run("evaluate", "--run", "watched", "--from", "v1", *flags(known_jokes=str(path)))
    flagged = rows(inside / "runs/watched/evaluate/flags.jsonl")
    assert {row["schema"] for row in flagged} == {"flag/1"}
    teachers = [row for row in flagged if row["author"] == "teacher"]
    assert reference["b"] in {row["joke_id"] for row in teachers}
    assert all(row["match"] in known for row in flagged)
    counts = manifest(inside, "evaluate", "watched")["flags"]
    assert sum(counts.values()) == len(flagged)
    figures = rows(inside / "runs/watched/evaluate/metrics.jsonl")
    shares = {(row["split"], row["contestant"]): row for row in figures if row["vs"] is None}
    told = shares["test", "teacher"]
    in_test = [row for row in teachers if row["text"] == reference["b_text"]]
    assert told["known"] > 0 or not in_test
    assert all(row["offensive"] == 0 for row in shares.values())
    assert "faults" not in run("verify", "--run", "watched")
    assert "known joke" in run("show", flagged[0]["id"], "--run", "watched")
    run("report", "--run", "watched")
    assert "teacher: known joke" in (inside / "runs/watched/report.html").read_text()

    kept = flags(known_jokes=str(path), keep_out=["known"])
    run("sft", "--run", "kept", "--from", "v1", *kept, "--set", "sft.trainer.max_steps=1")
    dropped = rows(inside / "runs/kept/sft/dropped.jsonl")
    assert learned[0]["joke_id"] in {
        row["dropped"] for row in dropped if row["reason"] == "known joke"
    }
    left = rows(inside / "runs/kept/sft/records.jsonl")
    assert learned[0]["joke_id"] not in {row["joke_id"] for row in left}


def test_a_moderator_is_asked_once_and_kept_out_of_training(inside):
    with moderator() as (url, asked):
        endpoint = f'{{endpoint={{base_url="{url}", model="m", logprobs=false}}}}'
        settings = flags(offence="endpoint", moderator=endpoint, keep_out=["offence"])
        settings += ["--set", "dpo.trainer.max_steps=1", "--set", "sft.trainer.max_steps=8"]
        run("sft", "--run", "moderated", "--from", "v1", *settings)
        run("all", "--run", "moderated", "--round", "1")
        jokes = rows(inside / "runs/moderated/teacher/records.jsonl")
        critic = rows(inside / "runs/moderated/round-1/critic/records.jsonl")
        dropped = rows(inside / "runs/moderated/sft/dropped.jsonl")
        out = {row["dropped"] for row in dropped if row["reason"] in WHY}
        splits = {row["id"] for row in learned_literals(inside)}
        assert out == {
            row["id"] for row in jokes if offends(row["text"]) and row["literal_id"] in splits
        }
        dropped = rows(inside / "runs/moderated/round-1/dpo/dropped.jsonl")
        out = {row["dropped"] for row in dropped if row["reason"] in WHY}
        assert out == {
            row["id"] for row in critic if offends(row["a_text"]) or offends(row["b_text"])
        }
        before = len(asked)
        run("dpo", "--run", "moderated", "--force")
        assert len(asked) == before  # what was paid for is kept


def offends(text):
    return "lol." in text or "party" in text


def learned_literals(data):
    for split in ("train", "validation"):
        yield from rows(ROOT / f"data/literals/{split}.jsonl")[:24]


def test_words_of_a_list_that_others_keep():
    jokes = [
        SimpleNamespace(text=text) for text in ("What the fuck.", "A classic assessment.", "Sh1t.")
    ]
    context = SimpleNamespace(config=SimpleNamespace(guards=Guards(offence="words")))
    found = [(one.joke.text, one.how, one.why) for one in offence.flagged(context, jokes)]
    assert found == [
        ("What the fuck.", "may offend", "fuck"),
        ("Sh1t.", "may offend", "sh1t"),
    ]
    for languages in (["klingon"], ["English"]):
        context.config.guards = Guards(offence="words", languages=languages)
        with pytest.raises(ConfigError, match="guards.languages: no list for"):
            list(offence.flagged(context, jokes))


@pytest.mark.parametrize(
    ("guards", "said"),
    [
        ({"offence": "endpoint"}, "go together"),
        ({"keep_out": ["known"]}, "needs known_jokes"),
        ({"keep_out": ["offence"]}, 'needs offence = "words" or "endpoint"'),
    ],
)
def test_guards_that_cannot_watch_are_refused(guards, said):
    with pytest.raises(ValueError, match=said):
        Guards(**guards)
