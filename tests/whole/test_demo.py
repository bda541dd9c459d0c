"""The README's demo output is what the demo prints: word for word but for numbers, and numbers
within reason.

Another processor rounds otherwise, so that trained students differ a little: what they decide is
held to bounds, and what they do not is held to the digit.
"""

import re

import pytest

from tests import ROOT
from tests.pages import README, block
from tests.small_run import run

NUMBER = r"[+-]?\d[\d,]*(?:\.\d+)?"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """What `make demo` prints, from the first win-tie rate on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HUMOR_DISTILL_DATA", str(tmp_path_factory.mktemp("demo")))
        said = run("all", "--run", "demo", "--config", ROOT / "configs/demo.toml")
        said += ".venv/bin/humor-distill status --run demo\n" + run("status", "--run", "demo")
    return said[said.index("Win-tie rate and fresh rate against") :].rstrip().splitlines()


def test_word_for_word(demo):
    shown = block(README.read_text(), "demo").splitlines()
    assert [words(line) for line in demo] == [words(line) for line in shown]


def words(line):
    return " ".join(re.sub(NUMBER, "#", line).split())


def test_what_no_student_decides_is_exact(demo):
    shown = block(README.read_text(), "demo").splitlines()
    for step in ("teacher", "sft"):
        ours, theirs = (
            next(line.split() for line in lines if line.startswith(step)) for lines in (demo, shown)
        )
        assert ours[:6] == theirs[:6]


def test_rates_and_differences_are_the_readme_s_within_reason(demo):
    rates = [figures(lines) for lines in (demo, block(README.read_text(), "demo").splitlines())]
    assert rates[0].keys() == rates[1].keys()
    for name, rate in rates[0].items():
        assert rate == pytest.approx(rates[1][name], abs=0.12), name
    assert rates[0]["test round-1 - sft"] > 0.04


def figures(lines):
    """The first figure of each row of the two tables, by what the row is about."""
    rows = [re.match(r"(test|ood)\s+(\S+(?: - \S+)?)\s+([+-]?\d\.\d{3}) ", line) for line in lines]
    return {f"{row[1]} {row[2]}": float(row[3]) for row in rows if row}
