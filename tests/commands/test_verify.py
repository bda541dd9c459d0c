"""verify finds what was changed after the stages wrote it, and says where."""

import json
import os

import pytest

from pipeline.commands import verify
from pipeline.rows import jsonl
from pipeline.rows.records import LiteralText, Verdict
from pipeline.rows.row import make
from pipeline.runs.files import write_json
from pipeline.runs.hashes import file_hash
from pipeline.runs.manifest import seal
from pipeline.runs.run import Run
from pipeline.runs.settings import read_settings, write_settings
from tests.conftest import rows
from tests.synthetic import make_run


def faults(run="v1"):
    return {name: lines for name, lines in verify.faults_of(Run(run)) if lines}


def write(path, found):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found), "utf-8")


def forge(folder, **changes):
    """Make a manifest agree with the files beside it, as someone who covers their tracks would."""
    path = folder / "manifest.json"
    manifest = {
        **json.loads(path.read_text()),
        **changes,
        "sha256": file_hash(folder / "records.jsonl"),
    }
    manifest["rows"] = len(rows(folder / "records.jsonl"))
    manifest["files"] = {name: file_hash(folder / name) for name in manifest["files"]}
    path.write_text(json.dumps({**manifest, "seal": seal(manifest)}))


def test_what_the_stages_wrote_is_whole(inside, cli):
    assert faults() == {}
    said = cli("verify", "--run", "v1")
    assert said.splitlines()[-7:] == [
        f"{name}: whole"
        for name in (
            "literals",
            "teacher",
            "sft",
            "round-1/sample",
            "round-1/critic",
            "round-1/dpo",
            "evaluate",
        )
    ]


FILES = [
    "teacher/records.jsonl",
    "teacher/dropped.jsonl",
    "sft/records.jsonl",
    "sft/validation.jsonl",
    "sft/curve.jsonl",
    "sft/weights/model.safetensors",
    "round-1/sample/records.jsonl",
    "round-1/critic/records.jsonl",
    "round-1/dpo/records.jsonl",
    "round-1/dpo/margins.jsonl",
    "round-1/dpo/weights/tokenizer.json",
    "evaluate/records.jsonl",
    "evaluate/answers.jsonl",
    "evaluate/metrics.jsonl",
]


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_found_in_every_file(apart, cli, name):
    path = apart / "runs/v1" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = faults()
    assert next(iter(found)) == name.rpartition("/")[0].removesuffix("/weights")
    assert any("SHA-256" in line for line in next(iter(found.values())))
    assert "is not what its stages wrote" in cli("verify", "--run", "v1", code=5)


def test_a_missing_line_is_found(apart):
    path = apart / "runs/v1/teacher/records.jsonl"
    found = rows(path)
    write(path, found[:-1])
    assert any(
        f"{len(found) - 1} rows, but the manifest says {len(found)}" in line
        for line in faults()["teacher"]
    )


def test_a_missing_file_is_found(apart):
    (apart / "runs/v1/evaluate/metrics.jsonl").unlink()
    assert faults()["evaluate"] == [f"{apart}/runs/v1/evaluate/metrics.jsonl: not there"]


def test_an_edited_manifest_is_found_and_refused(apart, cli):
    path = apart / "runs/v1/teacher/manifest.json"
    path.write_text(path.read_text().replace('"rows": ', '"rows": 1'))
    assert any("it was edited after its stage wrote it" in line for line in faults()["teacher"])
    assert "it was edited after its stage wrote it" in cli("sft", "--run", "v1", code=5)
    assert "damaged" in cli("status", "--run", "v1")


def test_a_manifest_of_another_version_is_refused(apart, cli):
    path = apart / "runs/v1/teacher/manifest.json"
    path.write_text(path.read_text().replace("manifest/2", "manifest/1"))
    said = "schema is 'manifest/1', expected 'manifest/2': another version wrote it"
    assert said in cli("sft", "--run", "v1", code=5)
    assert said in cli("verify", "--run", "v1", code=5)


def drop_line(path):
    write(path, rows(path)[1:])


def twice(path):
    write(path, [*rows(path), rows(path)[0]])


def orphan(path):
    first = rows(path)[0]
    row = make(
        Verdict,
        **{**{k: v for k, v in first.items() if k not in ("id", "schema")}, "a": "j_000000000000"},
    )
    write(path, [*rows(path), json.loads(row.line())])


def edit(**changes):
    def change(path):
        found = rows(path)
        write(path, [{**found[0], **changes}, *found[1:]])

    return change


@pytest.mark.parametrize(
    ("name", "change", "step", "complaint"),
    [
        ("round-1/critic/records.jsonl", orphan, "round-1/critic", "no joke j_000000000000"),
        (
            "round-1/critic/records.jsonl",
            drop_line,
            "round-1/dpo",
            "it read other rows or weights of critic",
        ),
        ("round-1/sample/records.jsonl", drop_line, "round-1/critic", "no joke"),
        ("teacher/records.jsonl", twice, "teacher", "is there twice"),
        ("teacher/records.jsonl", edit(text="Another joke."), "teacher", "but the content's is"),
        ("sft/records.jsonl", edit(completion="Another."), "sft", "its text is not that of"),
        (
            "sft/records.jsonl",
            edit(literal_id="l_000000000000"),
            "sft",
            "no literal l_000000000000",
        ),
        (
            "round-1/critic/records.jsonl",
            edit(outcome="failed"),
            "round-1/critic",
            "its orders give another outcome",
        ),
        (
            "round-1/critic/records.jsonl",
            edit(p_a=0.123),
            "round-1/critic",
            "p_a is not the mean of its orders",
        ),
        (
            "round-1/dpo/records.jsonl",
            edit(chosen_id="j_000000000000"),
            "round-1/dpo",
            "not what v_",
        ),
        ("round-1/dpo/margins.jsonl", drop_line, "round-1/dpo", "not one row for each preference"),
        (
            "evaluate/metrics.jsonl",
            edit(wtr=0.99),
            "evaluate",
            "wtr is not the mean of the verdicts' scores",
        ),
        ("evaluate/metrics.jsonl", edit(win=99), "evaluate", "the verdicts say"),
        ("round-1/critic/dropped.jsonl", drop_line, "round-1/critic", "but the manifest says"),
    ],
)
def test_a_change_is_found_even_where_hashes_and_seal_were_forged(
    apart, name, change, step, complaint
):
    path = apart / "runs/v1" / name
    change(path)
    forge(path.parent)
    found = faults()
    assert any(complaint in line for line in found[step]), found


def test_a_literal_of_two_splits_but_for_case_and_marks_is_a_fault(cli, data):
    make_run("v1", 40)
    path = data / "literals-v1.jsonl"
    literals = list(jsonl.read(path, LiteralText))
    other = "test" if literals[0].split == "train" else "train"
    changed = {"split": other, "source": "s", "licence": "l"}
    literals.append(make(LiteralText, text=literals[0].text.upper() + "!", **changed))
    jsonl.write(path, literals)
    said = cli("verify", "--run", "v1", code=5)
    assert (
        f"{path}:{len(literals)} ({other}) is {path}:1 ({literals[0].split}) but for case" in said
    )


STRAYS = [
    ("notes.txt", "run", "no stage wrote it"),
    ("round-1/notes.txt", "run", "no stage wrote it"),
    ("round-2/", "run", "no stage wrote it"),
    ("config.json.0a1b2c3d.partial", "run", "left by an attempt that was killed"),
    ("teacher/started.json", "teacher", "left by an attempt that was killed"),
    ("teacher/.before/", "teacher", "left by an attempt that was killed"),
    ("teacher/weights/", "teacher", "no stage wrote it"),
    ("evaluate/candidates.jsonl", "evaluate", "no stage wrote it"),
]


@pytest.mark.parametrize(("name", "step", "complaint"), STRAYS)
def test_what_does_not_belong_is_found(data, name, step, complaint):
    path = make_run("v1", 40) / name
    if name.endswith("/"):
        path.mkdir(parents=True)
    else:
        path.write_text("{}\n")
    (fault,) = faults()[step]
    assert fault.startswith(f"{path}: {complaint}")


@pytest.mark.parametrize("name", ["evil.py", "README.txt", "sub/config.json", "pipe"])
def test_what_does_not_belong_to_weights_is_found(apart, name):
    path = apart / "runs/v1/sft/weights" / name
    path.parent.mkdir(exist_ok=True)
    if name == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("x")
    assert f"{path}: no stage wrote it. Remove it, or keep it elsewhere" in faults()["sft"]


def test_a_link_is_found_whatever_it_leads_to(apart, tmp_path):
    """The bytes may be another's to change."""
    for name, step in (
        ("config.json", "run"),
        ("teacher/manifest.json", "teacher"),
        ("teacher/.lock", "teacher"),
        ("sft/weights/model.safetensors", "sft"),
    ):
        path = apart / "runs/v1" / name
        path.rename(tmp_path / path.name)
        path.symlink_to(tmp_path / path.name)
        assert len(faults()[step]) == 1
        path.unlink()
        (tmp_path / path.name).rename(path)
    assert faults() == {}


@pytest.mark.parametrize("name", ["config.json", "teacher/manifest.json"])
def test_white_space_for_other_white_space_is_found(data, name):
    path = make_run("v1", 40) / name
    path.write_text(path.read_text().replace("\n ", "\n\t", 1))
    ((step, (fault,)),) = faults().items()
    assert step == {"config.json": "run"}.get(name, "teacher")
    assert fault.startswith(f"{path}: it was edited after")


def test_a_configuration_that_was_edited_is_found_by_its_seal(data):
    folder = make_run("v1", 40)
    config = json.loads((folder / "config.json").read_text())
    write_settings(folder / "config.json", config)
    assert faults() == {}
    assert read_settings(folder / "config.json") == config
    sealed = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {**sealed, "seed": 1})
    fault = f"{folder}/config.json: it was edited after a stage wrote it (the seal differs)"
    assert faults() == {"run": [fault]}


def test_a_configuration_that_is_none_is_a_fault_and_ends_it(cli, data):
    folder = make_run("v1", 40)
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {**config, "sede": 3})
    said = cli("verify", "--run", "v1", code=5)
    assert "config.json: sede: unknown key. Did you mean 'seed'?" in said
    (folder / "config.json").unlink()
    said = cli("verify", "--run", "v1", code=5)
    assert f"{folder}/config.json: not there" in said
    assert "teacher: " not in said


def test_a_configuration_that_has_moved_on_is_a_note(cli, data):
    folder = make_run("v1", 40)
    config = json.loads((folder / "config.json").read_text())
    config["teacher"]["jokes"] = 5
    config["runtime"]["concurrency"] = 3
    write_json(folder / "config.json", config)
    said = cli("verify", "--run", "v1")
    assert (
        "teacher: whole\n  config.json has moved on since it was made:\n"
        "    - teacher.jokes = 3\n    + teacher.jokes = 5\nsft: whole\n" in said
    )


def test_a_step_that_the_configuration_names_no_more_is_checked_all_the_same(cli, data):
    folder = make_run("v1", 40)
    config = json.loads((folder / "config.json").read_text())
    config["rounds"][0] |= {"objective": "gkd"}
    config["gkd"] = {"teacher": "x"}
    write_json(folder / "config.json", config)
    path = folder / "round-1/critic/records.jsonl"
    path.write_bytes(path.read_bytes().replace(b"kettle", b"kittle", 1))
    said = cli("verify", "--run", "v1", code=5)
    assert "config.json names no such step any more" in said
    assert f"{path}: its SHA-256 is not the manifest's" in said


def test_a_report_that_was_changed_is_found(cli, data):
    folder = make_run("v1", 40)
    cli("report", "--run", "v1")
    assert faults() == {}
    path = folder / "report.html"
    page = path.read_text()
    path.write_text(page.replace("ties or beats", "beats or ties", 1))
    fault = f"{path}: not as report wrote it. Make it again: humor-distill report --run v1"
    assert faults() == {"run": [fault]}
    path.write_text(page.rpartition("\n<!-- SHA-256")[0])  # as earlier versions wrote it
    assert faults() == {}


def test_a_key_that_this_version_lacks_is_of_another(data):
    folder = make_run("v1", 40)
    settings = read_settings(folder / "config.json")
    settings["sample"]["quantum"] = 3
    write_settings(folder / "config.json", settings)
    made = {"packages": {"humor-distill": "9.9.0"}, "git": {"commit": "0123456789abcdef"}}
    for step in folder.rglob("manifest.json"):
        manifest = json.loads(step.read_text()) | {"made_with": made}
        step.write_text(json.dumps({**manifest, "seal": seal(manifest)}))
    said = " ".join(faults()["run"])
    assert "sample.quantum: unknown key" in said
    assert "humor-distill 9.9.0, commit 0123456789ab made " in said
    assert "verify it with that" in said
