"""Every test has its own data folder, and no key from outside."""

import json
import tomllib
from pathlib import Path

import pytest

from pipeline.__main__ import main
from tests import ROOT
from tests.small_run import apart, inside, made, small  # noqa: F401 - fixtures


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("HUMOR_DISTILL_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return tmp_path / "data"


@pytest.fixture
def demo():
    """The demo's configuration as nested tables."""
    return tomllib.loads((ROOT / "configs/demo.toml").read_text())


class Cli:
    """Runs commands in-process and keeps what they printed."""

    def __init__(self, capsys) -> None:
        self.capsys = capsys

    def __call__(self, *argv: str, code: int = 0) -> str:
        found = main([str(part) for part in argv])
        captured = self.capsys.readouterr()
        assert found == code, captured.out + captured.err
        assert "Traceback" not in captured.err
        return captured.out + captured.err


@pytest.fixture
def cli(capsys):
    return Cli(capsys)


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]]


def pytest_collection_modifyitems(items):
    for item in items:
        if {"made", "inside", "apart"} & set(item.fixturenames):
            item.add_marker("trains")
