"""Which folder is the project, and what of the package stands in for what it lacks."""

import pytest

from pipeline import project, prompts
from pipeline.errors import ConfigError
from tests import ROOT


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package that lies in no clone, with what it brings."""
    package = tmp_path / "site-packages/pipeline"
    for name in ("configs", "prompts"):
        (package / "bundled" / name).mkdir(parents=True)
    (package / "bundled/prompts/student.j2").write_text("the package's")
    monkeypatch.setattr(project, "PACKAGE", package)
    monkeypatch.setattr(project, "BUNDLED", package / "bundled")
    monkeypatch.delenv("HUMOR_DISTILL_DATA")
    return package


@pytest.fixture
def mine(tmp_path):
    folder = tmp_path / "mine"
    for name in ("configs", "prompts", "deep/er"):
        (folder / name).mkdir(parents=True)
    return folder


def test_it_is_the_nearest_folder_upwards_with_configs_and_prompts(installed, mine, monkeypatch):
    monkeypatch.chdir(mine / "deep/er")
    assert project.folder() == mine
    assert project.data() == mine / "data"
    (mine / "deep/configs").mkdir()
    monkeypatch.chdir(mine / "deep")
    assert project.folder() == mine
    (mine / "deep/er/configs").mkdir()
    (mine / "deep/er/prompts").mkdir()
    (mine / "deep/er/still").mkdir()
    monkeypatch.chdir(mine / "deep/er/still")
    assert project.folder() == mine / "deep/er"


def test_a_variable_names_it_from_anywhere(installed, mine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUMOR_DISTILL_HOME", "mine")
    assert project.folder() == mine
    monkeypatch.setenv("HUMOR_DISTILL_HOME", "yours")
    with pytest.raises(
        ConfigError, match="no folder with configs/ or prompts/. Make one: humor-distill init yours"
    ):
        project.folder()


def test_outside_of_any_it_says_how_to_make_one(installed, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        f"neither {tmp_path} nor a folder above it has configs/ and prompts/. Make one: humor-"
        in (cli("status", code=3))
    )


def test_outside_of_any_a_clone_s_program_takes_its_clone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert project.folder() == ROOT
    assert project.BUNDLED == ROOT


def test_what_it_lacks_comes_from_the_package(installed, mine, monkeypatch):
    monkeypatch.chdir(mine)
    assert prompts.text("student") == "the package's"
    (mine / "prompts/student.j2").write_text("mine")
    assert prompts.text("student") == "mine"
    assert project.path("data/none.jsonl") == mine / "data/none.jsonl"


def test_init_makes_a_folder_to_edit_and_writes_nothing_over(cli, tmp_path, monkeypatch):
    folder = tmp_path / "a project"
    said = cli("init", folder)
    assert said == (
        f"{folder}: configs, prompts, Makefile, README.md\nNext: cd '{folder}' && make demo\n"
    )
    for name in ("configs", "prompts"):
        copied = sorted(path.name for path in (folder / name).iterdir())
        assert copied == sorted(path.name for path in (ROOT / name).iterdir())
    assert len((folder / "README.md").read_text().splitlines()) == 10
    (folder / "prompts/student.j2").write_text("mine")
    assert "has configs, prompts, Makefile, README.md already, and nothing is written over" in (
        cli("init", folder, code=3)
    )
    assert (folder / "prompts/student.j2").read_text() == "mine"
    (tmp_path / "file").touch()
    assert "is no folder; name another" in cli("init", tmp_path / "file", code=3)
    (tmp_path / "dangling").symlink_to("nowhere")
    assert "is no folder; name another" in cli("init", tmp_path / "dangling", code=3)
    assert "cannot be made" in cli("init", tmp_path / "file/below", code=3)
    with pytest.raises(SystemExit):  # as "$UNSET" gives
        cli("init", "")
    (tmp_path / "half").mkdir()
    (tmp_path / "half/prompts").symlink_to("nowhere")
    assert "has prompts already" in cli("init", tmp_path / "half", code=3)
    assert [path.name for path in (tmp_path / "half").iterdir()] == ["prompts"]


def test_a_link_that_leads_nowhere_is_not_replaced_by_the_package_s(installed, mine, monkeypatch):
    monkeypatch.chdir(mine)
    (mine / "prompts/student.j2").symlink_to("/nowhere/student.j2")
    with pytest.raises(ConfigError, match="this prompt is missing"):
        prompts.text("student")
    (installed / "bundled/sentences.jsonl").touch()
    (mine / "sentences.jsonl").symlink_to("/nowhere/sentences.jsonl")
    assert project.path("sentences.jsonl") == mine / "sentences.jsonl"


def test_a_folder_that_was_deleted_is_none(installed, mine, cli, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "no project here" in cli("status", code=3)
    monkeypatch.setenv("HUMOR_DISTILL_HOME", str(mine))
    assert "No runs yet" in cli("status")
    monkeypatch.chdir(mine)
