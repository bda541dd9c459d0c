"""Text files that people wrote: UTF-8, with or without the mark that some editors put first."""

import codecs
import shlex
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import DataError, HumorDistillError

MARK = codecs.BOM_UTF8
SAMPLE = 2**20
"""Bytes at a file's start by which an encoding is guessed."""
OTHER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # it begins as that of UTF-16 does
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def text(path: Path, kind: type[HumorDistillError] = DataError) -> str:
    """A whole file, its lines ended by a newline each; what `lines` says of errors."""
    whole = "".join(lines(path, kind))
    return whole.replace("\r\n", "\n").replace("\r", "\n")


def lines(path: Path, kind: type[HumorDistillError] = DataError) -> Iterator[str]:
    """The lines of a file with what ends them: a newline, a carriage return, or both.

    An error of this kind, with file:line, where one is not UTF-8.
    """
    number = 0
    with path.open("rb") as file:
        for part in file:
            for line in part.splitlines(keepends=True):
                number += 1
                yield decoded(line, path, number, kind)


def decoded(line: bytes, path: Path, number: int, kind: type[HumorDistillError] = DataError) -> str:
    """One line without a mark before it: files that were joined have one inside as well."""
    try:
        string = line.decode().lstrip("\ufeff")
    except UnicodeDecodeError as error:
        what = f"not UTF-8 (byte 0x{error.object[error.start]:02x})"
    else:
        if "\0" not in string:
            return string
        what = "a NUL byte, which text has none of"
    raise kind(f"{path}:{number}: {what}. {_advice(path, line)}")


def _advice(path: Path, line: bytes) -> str:
    """How to come to a file that can be read, in which this line cannot."""
    with path.open("rb") as file:
        name = _guess(file.read(SAMPLE) + line)
    if name is None:
        return "Mend that line, or save the file anew as UTF-8."
    other = path.with_name(f"{path.stem}.utf-8{path.suffix}")
    command = f"iconv -f {name} -t UTF-8 {shlex.quote(str(path))} > {shlex.quote(str(other))}"
    return f"It looks like {name}. Convert it, and take the new file in its place: {command}"


def _guess(data: bytes) -> str | None:
    """The encoding as iconv calls it; None where the bytes are damaged rather than of another."""
    for mark, name in OTHER_MARKS.items():
        if data.startswith(mark):
            return name
    if b"\0" in data:  # every other byte of Latin letters in UTF-16
        if data[1::2].count(0) > len(data) / 4:
            return "UTF-16LE"
        if data[0::2].count(0) > len(data) / 4:
            return "UTF-16BE"
        return None
    string = data.decode(errors="replace")
    wrong = string.count("\ufffd")
    right = sum(letter > "\x7f" for letter in string) - wrong
    if right > wrong:
        return None
    try:
        data.decode("windows-1252")
    except UnicodeDecodeError:
        return None
    return "WINDOWS-1252"
