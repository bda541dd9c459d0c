"""Flipped bits, strays, cut and missing files of a run, and what verify says of each: `make flips`.

Makes a small run with a report, or takes one: `python -m tests.bench.flips DATA RUN`. Every change is
taken back before the next. Prints how many went unnoticed, and of which files; exit code 1 where one
did.
"""

import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline import project
from pipeline.commands import verify
from pipeline.errors import HumorDistillError
from pipeline.runs.run import Run
from tests.small_run import SMALL, run

FLIPS = 400
DIGIT_CHANGES = 10
DIGITS = b"0123456789"
SPACES = b" \t\n\r"
"""Of these a JSON file may hold one for another."""
Change = Callable[[Path, random.Random], None]


def flip(path: Path, draw: random.Random) -> None:
    """One bit of one byte."""
    raw = bytearray(path.read_bytes())
    raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
    path.write_bytes(raw)


def space(path: Path, draw: random.Random) -> None:
    """One white space for another, which leaves JSON what it says."""
    raw = bytearray(path.read_bytes())
    place = draw.choice([place for place, byte in enumerate(raw) if byte in SPACES])
    raw[place] = draw.choice([byte for byte in SPACES if byte != raw[place]])
    path.write_bytes(raw)


def digit(path: Path, draw: random.Random) -> None:
    """One digit for another, which leaves JSON well formed, and mostly a configuration valid."""
    raw = bytearray(path.read_bytes())
    place = draw.choice([place for place, byte in enumerate(raw) if byte in DIGITS])
    raw[place] = draw.choice([byte for byte in DIGITS if byte != raw[place]])
    path.write_bytes(raw)


def append(path: Path, draw: random.Random) -> None:
    with path.open("ab") as file:
        file.write(draw.choice([b"\n", b" ", b"\0", b"{}\n"]))


def cut(path: Path, draw: random.Random) -> None:
    os.truncate(path, draw.randrange(path.stat().st_size))


def delete(path: Path, draw: random.Random) -> None:
    path.unlink()


def link(path: Path, draw: random.Random) -> None:
    """A link to the very same bytes elsewhere."""
    target = project.data() / "elsewhere" / path.name
    target.parent.mkdir(exist_ok=True)
    path.replace(target)
    path.symlink_to(target)


def unnoticed(name: str) -> bool:
    """Whether verify finds the run whole; a run that it refuses is none that it finds whole."""
    try:
        return not any(faults for _, faults in verify.faults_of(Run(name)))
    except (HumorDistillError, UnicodeDecodeError):
        return False


@contextmanager
def kept(path: Path) -> Iterator[None]:
    """Put a file back as it was."""
    raw = path.read_bytes()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        path.write_bytes(raw)


def changes(name: str, draw: random.Random) -> Iterator[tuple[str, Path, Change]]:
    """What is done, to which file: flips all over, and each other change to each file once."""
    files = sorted(path for path in Run(name).folder.rglob("*") if path.is_file())
    filled = [path for path in files if path.stat().st_size]
    for number in range(FLIPS):
        if number % len(filled) == 0:
            draw.shuffle(filled)
        yield "flips", filled[number % len(filled)], flip
    for path in files:
        yield "bytes appended", path, append
        yield "links", path, link
        if path.name not in (".lock", "report.html"):  # no stage needs them to be there
            yield "files deleted", path, delete
    for path in filled:
        yield "files cut", path, cut
        if path.suffix == ".json":
            yield "white space for another", path, space
            for _ in range(DIGIT_CHANGES):
                yield "a digit for another", path, digit


def strays(name: str) -> Iterator[Path]:
    """Files and folders that no stage writes, one after another, in every folder of the run."""
    for folder in [Run(name).folder, *sorted(Run(name).folder.rglob("*/"))]:
        if folder.is_symlink():
            continue
        for stray in ("notes.txt", "extra.json", "records.jsonl.partial", "sub/", "sub/x.jsonl"):
            path = folder / stray
            (path if stray.endswith("/") else path.parent).mkdir(exist_ok=True)
            if not stray.endswith("/"):
                path.write_text("{}\n")
            yield path
            shutil.rmtree(path.parent) if stray.startswith("sub/x") else None
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True)


def main() -> None:
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        os.environ["HUMOR_DISTILL_DATA"] = str(data)
        name = "v1"
        if len(sys.argv) > 2:
            source, name = Path(sys.argv[1]), sys.argv[2]
            shutil.copytree(source, data, symlinks=True)
        else:
            Path(folder, "small.toml").write_text(SMALL)
            run("all", "--run", name, "--config", f"{folder}/small.toml")
        run("report", "--run", name)
        assert unnoticed(name), list(verify.faults_of(Run(name)))
        done: Counter[str] = Counter()
        missed: Counter[tuple[str, str]] = Counter()
        began = time.monotonic()
        for what, path, change in changes(name, draw):
            with kept(path):
                change(path, draw)
                done[what] += 1
                missed[what, str(path.relative_to(data / "runs"))] += unnoticed(name)
        for path in strays(name):
            done["strays"] += 1
            missed["strays", str(path.relative_to(data / "runs"))] += unnoticed(name)
        assert unnoticed(name)
    for what, count in done.items():
        of_it = {path: number for (kind, path), number in missed.items() if kind == what and number}
        print(f"{what:<24} {count:>4}, {sum(of_it.values())} unnoticed {of_it or ''}")
    print(f"in {time.monotonic() - began:.0f} s")
    sys.exit(missed.total() > 0)


if __name__ == "__main__":
    main()
