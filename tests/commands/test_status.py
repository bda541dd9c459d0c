"""status without a run: what runs there are, at a glance."""

import json

from tests.conftest import rows


def test_every_run_has_a_line(inside, cli):
    said = cli("status").splitlines()
    assert said[0].split()[:3] == ["run", "steps", "last"]
    [line] = [line for line in said if line.split()[0] == "v1"]
    finished = json.loads((inside / "runs/v1/evaluate/manifest.json").read_text())["finished"]
    assert f"6 of 6  {finished[:16].replace('T', ' ')}  data/students/micro" in line
    [row] = [
        row
        for row in rows(inside / "runs/v1/evaluate/metrics.jsonl")
        if (row["contestant"], row["split"], row["vs"]) == ("round-1", "test", None)
    ]
    rates = f"round-1 {100 * row['wtr']:.1f} % on test, fresh {100 * row['fresh_wtr']:.1f} %"
    assert line.endswith(rates)


def test_a_damaged_run_hides_no_other(apart, cli):
    (apart / "runs/empty").mkdir()
    (apart / "runs/torn/teacher").mkdir(parents=True)
    (apart / "runs/torn/config.json").write_text("{")
    said = cli("status")
    assert "empty                0 of" in said
    assert "torn                damaged" in said
    assert "v1                   6 of 6" in said
