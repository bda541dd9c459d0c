import os
import subprocess
import sys

import pytest

from pipeline import STAGES, __version__, spelt
from pipeline.__main__ import main
from tests import ROOT

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
        f"{', '.join(map(spelt, STAGES))}; print([n for n in {HEAVY} if n in sys.modules])"
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


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        (["teachr", "--run", "v1"], "Did you mean 'teacher'?"),
        (["teacher", "--rnu", "v1"], "Did you mean '--run'?"),
        (
            ["teacher", "--run", "v1", "--forse"],
            "unrecognized arguments: --forse. Did you mean '--force'?",
        ),
        (["teacher", "--run", "v1", "--sett=seed=1"], "Did you mean '--set'?"),
        (["show", "--run", "v1", "--stage", "critc"], "Did you mean 'critic'?"),
        (["show", "--run", "v1", "--outcome", "inconsistant"], "Did you mean 'inconsistent'?"),
    ],
)
def test_a_misspelt_command_flag_or_value_is_answered(capsys, argv, meant):
    with pytest.raises(SystemExit) as error:
        main(argv)
    assert error.value.code == 2
    assert meant in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["teacher", "--run", "x", "--conf", "c", "--zzz"], "unrecognized arguments: --zzz\n"),
        (["teacher", "--run", "x", "--set", "--foo=1"], "argument --set: expected one argument\n"),
        (["try", "--", "--rnu"], "the following arguments are required: --run\n"),
    ],
)
def test_what_is_not_misspelt_is_not_answered(capsys, argv, said):
    with pytest.raises(SystemExit):
        main(argv)
    assert capsys.readouterr().err.endswith(said)


def test_what_was_typed_in_a_shell_is_answered(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["humor-distill", "--versoin"])
    with pytest.raises(SystemExit):
        main()
    assert "Did you mean '--version'?" in capsys.readouterr().err


def test_flags_may_be_shortened_and_values_look_like_flags(cli):
    assert "seed: unknown" not in cli("teacher", "--run", "v1", "--dry", "--set", "seed=1")
    said = cli("teacher", "--run", "v1", "--dry-run", "--set=--sede=1", code=3)
    assert "--sede: unknown key" in said


def test_a_misspelt_value_or_run_is_answered(cli, data):
    said = cli("teacher", "--run", "v1", "--set", "critic.aspect=humour", code=3)
    assert (
        "critic.aspect: Input should be 'overall', 'humor' or 'consistency'. Did you mean 'humor'?"
        in said
    )
    (data / "runs/demo").mkdir(parents=True)
    assert "There are: demo. Did you mean 'demo'?" in cli("status", "--run", "dmeo", code=4)
    said = cli("teacher", "--run", "v1", "--from", "dmeo", code=4)
    assert "There are: demo. Did you mean 'demo'? Make it: humor-distill all --run dmeo" in said


def test_the_version_is_said_once(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"humor-distill {__version__}\n"
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-16"])
def test_a_terminal_of_another_encoding_ends_nothing(tmp_path, encoding):
    """A sentence that it cannot show, in what is printed and in an error."""
    (tmp_path / "z.txt").write_text("Zo\u00eb said \u732b to the kettle.\n", "utf-8")
    environment = {
        **os.environ,
        "PYTHONIOENCODING": encoding,
        "PYTHONUTF8": "0",
        "HUMOR_DISTILL_DATA": str(tmp_path / "data"),
    }
    commands = [
        ["import", "z.txt", "--split", "test", "--out", "\u732b.jsonl"],
        ["import", "\u732b.txt", "--split", "test", "--out", "x.jsonl"],
    ]
    for command, code in zip(commands, (0, 5), strict=True):
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", *command],
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": str(ROOT)},
            capture_output=True,
        )
        said = (done.stdout + done.stderr).decode(encoding, "replace")
        assert done.returncode == code, said
        assert "Traceback" not in said
        assert "\u732b" in said or "\\u732b" in said


def test_where_files_cannot_be_locked_that_is_said():
    """As on Windows, where there is no fcntl."""
    code = (
        "import sys; sys.modules['fcntl'] = None; from pipeline.__main__ import main; "
        "sys.exit(main(['teacher', '--run', 'x']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 9
    assert "On Windows, run it in WSL." in done.stderr
    assert "Traceback" not in done.stderr
