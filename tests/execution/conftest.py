"""A configuration of forty literals, and a run of it up to the critic."""

import pytest

from pipeline.rows.jsonl import write
from pipeline.rows.records import LiteralText
from pipeline.rows.row import make

TEACHERS = 'rounds=[{candidates="teacher"}]'


@pytest.fixture
def config(tmp_path, demo):
    """A configuration of forty literals."""
    found = [
        make(
            LiteralText,
            text=f"The {noun} in room {n} broke on Monday.",
            split="train",
            source="test",
            licence="CC0",
        )
        for n in range(4)
        for noun in (
            "kettle",
            "lamp",
            "clock",
            "chair",
            "door",
            "radio",
            "window",
            "shelf",
            "fan",
            "stove",
        )
    ]
    write(tmp_path / "literals.jsonl", found)
    path = tmp_path / "small.toml"
    path.write_text(
        f"""
[literals]
files = ["{tmp_path}/literals.jsonl"]
[teacher.endpoint]
base_url = "standin:"
model = "standin-teacher"
[critic.endpoint]
base_url = "standin:"
model = "standin-critic"
[judge.endpoint]
base_url = "standin:"
model = "standin-judge"
[student]
model = "data/students/micro"
"""
    )
    return path


def judged(cli, config, *flags):
    """teacher, sample and critic of run v1, with the teacher's jokes as candidates."""
    for stage in ("teacher", "sample", "critic"):
        said = cli(stage, "--run", "v1", "--config", config, "--set", TEACHERS, *flags)
    return said


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}
