"""A configuration of forty literals, and a run of it up to the critic."""

import pytest

from pipeline.rows.jsonl import write
from pipeline.rows.records import LiteralText
from pipeline.rows.row import make
from tests.synthetic import CONFIG, NOUNS

TEACHERS = 'rounds=[{candidates="teacher"}]'


@pytest.fixture
def config(tmp_path, demo):
    """A configuration of forty literals."""
    literals = [
        make(
            LiteralText,
            text=f"The {noun} in room {number} broke on Monday.",
            split="train",
            source="test",
            licence="CC0",
        )
        for number in range(4)
        for noun in NOUNS[:10]
    ]
    write(tmp_path / "literals.jsonl", literals)
    path = tmp_path / "small.toml"
    path.write_text(CONFIG.format(literals=tmp_path / "literals.jsonl"))
    return path


def judged(cli, config, *flags):
    """teacher, sample and critic of run v1, with the teacher's jokes as candidates."""
    for stage in ("teacher", "sample", "critic"):
        said = cli(stage, "--run", "v1", "--config", config, "--set", TEACHERS, *flags)
    return said


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}
