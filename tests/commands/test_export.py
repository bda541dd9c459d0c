"""export makes a folder of its own, and removes nothing else. What is in it: tests/whole."""

import os
import stat

import pytest

from tests.synthetic import make_run


@pytest.fixture(autouse=True)
def folder(data):
    return make_run("v1", 40)


def export(cli, out, code=0):
    return cli("export", "--run", "v1", "--rows", out, code=code)


def test_what_lies_beside_it_stays(cli, tmp_path):
    (tmp_path / "funny.partial").mkdir()
    (tmp_path / "funny.partial/thesis.txt").write_text("mine")
    assert export(cli, tmp_path / "funny") == f"{tmp_path / 'funny'}\n"
    assert (tmp_path / "funny.partial/thesis.txt").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["data", "funny", "funny.partial"]


def test_what_a_killed_one_left_is_said_and_stays(cli, tmp_path):
    left = tmp_path / "funny.export-x1y2z3a4.partial"
    left.mkdir()
    assert f"{left}: left by an export that was killed" in export(cli, tmp_path / "funny")
    assert left.is_dir()


def test_one_that_fails_leaves_nothing(cli, tmp_path, folder):
    (folder / "sft/records.jsonl").unlink()
    (folder / "sft/records.jsonl").symlink_to("/etc/hostname")
    assert "is a link; the rows of a step lie in its folder" in export(
        cli, tmp_path / "funny", code=5
    )
    assert sorted(os.listdir(tmp_path)) == ["data"]


def test_what_is_there_already_is_refused_unless_it_is_empty(cli, tmp_path):
    (tmp_path / "empty").mkdir()
    export(cli, tmp_path / "empty")
    assert "is there already" in export(cli, tmp_path / "empty", code=3)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert "is a link. Name the folder" in export(cli, tmp_path / "link", code=3)
    assert not (tmp_path / "elsewhere").exists()


def test_modes_are_the_umask_s(cli, tmp_path):
    before = os.umask(0o027)
    try:
        export(cli, tmp_path / "funny")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "funny").rglob("*.*")}
    assert modes == {0o640}
    assert stat.S_IMODE((tmp_path / "funny").stat().st_mode) == 0o750
