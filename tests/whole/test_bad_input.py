"""What a run meets outside: other machines, other processes, links, clocks."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import pytest

from pipeline import standin
from pipeline.rows.records import LiteralText
from pipeline.rows.row import make
from tests import ROOT
from tests.conftest import rows
from tests.synthetic import make_run


def test_a_run_copied_to_another_machine_is_complete_there(cli, data, tmp_path, monkeypatch):
    make_run("v1", 60)
    before = cli("status", "--run", "v1")
    shutil.copytree(data, tmp_path / "elsewhere")
    monkeypatch.setenv("HUMOR_DISTILL_DATA", str(tmp_path / "elsewhere"))
    shutil.rmtree(data / "runs")
    assert cli("status", "--run", "v1") == before
    assert "evaluate: whole" in cli("verify", "--run", "v1")
    assert "evaluate: complete, nothing to do" in cli("evaluate", "--run", "v1")
    cli("report", "--run", "v1")


def test_a_run_copied_without_its_literals_says_so(cli, data):
    make_run("v1", 60)
    (data / "literals-v1.jsonl").unlink()
    said = cli("verify", "--run", "v1", code=5)
    assert f"{data}/literals-v1.jsonl: not there, but the run was made from it" in said
    assert "literals-v1.jsonl: no such file" in cli("diff", "v1", "v1", code=5)
    cli("show", "--run", "v1", "--stage", "critic")


def test_a_link_to_a_run_that_was_left_behind_is_named(cli, data):
    folder = make_run("v1", 40)
    shutil.copytree(folder, data / "runs/v2")
    shutil.rmtree(data / "runs/v2/teacher")
    (data / "runs/v2/teacher").symlink_to("../v0/teacher")
    for command in (
        ["sft", "--run", "v2"],
        ["show", "--run", "v2", "--stage", "teacher"],
        ["report", "--run", "v2"],
    ):
        assert "is linked from ../v0/teacher, which is not here" in cli(*command, code=4)
    assert "which is not here" in cli("verify", "--run", "v2", code=5)


@pytest.mark.parametrize("name", ["v1", "v1/teacher", "v1/round-1"])
def test_a_link_out_of_the_data_folder_is_neither_read_nor_written(
    cli, config, data, tmp_path, name
):
    make_run("v1", 40)
    (data / "runs" / name).rename(tmp_path / "outside")
    (data / "runs" / name).symlink_to(tmp_path / "outside")
    before = sorted(path.stat().st_mtime_ns for path in (tmp_path / "outside").rglob("*"))
    step = "sample" if name.endswith("round-1") else "teacher"
    assert "leads out of" in cli(step, "--run", "v1", "--config", config, "--force", code=4)
    assert "leads out of" in cli("show", "--run", "v1", "--stage", step, code=4)
    assert sorted(path.stat().st_mtime_ns for path in (tmp_path / "outside").rglob("*")) == before


def test_rows_that_are_a_link_are_found(cli, data, tmp_path):
    path = make_run("v1", 40) / "teacher/records.jsonl"
    path.rename(tmp_path / "rows.jsonl")
    path.symlink_to(tmp_path / "rows.jsonl")
    assert f"{path}: a link; the rows of a step lie in its folder" in cli(
        "verify", "--run", "v1", code=5
    )


def test_two_processes_on_one_step_one_works_and_the_other_is_refused(config, data):
    def slowly(body):
        time.sleep(0.02)
        return standin.respond(body)

    server = standin.server(0, slowly)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    config.write_text(
        config.read_text().replace('"standin:"', f'"http://127.0.0.1:{server.server_port}/v1"', 1)
    )
    command = [sys.executable, "-m", "pipeline", "teacher", "--run", "v1", "--config", str(config)]
    both = [
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in "ab"
    ]
    said = [process.communicate(timeout=120)[0] for process in both]
    server.shutdown()
    server.server_close()
    assert sorted(process.returncode for process in both) == [0, 4], said
    assert any("another process is at work here" in text for text in said)
    assert json.loads((data / "runs/v1/teacher/manifest.json").read_text())["spent"]["calls"] == 200


def test_a_clock_that_goes_backwards_breaks_nothing(cli, config, data, monkeypatch):
    class Backwards(datetime):
        times = iter(range(10**6, 0, -3600))

        @classmethod
        def now(cls, tz=None):
            return datetime.fromtimestamp(next(cls.times), UTC)

    monkeypatch.setattr("pipeline.execution.execute.datetime", Backwards)
    monkeypatch.setattr(time, "time", lambda: next(Backwards.times))
    cli("teacher", "--run", "v1", "--config", config)
    manifest = json.loads((data / "runs/v1/teacher/manifest.json").read_text())
    assert manifest["finished"] < manifest["started"]
    assert manifest["seconds"] >= 0
    assert "teacher: whole" in cli("verify", "--run", "v1")
    assert "nothing to do" in cli("teacher", "--run", "v1")


def test_rows_of_another_version_are_named_with_file_and_line(cli, data):
    path = make_run("v1", 40) / "teacher/records.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[1].replace("joke/2", "joke/0") + "".join(lines[2:]))
    said = cli("verify", "--run", "v1", code=5)
    assert f"{path}:2: schema is 'joke/0', expected 'joke/2'" in said
    assert "Read it with the humor-distill that wrote it" in said


@pytest.mark.parametrize(
    "text", ["", "[]", "7", '{"schema": "manifest/2"}', '{"schema": "manifest/2", "rows": }']
)
def test_a_manifest_that_is_none_is_named_everywhere(cli, data, text):
    folder = make_run("v1", 40)
    (folder / "teacher/manifest.json").write_text(text)
    for command in (["sft", "--run", "v1"], ["diff", "v1", "v1"], ["report", "--run", "v1"]):
        assert f"{folder}/teacher/manifest.json" in cli(*command, code=5)
    cli("verify", "--run", "v1", code=5)


def test_a_config_that_was_edited_into_nonsense_is_named(cli, data):
    folder = make_run("v1", 40)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sede": 3}))
    assert f"{path}: sede: unknown key. Did you mean 'seed'?" in cli(
        "teacher", "--run", "v1", code=3
    )
    path.write_text("{")
    assert f"{path}: not JSON" in cli("teacher", "--run", "v1", code=5)


def test_a_reader_that_goes_away_is_no_error(data):
    make_run("v1", 60)
    command = f"{sys.executable} -m pipeline show --run v1 --stage critic --limit 9999 | head -1"
    done = subprocess.run(
        command, shell=True, cwd=ROOT, capture_output=True, text=True, env={**os.environ}
    )
    assert done.stderr == ""
    assert done.stdout.startswith("id")


def test_every_row_of_a_synthetic_run_is_one_line(data):
    folder = make_run("v1", 40)
    for path in folder.rglob("*.jsonl"):
        assert len(rows(path)) == path.read_bytes().count(b"\n")


def test_more_rounds_than_the_configuration_has_are_a_fault(cli, data):
    folder = make_run("v1", 40)
    shutil.copytree(folder / "round-1", folder / "round-2")
    said = cli("verify", "--run", "v1", code=5)
    assert "the configuration has 1 round(s)" in said
    assert "round-3/sample" in cli(
        "show", "--run", "v1", "--stage", "sample", "--round", "3", code=3
    )


@pytest.mark.parametrize(
    "changes", [{"files": []}, {"weights": 5}, {"recipe": []}, {"prompts": []}, {"dropped": 1}]
)
def test_a_manifest_of_the_wrong_shape_is_named(cli, data, changes):
    path = make_run("v1", 40) / "teacher/manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    for command in (["verify", "--run", "v1"], ["sft", "--run", "v1"], ["report", "--run", "v1"]):
        assert f"{next(iter(changes))}: not a table" in cli(*command, code=5)
    assert "damaged" in cli("status", "--run", "v1")


def test_literals_that_were_replaced_are_named(cli, data):
    folder = make_run("v1", 60)
    gone = rows(folder / "evaluate/records.jsonl")[0]["literal_id"]
    path = data / "literals-v1.jsonl"
    path.write_text(
        "".join(line + "\n" for line in path.read_text().splitlines() if gone not in line)
    )
    assert f"run v1 judged {gone}" in cli("diff", "v1", "v1", code=5)


def with_every_split(config):
    """Sentences to evaluate on, beside those to train on."""
    with (config.parent / "literals.jsonl").open("a", encoding="utf-8") as file:
        for split in ("test", "ood"):
            row = make(
                LiteralText,
                text=f"The kettle of the {split} split is on.",
                split=split,
                source="made",
                licence="none",
            )
            file.write(row.model_dump_json(by_alias=True) + "\n")


def test_a_dry_run_compares_recipes_with_the_run_it_would_link_from(cli, config, data):
    with_every_split(config)
    cli("teacher", "--run", "v1", "--config", config)
    cli("sample", "--run", "v1")
    said = cli("all", "--run", "v2", "--from", "v1", "--dry-run")
    assert "teacher: complete in run v1, would be linked, nothing to do" in said
    assert "round-1/sample: complete in run v1, would be linked, nothing to do" in said
    said = cli("all", "--run", "v2", "--from", "v1", "--dry-run", "--set", "teacher.jokes=2")
    assert "teacher: would run and write" in said
    assert "round-1/sample: would run after teacher" in said
    assert not (data / "runs/v2").exists()


def test_a_linked_step_says_whose_it_is_and_how_to_make_it_anew(cli, config, data):
    cli("teacher", "--run", "v1", "--config", config)
    cli("sample", "--run", "v2", "--from", "v1")
    said = cli("teacher", "--run", "v2", "--set", "seed=7")
    assert "teacher: complete in run v1, linked (made with its seed, 0), nothing to do" in said
    said = cli("teacher", "--run", "v2", "--set", "teacher.jokes=2", code=4)
    assert (
        f"rm {data}/runs/v2/teacher && humor-distill teacher --run v2 --set teacher.jokes=2" in said
    )


def test_a_new_run_and_a_mistyped_source_are_said(cli, config, data):
    assert f"run v1 is new; its configuration is {config}" in cli(
        "teacher", "--run", "v1", "--config", config
    )
    assert "--from v9: no such run. There are: v1." in cli(
        "sample", "--run", "v2", "--from", "v9", code=4
    )
    said = cli("sample", "--run", "v2", "--from", "v1", "--set", "seeed=1", code=3)
    assert (
        f"{data}/runs/v1/config.json with --set: seeed: unknown key. Did you mean 'seed'?" in said
    )


def test_a_dry_run_says_what_the_real_run_would_do(cli, config, data):
    with_every_split(config)
    cli("teacher", "--run", "v1", "--config", config)
    for stage in ("sample", "critic"):
        cli(stage, "--run", "v1")
    assert "round-1/critic: would run and write" in cli(
        "critic", "--run", "v2", "--from", "v1", "--dry-run"
    )
    said = cli("critic", "--run", "v2", "--from", "v1", "--set", "sample.k=4", "--dry-run")
    assert "round-1/critic: would run after round-1/sample" in said
    said = cli("all", "--run", "v2", "--from", "v1", "--set", "seed=1", "--dry-run")
    assert "teacher: would run and write" in said
    assert "no such run" in cli("critic", "--run", "v2", "--from", "v9", "--dry-run", code=4)
    cli("critic", "--run", "v2", "--from", "v1", "--set", "sample.k=4", code=4)
    said = cli(
        "sample", "--run", "v2", "--set", "sample.k=4"
    )  # with the configuration that came with the link
    assert "is new" not in said
    assert len(rows(data / "runs/v2/round-1/sample/records.jsonl")) == len(
        rows(data / "runs/v1/round-1/sample/records.jsonl")
    )


@pytest.mark.parametrize("value", ["1", '[["dpop"]]'])
def test_a_loss_type_that_is_no_name(cli, config, data, value):
    make_run("v1", 40)
    assert "give a name, or a list of names" in cli(
        "dpo", "--run", "v1", "--set", f"dpo.trainer.loss_type={value}", code=3
    )


@pytest.mark.parametrize(
    "changes", [{"literals": None}, {"inputs": {"teacher": 3}}, {"critic": {"tie_band": "x"}}]
)
def test_a_recipe_that_was_edited_into_nonsense_is_a_fault(cli, data, changes):
    path = make_run("v1", 40) / "round-1/critic/manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "recipe": {**manifest["recipe"], **changes}}))
    assert "it was edited after its stage wrote it" in cli("verify", "--run", "v1", code=5)
