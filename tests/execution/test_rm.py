"""rm: a run goes only where no other reads steps of it."""

import io

import pytest

from pipeline.llm.ledger import usage
from pipeline.runs import known


@pytest.fixture
def runs(cli, config, data):
    cli("teacher", "--run", "v1", "--config", config)
    return data / "runs"


def test_it_asks_first(cli, runs, monkeypatch):
    said = cli("rm", "v1", code=3)
    assert "run v1: teacher, 0.0 MB" in said
    assert "To remove it without being asked: humor-distill rm v1 --yes" in said
    terminal = io.StringIO("n\ny\n")
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", terminal)
    assert "Not removed." in cli("rm", "v1", code=3)
    assert (runs / "v1").is_dir()
    assert "run v1 is removed. Answers that were paid for stay" in cli("rm", "v1")
    assert not (runs / "v1").exists()
    assert (runs.parent / "cache/calls.sqlite").exists()


def test_it_names_what_links_to_it(cli, config, runs):
    cli("sft", "--run", "v2", "--from", "v1", code=0)
    said = cli("rm", "v1", "--yes", code=4)
    assert "other runs read steps of it by links:\n  v2: teacher\nRemove these first" in said
    assert (runs / "v1").is_dir()
    cli("rm", "v2", "--yes")
    assert (runs / "v1/teacher/records.jsonl").exists()
    cli("rm", "v1", "--yes")
    assert "No runs yet" in cli("status")


def test_a_new_run_of_its_name_owes_nothing_and_is_not_known(cli, runs, data):
    assert usage(data / "cache/calls.sqlite", "v1")["calls"] == 40
    known.list_path().write_text('{"run": "v1", "reach": ["http://x is asked, without a key"]}\n')
    cli("rm", "v1", "--yes")
    assert usage(data / "cache/calls.sqlite", "v1")["calls"] == 0
    settings = {"endpoint": {"base_url": "http://x"}}
    assert known.unknown("v1", settings) == ["http://x is asked, without a key"]


def test_a_run_whose_round_is_a_link_goes_and_what_it_leads_to_stays(cli, runs):
    (runs / "v2").mkdir()
    (runs / "v2/round-1").symlink_to("../v1", target_is_directory=True)
    said = cli("rm", "v1", "--yes", code=4)
    assert "v2: round-1\nRemove these first: humor-distill rm v2\n" in said
    cli("rm", "v2", "--yes")
    assert (runs / "v1/teacher/records.jsonl").exists()


def test_a_run_that_is_none_and_one_that_is_at_work(cli, runs):
    import fcntl

    assert "Did you mean 'v1'?" in cli("rm", "v11", "--yes", code=4)
    with (runs / "v1/teacher/.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "another process is at work here" in cli("rm", "v1", "--yes", code=4)
    assert (runs / "v1/teacher/records.jsonl").exists()
