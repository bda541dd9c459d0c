"""The wheel, in an environment of its own: whoever installed it needs no clone."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib

import pytest

from pipeline import __version__
from tests import ROOT


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The command of the built wheel, in a fresh environment that borrows only the dependencies."""
    folder = tmp_path_factory.mktemp("package")
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run([sys.executable, *build], check=True, capture_output=True)
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin/python"
    (wheel,) = folder.glob("*.whl")
    install = ["-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run([sys.executable, *install], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    # a path alone: what is editable there is not found
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin/humor-distill"


def pins(text):
    """Name and version of each line that pins one."""
    return dict(re.findall(r"^\"?\s*\"?([\w.-]+)==([\w.]+)", text, re.MULTILINE))


def test_what_builds_a_wheel_is_pinned_as_what_is_installed():
    with (ROOT / "pyproject.toml").open("rb") as file:
        requires = tomllib.load(file)["build-system"]["requires"]
    installed = pins((ROOT / "constraints.txt").read_text())
    assert [name.partition("==")[0] for name in requires][0] == "hatchling"
    for requirement in requires:
        name, _, version = requirement.partition("==")
        assert installed[name] == version


def test_the_locked_files_are_those_versions_each_with_a_hash():
    text = (ROOT / ".ci/locked.txt").read_text()
    blocks = re.split(r"\n(?=\S)", text.strip())
    locked = pins(text)
    assert len(locked) == len(blocks)
    for block in blocks:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block
    installed = pins((ROOT / "constraints.txt").read_text())
    assert {name: version for name, version in locked.items() if name in installed} == {
        name: installed[name] for name in locked if name in installed
    }
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    every = [*asked["dependencies"], *asked["optional-dependencies"]["dev"]]
    named = {re.match(r"[\w-]+", requirement)[0] for requirement in every} - {"humor-distill"}
    assert named <= locked.keys()


def test_a_project_is_made_and_used_without_a_clone(program, tmp_path):
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("HUMOR_DISTILL")
    }
    environment["PATH"] = f"{program.parent}:{environment['PATH']}"

    def run(*command, where=tmp_path, code=0):
        done = subprocess.run(
            command, cwd=where, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert run("humor-distill", "--version") == f"humor-distill {__version__}\n"
    assert "Make one: humor-distill init FOLDER" in run("humor-distill", "status", code=3)
    name = "Zoë's Witze"
    run("humor-distill", "init", name)
    project = tmp_path / name
    run("humor-distill", "teacher", "--run", "v1", "--set", "literals.limit=5", where=project)
    manifest = json.loads((project / "data/runs/v1/teacher/manifest.json").read_text())
    assert manifest["spent"]["calls"] == 20  # 5 of each split
    assert manifest["made_with"]["packages"]["humor-distill"] == __version__
    assert (project / "data/cache/calls.sqlite").exists()
    assert "complete" in run("humor-distill", "status", "--run", "v1", where=project / "configs")
    assert "nothing to do" in run("make", "teacher", "RUN=v1", where=project)
    assert "every stage that is not complete" in run("make", where=project)
    where = run(program.parent / "python", "-c", "import pipeline; print(pipeline.__file__)")
    assert where.startswith(str(program.parent.parent))
