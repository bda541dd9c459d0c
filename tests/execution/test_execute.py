"""The life of a step, on the teacher stage: it needs no torch."""

import fcntl
import json
from collections import Counter

import pytest

from tests.conftest import rows
from tests.execution.conftest import files, judged


def test_a_step_ends_with_its_manifest(cli, config, data):
    assert "teacher: " in cli("teacher", "--run", "v1", "--config", config)
    folder = data / "runs/v1/teacher"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["rows"] == len(rows(folder / "records.jsonl"))
    assert manifest["spent"]["calls"] == 40
    assert set(files(folder)) == {"records.jsonl", "dropped.jsonl", "manifest.json"}
    assert manifest["prompts"]["teacher"].startswith("Write {{ n }} humorous paraphrases")


def test_the_same_recipe_again_has_nothing_to_do(cli, config, data):
    cli("teacher", "--run", "v1", "--config", config)
    before = files(data / "runs/v1/teacher")
    assert "nothing to do" in cli("teacher", "--run", "v1")
    assert files(data / "runs/v1/teacher") == before


def test_the_runtime_section_is_no_part_of_a_recipe(cli, config):
    cli("teacher", "--run", "v1", "--config", config)
    assert "nothing to do" in cli("teacher", "--run", "v1", "--set", "runtime.concurrency=3")


def test_another_recipe_is_refused_line_by_line_with_the_way_out(cli, config, data):
    cli("teacher", "--run", "v1", "--config", config)
    before = files(data / "runs/v1/teacher")
    said = cli("teacher", "--run", "v1", "--set", "teacher.jokes=2", "--set", "seed=5", code=4)
    assert "- seed = 0\n  + seed = 5\n  - teacher.jokes = 3\n  + teacher.jokes = 2" in said
    assert "humor-distill teacher --run NEW --from v1 --set teacher.jokes=2 --set seed=5" in said
    assert "humor-distill teacher --run v1 --force --set teacher.jokes=2 --set seed=5" in said
    assert files(data / "runs/v1/teacher") == before
    cli("teacher", "--run", "v1", "--set", "teacher.jokes=2", "--force")
    assert "nothing to do" in cli("teacher", "--run", "v1")


def test_force_pays_nothing_again(cli, config, data):
    cli("teacher", "--run", "v1", "--config", config)
    first = rows(data / "runs/v1/teacher/records.jsonl")
    cli("teacher", "--run", "v1", "--force")
    assert rows(data / "runs/v1/teacher/records.jsonl") == first
    assert json.loads((data / "runs/v1/teacher/manifest.json").read_text())["spent"]["calls"] == 40


def test_an_interrupted_step_goes_on_and_a_torn_line_is_cut(cli, config, data):
    cli("teacher", "--run", "whole", "--config", config)
    whole = data / "runs/whole/teacher"
    lines = (whole / "records.jsonl").read_bytes().splitlines(keepends=True)
    recipe = json.loads((whole / "manifest.json").read_text())["recipe"]
    torn = data / "runs/torn/teacher"
    torn.mkdir(parents=True)
    (torn / "started.json").write_text(
        json.dumps({"recipe": recipe, "started": "2026-01-01T00:00:00+00:00"})
    )
    (torn / "records.jsonl.partial").write_bytes(b"".join(lines[:7]) + lines[7][:20])
    assert "going on after 7 rows" in cli("teacher", "--run", "torn", "--config", config)
    assert (torn / "records.jsonl").read_bytes() == (whole / "records.jsonl").read_bytes()


def test_an_interrupted_step_with_another_recipe_is_refused(cli, config, data):
    folder = data / "runs/v1/teacher"
    folder.mkdir(parents=True)
    (folder / "started.json").write_text(json.dumps({"recipe": {"seed": 9}}))
    (folder / "records.jsonl.partial").write_text("{}\n")
    assert "- seed = 9" in cli("teacher", "--run", "v1", "--config", config, code=4)


def test_a_missing_upstream_stage_is_named_with_its_command(cli, config):
    said = cli("sft", "--run", "v1", "--config", config, code=4)
    assert (
        "sft reads teacher, which is not there in run v1. First: humor-distill teacher --run v1"
        in said
    )


def test_two_processes_on_one_step(cli, config, data):
    folder = data / "runs/v1/teacher"
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "another process is at work here" in cli(
            "teacher", "--run", "v1", "--config", config, code=4
        )


@pytest.mark.parametrize("name", ["a/b", "..", "../x", "", ".hidden", "a..b", "a b", "x" * 65])
def test_run_names(cli, config, data, name):
    assert "is not a run name" in cli("teacher", "--run", name, "--config", config, code=3)
    assert not (data / "runs").exists()


def test_a_limit_takes_the_first_literals_of_each_split(cli, config, data):
    cli("teacher", "--run", "v1", "--config", config, "--set", "literals.limit=3")
    assert len({row["literal_id"] for row in rows(data / "runs/v1/teacher/records.jsonl")}) == 3


@pytest.mark.parametrize(
    ("content", "complaint", "code"),
    [
        ("", "no literal in them", 5),
        ("{}\n", "literals.jsonl:1: not a literal/1 row: id: Field required", 5),
        ("\x00\n", "literals.jsonl:1", 5),
        ("twice", "is already on line 1", 5),
    ],
)
def test_bad_literals_are_named(cli, config, tmp_path, content, complaint, code):
    path = tmp_path / "literals.jsonl"
    line = path.read_text().splitlines()[0] + "\n"
    path.write_text(line * 2 if content == "twice" else content)
    assert complaint in cli("teacher", "--run", "v1", "--config", config, code=code)
    path.unlink()
    assert "no such file" in cli("teacher", "--run", "v1", "--config", config, code=5)


def test_a_teacher_that_never_answers_with_a_list_leaves_no_rows_and_says_so(
    cli, config, data, monkeypatch
):
    monkeypatch.setattr("pipeline.standin.teach", lambda prompt, seed: "What a lovely sentence.")
    said = cli("teacher", "--run", "v1", "--config", config, code=4)
    assert "teacher: no row is left. Dropped: 40 no list.\nOne was: 'What a lovely" in said
    dropped = rows(data / "runs/v1/teacher/dropped.jsonl")
    assert Counter(row["reason"] for row in dropped) == {"no list": 40}


def test_two_jokes_instead_of_three_are_kept_and_counted(cli, config, data, monkeypatch):
    monkeypatch.setattr("pipeline.standin.teach", lambda prompt, seed: "1. One.\n2. Two.")
    assert "80 rows" in cli("teacher", "--run", "v1", "--config", config)
    assert "40 fewer than asked" in cli("status", "--run", "v1")


def test_status(cli, config, data):
    assert "No runs yet" in cli("status")
    cli("teacher", "--run", "v1", "--config", config)
    assert [line.split()[0] for line in cli("status").splitlines()] == ["run", "v1"]
    said = cli("status", "--run", "v1")
    assert [line.split()[:2] for line in said.splitlines()[1:3]] == [
        ["teacher", "complete"],
        ["sft", "-"],
    ]
    assert "round-1/dpo" in said
    assert "There are: v1" in cli("status", "--run", "v2", code=4)


def test_an_unknown_round_is_named(cli, config):
    assert "the configuration has 1 round(s)" in cli(
        "critic", "--run", "v1", "--config", config, "--round", "2", code=3
    )


def test_the_critic_judges_the_farthest_pair_in_both_orders(cli, config, data):
    judged(cli, config)
    found = rows(data / "runs/v1/round-1/critic/records.jsonl")
    jokes = {row["literal_id"] for row in rows(data / "runs/v1/round-1/sample/records.jsonl")}
    assert {row["literal_id"] for row in found} == jokes
    assert {row["outcome"] for row in found} >= {"a", "b"}
    for row in found:
        assert [order["shown"] for order in row["orders"]] == ["ab", "ba"]
        assert all(
            order["reason"] and order["call"] and order["error"] is None for order in row["orders"]
        )
        assert 0 < row["p_a"] < 1


def test_all_pairs_of_three_jokes_are_three(cli, config, data):
    judged(cli, config, "--set", "critic.pairs=all")
    manifest = json.loads((data / "runs/v1/round-1/critic/manifest.json").read_text())
    assert manifest["rows"] == 3 * len(
        {row["literal_id"] for row in rows(data / "runs/v1/teacher/records.jsonl")}
    )
    assert manifest["spent"]["calls"] == 2 * manifest["rows"]


def test_without_logprobs_the_stated_answer_counts(cli, config, data):
    judged(cli, config, "--set", "critic.endpoint.logprobs=false")
    orders = [
        order
        for row in rows(data / "runs/v1/round-1/critic/records.jsonl")
        for order in row["orders"]
    ]
    assert {order["p_a"] for order in orders} == {0.0, 1.0}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda lines: [lines[0], b'{"id": 3}\n', *lines[2:]],
            "records.jsonl:2: not a joke/2 row: id:",
        ),
        (
            lambda lines: [lines[0], lines[1][: len(lines[1]) // 2]],
            "records.jsonl:2: not a joke/2 row: line: Invalid",
        ),
        (lambda lines: [lines[0], *lines], "records.jsonl:2: id j_"),
        (lambda lines: lines[:-1], "records.jsonl is not what its stage wrote"),
        (
            lambda lines: [lines[0].replace(b"kettle", b"bottle"), *lines[1:]],
            "records.jsonl is not what its stage wrote",
        ),
    ],
)
def test_changed_rows_of_an_earlier_stage_are_named(cli, config, data, change, complaint):
    judged(cli, config)
    path = data / "runs/v1/round-1/sample/records.jsonl"
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    assert complaint in cli("critic", "--run", "v1", "--force", code=5)


def test_a_broken_manifest_is_named(cli, config, data):
    judged(cli, config)
    (data / "runs/v1/round-1/sample/manifest.json").write_text("{")
    assert "manifest.json: not JSON" in cli("critic", "--run", "v1", code=5)


@pytest.mark.parametrize(
    ("flags", "complaint", "code"),
    [
        (
            ["--set", "teacher.endpoint.base_url=http://127.0.0.1:9/v1"],
            "http://127.0.0.1:9/v1 cannot be reached",
            6,
        ),
        (["--set", "teacher.endpoint.model=gpt-9"], "has no model 'gpt-9'", 6),
        (["--set", "teacher.endpoint.api_key_env=NO_SUCH_KEY"], "export NO_SUCH_KEY=", 3),
        (
            [
                "--set",
                "teacher.endpoint.base_url=http://127.0.0.1:9/v1",
                "--set",
                "runtime.budget=1",
            ],
            "is unknown",
            7,
        ),
    ],
)
def test_an_endpoint_that_refuses_everybody(cli, config, flags, complaint, code):
    said = cli(
        "teacher",
        "--run",
        "v1",
        "--config",
        config,
        "--set",
        "runtime.retries=0",
        *flags,
        code=code,
    )
    assert complaint in said


@pytest.mark.parametrize(
    "flags",
    [
        ["--set", "teacher.endpoint.api_key_env=NO_SUCH_KEY"],
        ["--set", "teacher.endpoint.model=gpt-9"],
    ],
)
def test_force_keeps_what_it_could_not_replace(cli, config, data, flags):
    cli("teacher", "--run", "v1", "--config", config)
    before = files(data / "runs/v1/teacher")
    cli("teacher", "--run", "v1", "--force", *flags, code=3 if "KEY" in flags[1] else 6)
    assert files(data / "runs/v1/teacher") == before
    assert "nothing to do" in cli("teacher", "--run", "v1")


def test_a_first_attempt_that_wrote_nothing_pins_no_recipe(cli, config):
    cli(
        "teacher",
        "--run",
        "v1",
        "--config",
        config,
        "--set",
        "teacher.endpoint.model=gpt-9",
        code=6,
    )
    assert "teacher: " in cli("teacher", "--run", "v1", "--config", config)


def test_rows_of_no_known_recipe_are_not_taken_over(cli, config, data):
    folder = data / "runs/v1/teacher"
    folder.mkdir(parents=True)
    (folder / "records.jsonl.partial").write_text("not even a row\n")
    cli("teacher", "--run", "v1", "--config", config)
    assert "not even" not in (folder / "records.jsonl").read_text()


def test_a_kept_row_that_is_not_made_again_is_left_out(cli, config, data):
    cli("teacher", "--run", "v1", "--config", config)
    folder = data / "runs/v1/teacher"
    whole = (folder / "records.jsonl").read_bytes()
    recipe = json.loads((folder / "manifest.json").read_text())["recipe"]
    (folder / "manifest.json").unlink()
    (folder / "started.json").write_text(json.dumps({"recipe": recipe}))
    line = json.loads(whole.splitlines()[0])
    stray = json.dumps({**line, "id": "j_000000000000", "text": "stray"}).encode() + b"\n"
    (folder / "records.jsonl.partial").write_bytes(stray + whole[:1000])
    cli("teacher", "--run", "v1")
    assert (folder / "records.jsonl").read_bytes() == whole
    assert set(files(folder)) == {"records.jsonl", "dropped.jsonl", "manifest.json"}


def test_prices_and_key_names_are_no_part_of_a_recipe(cli, config, monkeypatch):
    cli("teacher", "--run", "v1", "--config", config)
    price = 'teacher.endpoint.price={input=1, output=2, date="2026-11-01"}'
    monkeypatch.setenv("SOME_KEY", "x")
    flags = ["--set", price, "--set", "teacher.endpoint.api_key_env=SOME_KEY"]
    assert "nothing to do" in cli("teacher", "--run", "v1", *flags)


@pytest.mark.parametrize("round_", ["0", "7"])
def test_all_with_an_unknown_round(cli, config, round_):
    assert f"--round {round_}: the configuration has 1" in cli(
        "all", "--run", "v1", "--config", config, "--round", round_, code=3
    )


def test_all_needs_sentences_to_evaluate_on(cli, config, data):
    assert "no literal of split ood, test" in cli("all", "--run", "v1", "--config", config, code=5)
    assert not (data / "runs/v1/teacher").exists()


def test_status_of_an_interrupted_step_shows_what_it_has_paid(cli, config, data):
    cli("teacher", "--run", "v1", "--config", config)
    folder = data / "runs/v1/teacher"
    (folder / "manifest.json").rename(folder / "started.json")
    (folder / "records.jsonl").rename(folder / "records.jsonl.partial")
    assert cli("status", "--run", "v1").splitlines()[1].split()[1:4] == ["incomplete", "114", "40"]
    cli("status", "--run", "../runs/v1", code=3)


@pytest.mark.parametrize("command", ["teacher", "evaluate", "all"])
def test_a_key_that_is_missing_is_said_by_a_dry_run_too(cli, config, data, command):
    step = {"teacher": "teacher", "evaluate": "judge", "all": "judge"}[command]
    flag = ["--set", f"{step}.endpoint.api_key_env=NO_SUCH_KEY"]
    said = cli(command, "--run", "v1", "--config", config, "--dry-run", *flag, code=3)
    assert "export NO_SUCH_KEY=" in said
    assert not (data / "runs/v1").exists()


def test_a_list_is_shown_where_one_is_wanted(cli, config):
    said = cli("teacher", "--run", "v1", "--config", config, "--set", "literals.files=x", code=3)
    assert """such as ["x"]; --set literals.files='["x"]'""" in said
