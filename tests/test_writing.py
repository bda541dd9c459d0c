"""What is written is whole or not there, goes through no link, and has the usual modes."""

import os
import stat

import pytest

from pipeline.writing import new_file, usual_modes, write_text


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path):
    (tmp_path / "theirs").write_text("theirs")
    path = tmp_path / "report.html"
    path.symlink_to("theirs")
    write_text(path, "ours")
    assert not path.is_symlink()
    assert path.read_text() == "ours"
    assert (tmp_path / "theirs").read_text() == "theirs"


def test_a_file_of_the_name_that_others_would_take_is_nobody_s_to_write(tmp_path):
    (tmp_path / "rows.jsonl.partial").write_text("mine")
    write_text(tmp_path / "rows.jsonl", "rows")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "rows.jsonl": "rows",
        "rows.jsonl.partial": "mine",
    }


def test_an_error_leaves_what_was_there_and_nothing_beside_it(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("old")
    with pytest.raises(TypeError), new_file(path) as file:
        file.writelines([b"new", None])
    assert os.listdir(tmp_path) == ["rows.jsonl"]
    assert path.read_text() == "old"


def test_modes_are_the_umask_s(tmp_path, umask):
    write_text(tmp_path / "rows.jsonl", "x")
    assert mode(tmp_path / "rows.jsonl") == 0o640
    folder = tmp_path / "weights"
    folder.mkdir(0o700)
    (folder / "model.safetensors").touch(0o600)
    usual_modes(folder)
    assert mode(folder) == 0o750
    assert mode(folder / "model.safetensors") == 0o640
