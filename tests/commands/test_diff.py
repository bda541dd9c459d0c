"""diff: recipes line by line, and figures paired over common literals."""

import json

import pytest

from pipeline.judging import devices, metrics
from pipeline.reading import comparison
from pipeline.runs.manifest import seal
from pipeline.runs.run import Run
from tests.synthetic import make_run


def test_the_same_run_twice_differs_in_nothing(cli, data):
    make_run("v1", 60)
    said = cli("diff", "v1", "v1")
    assert said.count("the same recipe, the same rows") == 6
    assert "+0.000" in said


def test_recipes_and_figures(cli, data):
    make_run("v1", 60)
    make_run("v2", 60, seed=3, wins=0.8)
    said = cli("diff", "v1", "v2")
    assert "teacher: another recipe, other rows\n" in said
    assert "  - seed = 0\n  + seed = 3\n" in said
    assert "    reads other rows or weights of critic\n" in said
    for row in comparison.compared(Run("v1"), Run("v2")):
        weights = {"WTR": lambda verdicts: None, "fresh": devices.fresh_weights}[row.rate]
        ours, theirs = [
            metrics.credits(verdicts, weights(verdicts))
            for verdicts in (
                comparison.judged(Run(name))[row.split, row.contestant] for name in ("v1", "v2")
            )
        ]
        delta, low, high, n = row.difference
        assert n == len(ours) == 6
        assert delta == pytest.approx(sum(theirs[key] - ours[key] for key in ours) / 6)
        assert low <= delta <= high
        assert (
            f"{row.contestant:<13} {row.rate:<5} {row.one:>12.3f} {row.other:>12.3f} {delta:>+11.3f}"
            in said
        )


def test_the_sentences_on_which_verdicts_differ_are_listed(cli, data):
    make_run("v1", 60)
    make_run("v2", 60, seed=3, wins=0.8)
    [row] = [
        row
        for row in comparison.compared(Run("v1"), Run("v2"))
        if row.rate == "WTR" and row.differing and row.contestant == "sft"
    ][:1]
    said = cli("diff", "v1", "v2", "--list")
    better = " ".join(row.differing.better) or "-"
    assert f"{row.split} sft, better in v2: {better}\n" in said
    assert "better in v2" not in cli("diff", "v1", "v2")


def test_only_common_literals_are_compared(cli, data):
    make_run("v1", 60)
    make_run("v2", 120, seed=1)
    found = comparison.compared(Run("v1"), Run("v2"))
    assert {row.difference.n for row in found} == {6}


def test_the_words_of_a_prompt_are_shown_line_by_line(cli, data):
    make_run("v1", 40)
    path = make_run("v2", 40) / "round-1/critic/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["prompts"]["critic"] = manifest["prompts"]["critic"].replace("Attempt 1:", "First:")
    path.write_text(json.dumps({**manifest, "seal": seal(manifest)}))
    said = cli("diff", "v1", "v2")
    assert (
        "  - prompts.critic: Attempt 1: {{ first | quoted }}\n  + prompts.critic: First: {{ first "
        "| quoted }}" in said
    )


def test_runs_that_are_not_finished(cli, data):
    make_run("v1", 40)
    folder = make_run("v2", 40)
    (folder / "evaluate/manifest.json").unlink()
    said = cli("diff", "v1", "v2")
    assert "evaluate: complete only in v1" in said
    assert "No figures to compare" in said
    assert "No run 'v3'" in cli("diff", "v1", "v3", code=4)
