"""What a function does is its syntax and that of what it uses, without words and types."""

import pytest

from pipeline.execution.syntax import syntax_hash

CODE = '''
"""A file."""
import math
HALF = 0.5
class Batch:
    x: float
    scale: float = 2.0
    @property
    def double(self) -> float:
        return self.scale * self.x
def other(x):
    return x
def loss(batch: Batch) -> float:
    """Words."""
    return HALF * batch.double  # half of it
'''


@pytest.fixture
def of(tmp_path):
    def of(change, to):
        path = tmp_path / "code.py"
        path.write_text(CODE.replace(change, to))
        return syntax_hash(path, "loss")

    return of


@pytest.mark.parametrize(
    ("change", "to"),
    [
        ("Words.", "Other words."),
        ("  # half of it", ""),
        ("import math", "import os\\nimport math"),
        (' -> float:\\n    """Words', ':\\n    """Words'),
        ("HALF * batch.double", "(HALF * batch.double)"),
        ("def other(x):\\n    return x", "def other(x):\\n    return -x"),
        ("    x: float", "    x: float\\n    y: float = 1.0"),
        ("def loss", "def new(x):\\n    return x\\n\\n\\ndef loss"),
    ],
)
def test_what_does_not_matter(of, change, to):
    change = change.encode().decode("unicode_escape")
    assert change in CODE
    assert of(change, to.encode().decode("unicode_escape")) == of("", "")


@pytest.mark.parametrize(
    ("change", "to"),
    [
        ("HALF * batch", "HALF + batch"),
        ("HALF = 0.5", "HALF = 0.25"),
        ("scale * self.x", "scale + self.x"),
        ("scale: float = 2.0", "scale: float = 3.0"),
        ("return HALF", "return -HALF"),
        ("return HALF * batch.double", "return None"),
    ],
)
def test_what_matters(of, change, to):
    assert change in CODE
    assert of(change, to) != of("", "")


def test_a_function_that_is_not_there(tmp_path):
    path = tmp_path / "code.py"
    path.write_text(CODE)
    assert syntax_hash(path, "gone") is None
