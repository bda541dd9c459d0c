"""A step's folder is the run's own, and nothing in it leads out."""

import fcntl
import os

import pytest

from pipeline.errors import StageError
from pipeline.execution.attempts import lock, replacing
from pipeline.runs.run import runs_folder


@pytest.fixture
def folder(data):
    """A round's step."""
    folder = runs_folder() / "v1/round-1/dpo"
    folder.mkdir(parents=True)
    return folder


def refused(folder):
    with pytest.raises(StageError) as error, lock(folder):
        pass
    return str(error.value)


@pytest.mark.parametrize("name", [".lock", "records.jsonl.partial", "checkpoints", "failed.jsonl"])
def test_a_link_in_the_folder_is_refused_and_not_followed(folder, tmp_path, name):
    target = tmp_path / "precious"
    target.write_text("mine")
    (folder / name).symlink_to(target)
    assert refused(folder).startswith(f"{folder / name} is a link, or no file.")
    assert target.read_text() == "mine"


def test_a_link_further_down_is_refused(folder, tmp_path):
    (folder / "checkpoints/checkpoint-1").mkdir(parents=True)
    (folder / "checkpoints/checkpoint-1/model.safetensors").symlink_to(tmp_path / "new")
    assert "model.safetensors is a link" in refused(folder)


def test_a_pipe_is_refused_and_nobody_waits_for_it(folder):
    os.mkfifo(folder / "records.jsonl.partial")
    assert "records.jsonl.partial is a link, or no file" in refused(folder)


def test_who_is_refused_takes_nothing_away_from_who_is_at_work(folder):
    with lock(folder):
        assert "another process is at work here" in refused(folder)
        assert os.listdir(folder) == [".lock"]
        assert "another process is at work here" in refused(folder)


def test_a_lock_s_file_that_another_process_removes_is_made_again(folder, monkeypatch):
    """One that had nothing to do removes file and folder after we have opened the file."""
    taken = []

    def removed_before(descriptor, operation):
        taken.append(descriptor)
        if len(taken) == 1:
            (folder / ".lock").unlink()
            folder.rmdir()
        flock(descriptor, operation)

    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", removed_before)
    with lock(folder):
        assert "another process is at work here" in refused(folder)
        assert os.listdir(folder) == [".lock"]


def test_a_lock_empties_no_file(folder):
    (folder / ".lock").write_text("what a stranger put there")
    with lock(folder):
        pass
    assert (folder / ".lock").read_text() == "what a stranger put there"


@pytest.mark.parametrize("place", ["v2", "v2/round-1", "v2/round-1/dpo"])
def test_what_is_another_run_s_is_not_written(folder, place):
    link = runs_folder() / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(runs_folder() / place.replace("v2", "v1"))
    said = refused(runs_folder() / "v2/round-1/dpo")
    assert said.startswith(str(link))
    assert os.listdir(folder) == []


def test_what_a_killed_attempt_was_writing_goes_when_another_is_complete(folder):
    (folder / "started.json.0a1b2c3d.partial").write_text("{")
    with lock(folder), replacing(folder, force=False):
        (folder / "started.json").write_text("{}")
        (folder / "manifest.json.0a1b2c3d.partial").write_text("{")
    assert sorted(os.listdir(folder)) == [".lock", "started.json"]
