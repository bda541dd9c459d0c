"""verify compares rows with the answers that they name, where the call cache is here."""

import json
import shutil
import sqlite3

import pytest

from pipeline.commands import verify
from pipeline.rows.jsonl import write
from pipeline.rows.records import Joke, LiteralText, Verdict
from pipeline.rows.row import make
from pipeline.runs.hashes import file_hash
from pipeline.runs.manifest import seal
from pipeline.runs.run import Run
from tests.conftest import rows
from tests.synthetic import CONFIG


@pytest.fixture
def judged(cli, data, tmp_path):
    """A run up to the critic, which compares the teacher's own jokes; about one there are none."""
    values = {"split": "train", "source": "test", "licence": "CC0"}
    texts = [f"The kettle in room {number} broke on Monday." for number in range(12)]
    write(tmp_path / "literals.jsonl", [make(LiteralText, text=text, **values) for text in texts])
    path = tmp_path / "small.toml"
    path.write_text(CONFIG.format(literals=tmp_path / "literals.jsonl"))
    flags = ["--run", "v1", "--config", path, "--set", 'rounds=[{candidates="teacher"}]']
    for stage in ("teacher", "sample", "critic"):
        cli(stage, *flags)
    return data / "runs/v1"


def found():
    return {one.name: one for one in verify.findings_of(Run("v1"))}


def forge(folder, number, kind, **changes):
    """Another row in place of one, with its id, its file's hash and the seal to match."""
    records = rows(folder / "records.jsonl")
    values = {key: value for key, value in records[number].items() if key not in ("id", "schema")}
    records[number] = json.loads(make(kind, **{**values, **changes}).line())
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in records]
    (folder / "records.jsonl").write_text("".join(lines), "utf-8")
    path = folder / "manifest.json"
    manifest = {**json.loads(path.read_text()), "sha256": file_hash(folder / "records.jsonl")}
    manifest["seal"] = seal(manifest)
    path.write_text(json.dumps(manifest, ensure_ascii=False, indent=1) + "\n")
    return records[number]


def test_rows_are_what_their_answers_say(judged):
    assert [(name, one.faults, one.notes) for name, one in found().items()] == [
        (name, [], [])
        for name in ("run", "literals", "teacher", "round-1/sample", "round-1/critic")
    ]


def test_a_joke_that_nobody_wrote_is_found(judged):
    forged = forge(judged / "teacher", 4, Joke, text="The kettle retired.")
    said = (
        f"{forged['id']}: its text is not what the answer {forged['call']} in the call cache says"
    )
    assert found()["teacher"].faults == [f"{judged}/teacher/records.jsonl: {said}"]


def test_a_verdict_that_nobody_gave_is_found(judged):
    orders = rows(judged / "round-1/critic/records.jsonl")[0]["orders"]
    turned = [{**order, "raw": "Reason: none.\nAnswer: 1"} for order in orders]
    forged = forge(judged / "round-1/critic", 0, Verdict, orders=turned)
    said = f"its order ab is not what {orders[0]['call']} in the call cache says"
    assert found()["round-1/critic"].faults == [
        f"{judged}/round-1/critic/records.jsonl: {forged['id']}: {said}"
    ]


def test_answers_that_are_not_here_are_told_and_no_fault(judged, data):
    with sqlite3.connect(data / "cache/calls.sqlite") as cache:
        cache.execute("DELETE FROM calls WHERE step = 'teacher'")
    cache.close()
    teacher = found()["teacher"]
    assert teacher.faults == []
    assert teacher.notes == [
        f"11 of 11 answers are not in {data}/cache/calls.sqlite, and are not compared: they were "
        "paid for elsewhere, or the cache was emptied"
    ]
    shutil.rmtree(data / "cache")
    assert [one.faults for one in found().values()] == [[]] * 5
    assert found()["run"].notes == [
        f"no answer is compared: {data}/cache/calls.sqlite: no call cache here"
    ]
    assert not (data / "cache").exists()
