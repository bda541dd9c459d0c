"""A configuration of two stages that need no torch."""

import pytest

from pipeline.rows import jsonl
from pipeline.rows.records import LiteralText
from pipeline.rows.row import make
from tests.synthetic import CONFIG

ROUND = '[[rounds]]\ncandidates = "teacher"\n'


@pytest.fixture
def config(tmp_path):
    """Two hundred literals, whose own jokes the critic compares."""
    literals = [
        make(
            LiteralText,
            text=f"The kettle in room {number} broke on Monday.",
            split="train",
            source="test",
            licence="CC0",
        )
        for number in range(200)
    ]
    jsonl.write(tmp_path / "literals.jsonl", literals)
    path = tmp_path / "small.toml"
    path.write_text(CONFIG.format(literals=tmp_path / "literals.jsonl") + ROUND)
    return path
