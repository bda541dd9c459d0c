"""One small run of the whole pipeline, made once and read by many tests."""

import contextlib
import io
import json
import os
import shutil

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported

import pytest

from pipeline import progress
from pipeline.__main__ import main
from tests import ROOT

SMALL = """
seed = 0
[literals]
files = ["data/literals/train.jsonl", "data/literals/validation.jsonl", "data/literals/test.jsonl",
         "data/literals/ood.jsonl"]
limit = 24
[teacher.endpoint]
base_url = "standin:"
model = "standin-teacher"
[student]
model = "data/students/micro"
[sft.trainer]
max_steps = 8
per_device_train_batch_size = 8
learning_rate = 1e-3
max_length = 96
logging_steps = 1
save_steps = 3
[sample]
k = 3
max_new_tokens = 48
[critic]
pairs = "all"
[critic.endpoint]
base_url = "standin:"
model = "standin-critic"
[dpo]
length_ratio = [0.3, 3.0]
[dpo.trainer]
max_steps = 6
per_device_train_batch_size = 4
learning_rate = 1e-4
max_length = 96
logging_steps = 1
save_steps = 2
[judge.endpoint]
base_url = "standin:"
model = "standin-judge"
[evaluate]
max_new_tokens = 24
"""


def run(*argv: str) -> str:
    """One command, which must succeed; what it printed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main([str(part) for part in argv])
    assert code == 0, said.getvalue()
    return said.getvalue()


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """The configuration file of the small run."""
    path = tmp_path_factory.mktemp("config") / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="session")
def made(small, tmp_path_factory):
    """The data folder of a complete small run v1; tests copy or link it, and do not change it."""
    data = tmp_path_factory.mktemp("made")
    before = os.environ.get("HUMOR_DISTILL_DATA")
    os.environ["HUMOR_DISTILL_DATA"] = str(data)
    every, progress.EVERY = progress.EVERY, 0.0
    try:
        said = run("all", "--run", "v1", "--config", small)
    finally:
        progress.EVERY = every
        os.environ.pop("HUMOR_DISTILL_DATA")
        if before is not None:
            os.environ["HUMOR_DISTILL_DATA"] = before
    assert (data / "runs/v1/evaluate/manifest.json").exists(), said
    (data / "said.txt").write_text(said)
    return data


@pytest.fixture
def inside(made, monkeypatch):
    """Work in the small run's data folder."""
    monkeypatch.setenv("HUMOR_DISTILL_DATA", str(made))
    return made


@pytest.fixture
def apart(made, tmp_path, monkeypatch):
    """A data folder of the test's own, with a copy of the small run."""
    shutil.copytree(made, tmp_path / "own", symlinks=True)
    monkeypatch.setenv("HUMOR_DISTILL_DATA", str(tmp_path / "own"))
    return tmp_path / "own"


def manifest(data, step, name="v1"):
    return json.loads((data / f"runs/{name}/{step}/manifest.json").read_text())


SHARED = ROOT.parent / "shared"
STORIES = SHARED / "models/stories260K"
needs_stories = pytest.mark.skipif(
    not STORIES.is_dir(), reason="../shared/models/stories260K is not there"
)
