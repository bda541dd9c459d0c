"""What import makes of odd files: `python tests/bench/fuzz_imports.py [COUNT] [SEED]`.

Small good files are cut, joined, filled with quotes and zeros, and written in other encodings; each
is imported in this process. Counted are those that were imported, those that were refused in words,
and faults, each of which is printed. Equal seeds make equal files.
"""

import csv
import io
import json
import random
import re
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from pipeline.__main__ import main

SENTENCES = (
    "The kettle is on.",
    "It rained all day, and all night.",
    'She said "yes" to the cat.',
    "Zoë naps 🤡 daily.",
    "We left early.",
    "昨日は 雨が 降った",
    "the kettle is ON",
)
SPLITS = ("train", "test", "validation", "ood")
INJECTED = (
    *('"', '""', '"\n', ",", ";", "\t", "\r", "\n", "\n\n", "\\", "{", "}", "[", "]", ":", "null"),
    *("\0", "\ufeff", "\x85", "\u2028", "\x1b[31m", "\x1a", "\u202e", "\\ud83d", "\\u0000", "%s"),
    *("None", "nan", "'", "{'a': 1}"),
)
VALUES = (
    *("null", "5", "1e999", "NaN", "true", "[]", "{}", '["a b c"]', '{"a": {"b": [1]}}', "-0.5"),
    *(
        '""',
        '" "',
        '"\\ud83d a b"',
        '"a \\u0000 b c"',
        "9" * 5000,
        "[" * 100_000,
        '{"a":' * 100_000,
    ),
)
ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "windows-1252", "utf-8-sig", "shift-jis")
FLAGS = (
    ("--split", "train"),
    ("--split-field", "split"),
    ("--split-field", "split", "--split-map", "dev=validation,5=test", "--limit", "train=2"),
    ("--split-shares", "train=1,test=1"),
    ("--split", "ood", "--field", "split", "--min-words", "1"),
    ("--split", "ood", "--min-words", "0", "--max-words", "1000000"),
)
REPRS = re.compile(r"\b(?:None|True|False|nan|inf)\b|(?<!\w)(?:[{\[]'|b'\\x)|<class|Error\(")
"""What Python prints of values, and no sentence says."""
MARK = re.compile("(^|[\r\n])\ufeff+")
DROPPED = re.compile(r"(?:dropped: |Dropped: |, )(\d+) (?=empty|dup|shorter|longer|over|not|with)")


def imports(count: int, seed: int) -> Counter[str]:
    """How many of so many odd files came to which end; faults go to stderr as they are found."""
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            chance = random.Random(f"{seed} {number}")
            ending = chance.choice((".csv", ".tsv", ".jsonl", ".txt"))
            data = _good(chance, ending)
            for _ in range(chance.choice((0, 1, 1, 2, 3))):
                data = chance.choice(CHANGES)(chance, data)
            source = Path(folder, f"in{ending}")
            source.write_bytes(data)
            flags = chance.choice(FLAGS)
            outcome, what = _outcome(source, Path(folder, "out.jsonl"), flags)
            outcomes[outcome] += 1
            if outcome not in ("imported", "refused in words"):
                print(f"{number}: {outcome}: {flags} {data[:500]!r}\n{what}", file=sys.stderr)
    return outcomes


def _outcome(source: Path, out: Path, flags: tuple[str, ...]) -> tuple[str, str]:
    """What came of one file, and what was said."""
    out.unlink(missing_ok=True)
    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            code = main(["import", str(source), "--out", str(out), *flags])
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is counted and shown
        return "traceback", "".join(traceback.format_exception(error))[-2000:]
    message = said.getvalue()
    kept = []
    if out.exists():
        kept = [json.loads(line)["text"] for line in out.read_text("utf-8").split("\n")[:-1]]
    original = source.read_bytes().decode(errors="replace")
    for text in (*kept, message.replace(str(source), "")):
        if any(word not in original for word in REPRS.findall(text)):
            return "python repr", text
    if code == 0 or "no sentence is left" in message:
        dropped = sum(map(int, DROPPED.findall(message)))
        there = _rows(source.read_bytes(), source.suffix)
        if len(kept) + dropped != there:
            return "lost in silence", f"{len(kept)} + {dropped} of {there}\n{message}"
    return ("refused in words" if code else "imported"), message


def _rows(data: bytes, ending: str) -> int:
    """How many rows a file has, read in another way than import does."""
    lines = data.splitlines()
    if ending == ".txt":
        return len(lines)
    text = MARK.sub(r"\1", data.decode())
    if ending == ".jsonl":
        return sum(bool(MARK.sub("", line.decode()).strip()) for line in lines)
    if ending == ".tsv":
        return max(0, sum(line != "" for line in re.split("\r\n|\r|\n", text)) - 1)
    return max(0, sum(bool(row) for row in csv.reader(io.StringIO(text, newline=""))) - 1)


def _good(chance: random.Random, ending: str) -> bytes:
    """A file as it should be."""
    texts = chance.choices(SENTENCES, k=chance.randrange(1, 9))
    rows = [(text, chance.choice(SPLITS)) for text in texts]
    if ending == ".txt":
        return "".join(f"{text}\n" for text in texts).encode()
    if ending == ".jsonl":
        dumped = [json.dumps({"text": text, "split": split}) for text, split in rows]
        return "".join(f"{line}\n" for line in dumped).encode()
    if ending == ".tsv":
        return "".join(f"{text}\t{split}\n" for text, split in [("text", "split"), *rows]).encode()
    file = io.StringIO()
    csv.writer(file).writerows([("text", "split"), *rows])
    return file.getvalue().encode()


def _cut(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _without(chance: random.Random, data: bytes) -> bytes:
    start = chance.randrange(len(data) + 1)
    return data[:start] + data[start + chance.randrange(1, 12) :]


def _twice(chance: random.Random, data: bytes) -> bytes:
    start = chance.randrange(len(data) + 1)
    end = start + chance.randrange(1, 80)
    return data[:end] + data[start:end] + data[end:]


def _joined(chance: random.Random, data: bytes) -> bytes:
    """Two files in one, the second with a mark before it."""
    return data + b"\xef\xbb\xbf" + data


def _injected(chance: random.Random, data: bytes) -> bytes:
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(len(data) + 1)
        data = data[:place] + chance.choice(INJECTED).encode() + data[place:]
    return data


def _byte(chance: random.Random, data: bytes) -> bytes:
    place = chance.randrange(len(data) + 1)
    return data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :]


def _encoded(chance: random.Random, data: bytes) -> bytes:
    return data.decode(errors="replace").encode(chance.choice(ENCODINGS), errors="replace")


def _ended(chance: random.Random, data: bytes) -> bytes:
    return data.replace(b"\n", chance.choice((b"\r\n", b"\r", b"\n\n", b"\n \n", b"\r\r\n")))


def _value(chance: random.Random, data: bytes) -> bytes:
    """Another value in the place of one of JSON, or of a field's text."""
    places = list(re.finditer(rb'"[^"\n]*"(?=[,}\n])|[^,\t\n]+', data))
    if not places:
        return data
    place = chance.choice(places)
    return data[: place.start()] + chance.choice(VALUES).encode() + data[place.end() :]


def _ragged(chance: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    place = chance.randrange(len(lines))
    change = chance.choice((b",more", b"\tmore", b",", b"\t,\t"))
    lines[place] = lines[place] + change if chance.random() < 0.6 else lines[place].split(b",")[0]
    return b"\n".join(lines)


def _header(chance: random.Random, data: bytes) -> bytes:
    names = ("", "text", "text,text", "text\ttext", ",text", " ,", "text,split,", "split,text", '"')
    return chance.choice(names).encode() + b"\n" + data.partition(b"\n")[2]


def _long(chance: random.Random, data: bytes) -> bytes:
    place = chance.randrange(len(data) + 1)
    return data[:place] + chance.choice((b"x", b"a ", b'"', b",")) * 140_000 + data[place:]


CHANGES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    *(_cut, _without, _twice, _joined, _injected, _injected, _byte, _encoded, _ended),
    *(_value, _value, _value, _ragged, _header, _long),
)


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]]
    for name, number in imports(*(numbers + [2000, 0][len(numbers) :])).most_common():
        print(f"{number:6} {name}")
