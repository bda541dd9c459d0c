"""The README cannot lie: its file tree and its help text are the real ones.

`python -m tests.test_readme` writes them anew.
"""

import os
import re
import subprocess
import sys

from pipeline import ROOT

README = ROOT / "README.md"
LEFT_OUT = ("tests/", "data/students/micro/")


def help_text(command: str) -> str:
    environment = {**os.environ, "COLUMNS": "100"}
    argv = [sys.executable, "-m", "pipeline", command, "--help"]
    found = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment, cwd=ROOT)
    return found.stdout.rstrip()


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    return [path for path in listed.stdout.splitlines() if (ROOT / path).exists()]


def block(readme: str, name: str) -> str:
    """What stands between a marker and the end of its code block."""
    found = re.search(rf"<!-- {name} -->\n```\n(.*?)\n```", readme, re.DOTALL)
    assert found, f"README.md has no block {name}"
    return found[1]


def in_tree(readme: str) -> set[str]:
    """The paths that the README's tree names, from its indentation."""
    paths, parents = set(), []
    for line in block(readme, "tree").splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        parents[depth:] = [name]
        paths.add("".join(parents))
    return paths


def test_help_text():
    assert block(README.read_text(), "help dpo") == help_text("dpo")


def test_the_demo_s_output_is_there():
    shown = block(README.read_text(), "demo")
    for line in ("Win-tie rate against the teacher, judged by standin-judge", "round-1 - sft", "evaluate"):
        assert line in shown


def test_file_tree():
    named = in_tree(README.read_text())
    files = {path for path in tracked() if not path.startswith(LEFT_OUT)}
    folders = {path for path in named if path.endswith("/")}
    missing = {path for path in files if path not in named}
    assert not missing, f"not in the README's tree: {sorted(missing)}"
    gone = {path for path in named - folders if path not in files}
    assert not gone, f"in the README's tree, but not there: {sorted(gone)}"
    assert all((ROOT / folder).is_dir() for folder in folders)


def test_what_the_readme_says_of_the_cli_and_make_is_there():
    text = README.read_text()
    make = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in set(re.findall(r"^ {4}make ([a-z-]+)", text, re.MULTILINE)):
        assert target in make, target
    for path in re.findall(r"`((?:pipeline|configs|bench|prompts)/[\w./-]+\.\w+)`", text):
        assert (ROOT / path).exists() or path == "configs/mine.toml", path


if __name__ == "__main__":
    text = README.read_text()
    body = f"<!-- help dpo -->\n```\n{help_text('dpo')}\n```"
    README.write_text(re.sub(r"<!-- help dpo -->(\n```\n.*?\n```)?", lambda _: body, text, count=1, flags=re.DOTALL))
