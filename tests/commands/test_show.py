"""show: the life of a row, and lists of rows, on a synthetic run."""

import json

import pytest

from pipeline.rows import jsonl
from pipeline.rows.records import Joke
from tests.conftest import rows
from tests.synthetic import make_run


@pytest.fixture
def folder(data):
    return make_run("v1", 60)


def first(folder, name, **wanted):
    return next(
        row
        for row in rows(folder / name)
        if all(row[key] == value for key, value in wanted.items())
    )


@pytest.mark.parametrize(
    "name",
    [
        "teacher/records.jsonl",
        "sft/records.jsonl",
        "round-1/sample/records.jsonl",
        "round-1/critic/records.jsonl",
        "round-1/critic/dropped.jsonl",
        "round-1/dpo/records.jsonl",
        "round-1/dpo/margins.jsonl",
        "evaluate/answers.jsonl",
        "evaluate/records.jsonl",
    ],
)
def test_any_id_of_any_kind_shows_the_whole_life_of_its_literal(cli, folder, name):
    row = rows(folder / name)[-1]
    said = cli("show", row["id"], "--run", "v1")
    literal = next(
        r for r in rows(folder.parent.parent / "literals-v1.jsonl") if r["id"] == row["literal_id"]
    )
    assert said.startswith(
        f"{literal['id']}  {literal['split']}  synthetic, CC0-1.0\n  {literal['text']}\n"
    )
    for file, key in (("teacher/records.jsonl", "id"), ("round-1/critic/records.jsonl", "id")):
        for other in rows(folder / file):
            assert (other[key] in said) == (other["literal_id"] == row["literal_id"])
    assert cli("show", row["literal_id"], "--run", "v1").replace("\n", "") == said.replace("\n", "")


def test_a_life_tells_the_verdict_the_preference_the_steps_and_the_margins(cli, folder):
    preference = rows(folder / "round-1/dpo/records.jsonl")[0]
    verdict = first(folder, "round-1/critic/records.jsonl", id=preference["verdict_id"])
    margin = first(folder, "round-1/dpo/margins.jsonl", preference_id=preference["id"])
    said = " ".join(cli("show", preference["id"], "--run", "v1").split())
    for order in verdict["orders"]:
        assert (
            f"shown {order['shown']}: p(a) {order['p_a']:.3f}, says {order['answer']} "
            f"{order['reason']}" in said
        )
    assert (
        f"{preference['id']} trained on {preference['chosen_id']} over {preference['rejected_id']}"
        in said
    )
    after = margin["chosen_after"] - margin["rejected_after"]
    assert f"step 1; log p(chosen) - log p(rejected) before +1.50, after {after:+.2f}" in said


def test_a_life_says_why_there_is_no_preference(cli, folder):
    dropped = first(folder, "round-1/dpo/dropped.jsonl")
    said = cli("show", dropped["dropped"], "--run", "v1")
    assert f"dropped: {dropped['reason']}  {dropped['dropped']}" in said


def test_the_judge_s_view_of_every_contestant(cli, folder):
    literal = rows(folder / "evaluate/records.jsonl")[0]["literal_id"]
    said = cli("show", literal, "--run", "v1")
    for name in ("base", "sft", "round-1"):
        assert any(
            f"{name} {outcome}" in said for outcome in ("wins", "loses", "tie", "inconsistent")
        )


def test_a_call_and_a_metric_have_ids_as_well(cli, folder):
    call = rows(folder / "teacher/records.jsonl")[5]
    assert call["literal"] in " ".join(cli("show", call["call"], "--run", "v1").split())
    metric = next(row for row in rows(folder / "evaluate/metrics.jsonl") if row["wtr"] is not None)
    assert f"wtr {metric['wtr']}" in " ".join(cli("show", metric["id"], "--run", "v1").split())


def test_a_unique_prefix_is_enough_and_others_are_listed(cli, folder):
    row = rows(folder / "teacher/records.jsonl")[0]
    taken = [
        other["id"]
        for name in ("teacher", "round-1/sample")
        for other in rows(folder / name / "records.jsonl")
    ]
    taken += [other["id"] for other in rows(folder / "evaluate/answers.jsonl")]
    short = next(
        row["id"][:n] for n in range(3, 15) if sum(i.startswith(row["id"][:n]) for i in taken) == 1
    )
    assert row["id"] in cli("show", short, "--run", "v1")
    assert "Several ids start with j_: j_" in cli("show", "j_", "--run", "v1", code=3)
    assert "No id of run v1 starts with v_000000000000" in cli(
        "show", "v_000000000000", "--run", "v1", code=3
    )
    assert "is not an id, nor the start of one" in cli("show", "'; DROP", "--run", "v1", code=3)
    assert "No run 'v2'" in cli("show", "j_", "--run", "v2", code=4)


def test_a_list_takes_filters(cli, folder):
    verdicts = [
        row
        for row in rows(folder / "round-1/critic/records.jsonl")
        if row["outcome"] == "inconsistent"
    ]
    said = cli(
        "show", "--run", "v1", "--stage", "critic", "--outcome", "inconsistent", "--limit", "3"
    )
    assert [row["id"] in said for row in verdicts[:4]] == [True, True, True, False]
    assert f"3 of {len(verdicts)} rows" in said
    answers = {
        row["id"] for row in rows(folder / "evaluate/answers.jsonl") if row["author"] == "sft"
    }
    judged = [row["id"] for row in rows(folder / "evaluate/records.jsonl") if row["a"] in answers]
    said = cli("show", "--run", "v1", "--stage", "evaluate", "--author", "sft", "--limit", "100")
    assert f"{len(judged)} of {len(judged)} rows" in said
    assert all(row in said for row in judged)
    dropped = [
        row
        for row in rows(folder / "round-1/critic/dropped.jsonl")
        if row["reason"] == "same candidate"
    ]
    said = cli("show", "--run", "v1", "--stage", "critic", "--dropped", "same")
    assert f"of {len(dropped)} rows" in said
    assert "No row of teacher" in cli(
        "show", "--run", "v1", "--stage", "teacher", "--author", "nobody"
    )
    assert "teacher of run v1 dropped nothing" in cli(
        "show", "--run", "v1", "--stage", "teacher", "--dropped", code=4
    )
    assert "show what?" in cli("show", "--run", "v1", code=3)


def test_what_a_model_wrote_moves_no_cursor_and_makes_no_markup(cli, folder):
    path = folder / "teacher/records.jsonl"
    found = rows(path)
    nasty = "\x1b[2J\x1b]0;owned\x07[bold red]x[/] \u202eevil\u202c שלום 🤡\nnext"
    path.write_text(
        "".join(
            json.dumps({**row, "text": nasty} if n == 0 else row) + "\n"
            for n, row in enumerate(found)
        )
    )
    said = cli("show", found[0]["id"], "--run", "v1")
    assert not set("\x1b\x07\u202e\u202c") & set(said)
    assert "\\u001b[2J\\u001b]0;owned\\u0007[bold red]x[/] \\u202eevil\\u202c שלום 🤡" in said
    said = cli("show", "--run", "v1", "--stage", "teacher", "--limit", "1")
    assert not set("\x1b\x07\u202e") & set(said)


def test_a_line_that_is_no_json_is_named(cli, folder):
    path = folder / "teacher/records.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b'{"id": "j_broken' + lines[0][15:40] + b"\n" + b"".join(lines[2:]))
    literal = jsonl.parse(lines[0], Joke, "").literal_id
    path.write_bytes(path.read_bytes().replace(b"j_broken", literal.encode() + b'"j_broken'))
    assert f"{path}:2: not JSON" in cli("show", literal, "--run", "v1", code=5)


def test_where_one_contestant_did_better_than_another(cli, folder):
    said = cli("show", "--run", "v1", "--where", "round-1", "sft", "--limit", "1")
    judged = {}
    author = {row["id"]: row["author"] for row in rows(folder / "evaluate/answers.jsonl")}
    for row in rows(folder / "evaluate/records.jsonl"):
        credit = sum(order["answer"] in ("a", "tie") for order in row["orders"])
        judged.setdefault(row["literal_id"], {})[author[row["a"]]] = (credit, row)
    better = [own for _, own in sorted(judged.items()) if own["round-1"][0] > own["sft"][0]]
    (shown, *_) = better
    for _, row in (shown["round-1"], shown["sft"]):
        assert row["id"] in said
        assert row["a_text"][:20] in said
    more = "; more with --limit" if len(better) > 1 else ""
    assert (
        f"1 of {len(better)} sentences on which round-1 did better than sft, of {len(judged)}{more}."
        in said
    )


def test_where_names_who_there_is(cli, folder):
    said = cli("show", "--run", "v1", "--where", "round-2", "sft", code=3)
    assert "round-2 is no contestant of run v1. There are base, sft, round-1, each" in said
    assert "Did you mean 'round-1'?" in said
    assert "no sentence of run v1" in cli("show", "--run", "v1", "--where", "sft", "sft")
