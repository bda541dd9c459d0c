import subprocess
import sys

import pytest

from pipeline import STAGES

HEAVY = "torch transformers trl peft datasets openai pandas bitsandbytes sentence_transformers faiss".split()


def test_the_command_line_loads_nothing_heavy():
    code = (
        "import sys, pipeline.__main__ as m; m.flags.parser().format_help(); "
        f"print([n for n in {HEAVY} if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_stages_and_status_load_nothing_heavy():
    code = (
        "import sys; from pipeline.commands import diff, export, import_, report, show, stage, "
        "status, tables, try_, verify; "
        "from pipeline.stages import "
        f"{', '.join(STAGES)}; print([n for n in {HEAVY} if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_both_ways_in_are_one(tmp_path):
    helps = [
        subprocess.run(
            [*command, "critic", "--help"], capture_output=True, text=True, check=True
        ).stdout
        for command in (
            [sys.executable, "-m", "pipeline"],
            [sys.executable.replace("python3", "python").rpartition("/")[0] + "/humor-distill"],
        )
    ]
    assert helps[0] == helps[1]
    for flag in ("--run", "--config", "--from", "--round", "--set", "--force", "--dry-run"):
        assert flag in helps[0]


def test_a_typo_in_a_flag_is_argparse_s(cli):
    with pytest.raises(SystemExit) as error:
        cli("teacher", "--rum", "v1")
    assert error.value.code == 2


def test_a_misspelt_key_ends_before_anything_is_made(cli, data):
    assert "Did you mean 'jokes'?" in cli(
        "teacher", "--run", "v1", "--set", "teacher.joks=2", code=3
    )
    assert not data.exists()
