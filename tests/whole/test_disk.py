"""Disks that are full, read-only or somebody else's: said plainly, nothing lost."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest

from pipeline.errors import storage
from pipeline.rows import jsonl
from pipeline.rows.records import LiteralText
from pipeline.rows.row import make
from pipeline.runs.files import write_json
from tests import ROOT

CAN_MOUNT = (
    shutil.which("unshare")
    and not subprocess.run(
        ["unshare", "-rm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"], capture_output=True
    ).returncode
)
needs_mount = pytest.mark.skipif(not CAN_MOUNT, reason="no mount namespaces here (unshare -rm)")


def filled(config, undisturbed, *steps):
    """What tests/disk.py found, per step."""
    command = [
        "unshare",
        "-rm",
        sys.executable,
        "-m",
        "tests.whole.disk",
        str(config),
        str(undisturbed),
        *steps,
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(found):
    for step, attempts in found.items():
        *failed, last = attempts
        assert failed, f"{step} needed no room"
        for attempt in failed:
            assert attempt["code"] == 9, attempt
            assert "No space left on device" in attempt["said"], attempt
            assert "Make room" in attempt["said"]
        assert (last["code"], last["same"]) == (0, True), last


@needs_mount
def test_a_full_disk_loses_nothing(cli, config, data):
    for stage in ("teacher", "sample", "critic"):
        cli(stage, "--run", "v1", "--config", config)
    found = filled(config, data, "teacher", "round-1/sample", "round-1/critic")
    check(found)
    assert len(found["teacher"]) > 3
    assert len(found["round-1/critic"]) > 3


@contextmanager
def no_room():
    """Within, no file can grow: the disk says EFBIG then, as it says ENOSPC where it is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:  # before pytest writes that the test has passed
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_every_small_writer_says_what_the_disk_says_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("old")
    row = make(LiteralText, text="x", split="train", source="test", licence="CC0")
    errors = []
    with no_room():
        for write in (
            lambda: jsonl.write(path, [row]),
            lambda: write_json(tmp_path / "manifest.json", {"a": 1}),
        ):
            try:
                write()
            except OSError as error:
                errors.append(error)
    assert [error.errno for error in errors] == [errno.EFBIG] * 2
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["rows.jsonl"]
    assert "below /data: File too large. Make room" in str(storage(errors[1], lambda: "/data"))


def test_what_is_not_the_disk_s_is_no_storage_error():
    assert storage(FileNotFoundError(2, "No such file or directory", "x"), lambda: "/data") is None
    assert storage(ValueError("a bug"), lambda: "/data") is None


SOMEBODY = 65534


@pytest.fixture
def as_somebody(cli, tmp_path):
    """Run a command with another user's rights; what it imports must have been imported before."""
    if os.getuid() != 0:
        pytest.skip("only root can act as another user")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)

    needed = [
        ROOT / "prompts/student.j2",
        ROOT / "data/students/micro/model.safetensors",
        tmp_path / "here",
    ]
    needed[-1].touch(0o644)
    os.seteuid(SOMEBODY)
    try:
        for path in needed:
            path.open("rb").close()
    except PermissionError as error:
        pytest.skip(f"another user cannot read {error.filename}")
    finally:
        os.seteuid(0)

    def run(*argv, code=9):
        os.seteuid(SOMEBODY)
        try:
            return cli(*argv, code=code)
        finally:
            os.seteuid(0)

    return run


@pytest.mark.parametrize(
    ("private", "command"),
    [
        ("runs/v1/teacher/records.jsonl", ["verify", "--run", "v1"]),
        ("runs/v1/teacher/manifest.json", ["sample", "--run", "v1"]),
        ("runs/v1/config.json", ["sample", "--run", "v1"]),
        ("runs", ["teacher", "--run", "v2"]),
    ],
)
def test_files_of_another_user_are_named(cli, config, data, as_somebody, private, command):
    cli("teacher", "--run", "v1", "--config", config)
    cli("verify", "--run", "v1")
    cli("sample", "--run", "other", "--from", "v1", "--config", config)
    (data / private).chmod(0o000)
    said = as_somebody(*command, *(["--config", config] if command[0] != "verify" else []))
    assert "Permission denied" in said
    assert str(data / "runs") in said


def test_a_data_folder_that_cannot_be_written_is_named(cli, config, data, as_somebody):
    cli("teacher", "--run", "v1", "--config", config)
    cli("sample", "--run", "other", "--from", "v1", "--config", config)
    cli("show", "--run", "v1", "--stage", "teacher")
    assert "Permission denied" in as_somebody("sample", "--run", "v1", "--config", config)
    as_somebody("status", "--run", "v1", code=0)
    as_somebody("show", "--run", "v1", "--stage", "teacher", code=0)


def test_a_call_cache_that_is_no_database_is_named(cli, config, data):
    (data / "cache").mkdir(parents=True)
    (data / "cache/calls.sqlite").write_text(
        "this is a letter, not a database, and long enough to be sure of it"
    )
    said = cli("teacher", "--run", "v1", "--config", config, code=5)
    assert f"{data}/cache/calls.sqlite is not a whole call cache: file is not a database" in said


def test_a_cache_of_another_user_stops_the_stage_before_anything_is_asked(
    cli, config, data, as_somebody
):
    cli("teacher", "--run", "v1", "--config", config)
    (data / "runs").chmod(0o777)
    said = as_somebody("teacher", "--run", "v2", "--config", config, "--set", "seed=5")
    assert f"{data}/cache/calls.claims: Permission denied" in said


@needs_mount
def test_a_full_disk_under_training_loses_nothing(inside, small):
    found = filled(small, inside, "sft", "round-1/sample", "round-1/dpo", "evaluate")
    check(found)
    for step in ("sft", "round-1/dpo"):  # rows, then checkpoints, then weights did not fit
        assert len(found[step]) > 6
        assert any("going on from checkpoint-" in attempt["said"] for attempt in found[step])
