"""A disk that fills up under a stage.

`unshare -rm python -m tests.whole.disk CONFIG UNDISTURBED STEP...`

Works in a mount namespace of its own, on a small tmpfs that it fills with ballast. Each step is
tried with a little more room each time until it succeeds; every failure must say so plainly, and
what comes out in the end must be what the undisturbed run has. Prints one JSON object: for each
step, what each attempt said.
"""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from pipeline.__main__ import main

ROOM = [0, 4 << 10, 32 << 10, 256 << 10, 4 << 20, 16 << 20, 64 << 20, 200 << 20]
"""Bytes left free: none, then 4 KB to 64 MB, then 200 MB."""


def ballast(folder: Path, room: int) -> None:
    """Fill the disk but for so many bytes."""
    path = folder / "ballast"
    path.unlink(missing_ok=True)
    size = shutil.disk_usage(folder).free - room
    with path.open("wb") as file:
        with contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, max(1, size))


def attempt(argv: list[str]) -> dict:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(argv)
    return {"code": code, "said": said.getvalue()}


def fill(config: str, undisturbed: Path, steps: list[str]) -> dict:
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=240m", "tmpfs", place], check=True)
        folder = Path(place)
        os.environ["HUMOR_DISTILL_DATA"] = place
        shutil.copytree(undisturbed / "runs/v1", folder / "runs/v1", symlinks=True)
        found = {}
        for step in steps:
            shutil.rmtree(folder / "runs/v1" / step)
            found[step] = []
            for room in ROOM:
                ballast(folder, room)
                found[step].append(
                    {
                        "room": room,
                        **attempt([step.rpartition("/")[2], "--run", "v1", "--config", config]),
                    }
                )
                if found[step][-1]["code"] != 9:
                    break
            same = (
                folder / "runs/v1" / step / "records.jsonl",
                undisturbed / "runs/v1" / step / "records.jsonl",
            )
            found[step][-1]["same"] = (
                same[0].exists() and same[0].read_bytes() == same[1].read_bytes()
            )
            (folder / "ballast").unlink()
        subprocess.run(["umount", "-l", place], check=True)
        return found


if __name__ == "__main__":
    print(json.dumps(fill(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])))
