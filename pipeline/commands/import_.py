"""import: a user's own sentences as literal/1 rows, each in a split."""

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline import project
from pipeline.errors import ConfigError, DataError
from pipeline.progress import Progress
from pipeline.reading import columns, sentences
from pipeline.reading.sentences import Sentence
from pipeline.reading.shares import Shares
from pipeline.rows import jsonl
from pipeline.rows.records import LiteralText
from pipeline.rows.row import make, writable
from pipeline.similarity import fold
from pipeline.vocabulary import SHARES, SPLITS

UNLIMITED = 10**12
"""Rows of a split without a --limit."""
DEALT = ("train", "validation", "test")
"""What a list can be dealt out to."""


def run(args: argparse.Namespace) -> None:
    """Write the literals and say what was kept and dropped."""
    if [bool(args.split), bool(args.split_field), bool(args.split_shares)].count(True) != 1:
        raise ConfigError(
            f"import: say where rows go, in one way: --split-shares {SHARES} (a plain list), "
            "--split-field COLUMN (a column says it), or --split train (all of them)."
        )
    limits = _limits(args.limit)
    _check_out(args.out, Path(args.source))
    rows = sentences.rows(args.source, args.hub_config, args.hub_split)
    split_map = _mapping(args.split_map, "--split-map")
    shares = _shares(args.split_shares) if args.split_shares else None
    dropped: Counter[str] = Counter()
    if shares:
        rows = _counted(list(rows))
    kept = list(literals(rows, args, split_map, shares, limits, dropped))
    if not kept:
        raise DataError(
            f"{args.source}: no sentence is left. Dropped: {_listed(dropped)}"
            f"{'' if dropped else 'nothing; the source is empty'}."
        )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    jsonl.write(args.out, kept)
    _tell(args, kept, shares, dropped)


def _check_out(out: Path, source: Path) -> None:
    """ConfigError where --out would write over anything but imported sentences."""
    if out.is_dir():
        raise ConfigError(f"import: --out {out} is a folder; name a file in it.")
    if not writable(str(out)):
        raise ConfigError(f"import: --out {out!a}: a name that no configuration can hold.")
    for folder in out.parents:
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"import: --out {out}: {folder} is a file, and no folder.")
    if not out.exists():
        return
    if not out.is_file():
        raise ConfigError(f"import: --out {out} is neither a file nor new; name another.")
    why = "is the source itself"
    if out.resolve() != source.resolve():
        try:
            next(jsonl.read(out, LiteralText), None)
            return
        except DataError:
            why = "holds something else than imported sentences"
    raise ConfigError(
        f"import: --out {out} {why}, and is not written over. Name another file, such as "
        "data/literals/mine.jsonl."
    )


def _tell(
    args: argparse.Namespace, kept: list[LiteralText], shares: Shares | None, dropped: Counter[str]
) -> None:
    """Say what was written, what was left out, and what comes next."""
    counts: Counter[str] = Counter(row.split for row in kept)
    written = ", ".join(f"{counts[split]} {split}" for split in SPLITS if counts[split])
    print(f"{args.out}: {written}")
    if shares is not None:
        if shares.followed:
            print(
                f"  {shares.followed} went where an earlier sentence went that they nearly repeat"
            )
        for split in shares.empty():
            print(f"  no sentence went to {split}: there are few, or all nearly repeat others")
    for reason, count in sorted(dropped.items()):
        print(f"  dropped: {count} {reason}")
    print(f"In a configuration: [literals] files = [{json.dumps(_in_project(args.out))}]")


def _in_project(path: Path) -> str:
    """The path as a configuration names it: relative to the project, where it is in one."""
    whole = path.resolve()
    try:
        return str(whole.relative_to(project.folder()))
    except (ConfigError, ValueError):
        return str(whole)


def _listed(dropped: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()))


def _counted(rows: list[Sentence]) -> Iterator[Sentence]:
    """The rows, shown as they go: to look for near-duplicates takes a while among many."""
    with Progress("import", len(rows)) as progress:
        for row in rows:
            yield row
            progress.advance()


def literals(
    rows: Iterable[Sentence],
    args: argparse.Namespace,
    split_map: dict[str, str],
    shares: Shares | None,
    limits: dict[str, int],
    dropped: Counter[str],
) -> Iterator[LiteralText]:
    """literal/1 rows of (where, columns) pairs.

    `shares` deal them out, if given. What is left out is counted in `dropped`, by reason.
    """
    seen: set[str] = set()
    counts: Counter[str] = Counter()
    source = _whole(args.source_name or Path(args.source).name)
    licence = _whole(args.licence)
    for where, row in rows:
        text = columns.sentence(row, args.field, where)
        split = args.split or ""
        if args.split_field:
            split = columns.split(row, args.split_field, split_map, where)
        words = len(text.split())
        folded = fold(text)
        if not text:
            dropped["empty"] += 1
        elif not writable(text):
            dropped["not Unicode text"] += 1
        elif "\0" in text:
            dropped["with a NUL character"] += 1
        elif words < args.min_words:
            dropped[f"shorter than {args.min_words} words"] += 1
        elif words > args.max_words:
            dropped[f"longer than {args.max_words} words"] += 1
        elif folded in seen:
            dropped["duplicate"] += 1
        else:
            seen.add(folded)
            if shares:
                split = shares.split(text)
            if counts[split] >= limits.get(split, UNLIMITED):
                dropped[f"over the limit of {limits[split]} {split}"] += 1
                continue
            counts[split] += 1
            yield make(LiteralText, text=text, split=split, source=source, licence=licence)


def _limits(text: str) -> dict[str, int]:
    counts = _mapping(text, "--limit")
    if any(split not in SPLITS or not count.isdecimal() for split, count in counts.items()):
        raise ConfigError(
            f"import: --limit {text}: write SPLIT=NUMBER; splits are {', '.join(SPLITS)}."
        )
    return {split: int(count) for split, count in counts.items()}


def _shares(text: str) -> Shares:
    """The shares of --split-shares; ConfigError where they are none."""
    wrong = ConfigError(
        f"import: --split-shares {text}: write SPLIT=SHARE with shares above 0, for example "
        f"{SHARES}; splits are {', '.join(DEALT)} (ood is other people's sentences, no share of "
        "these)."
    )
    shares = {}
    for split, share in _mapping(text, "--split-shares").items():
        try:
            shares[split] = float(share)
        except ValueError:
            raise wrong from None
        if split not in DEALT or not shares[split] > 0:
            raise wrong
    if not shares or not math.isfinite(sum(shares.values())):
        raise wrong
    return Shares(shares)


def _whole(text: str) -> str:
    """A name with a mark for each byte that is not UTF-8, as a file's name may hold."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _mapping(text: str, flag: str) -> dict[str, str]:
    mapping = {}
    for part in text.split(","):
        if not part:
            continue
        name, _, value = part.partition("=")
        if not value:
            raise ConfigError(f"import: {flag} {text}: write NAME=VALUE, separated by commas.")
        if name.strip() in mapping:
            raise ConfigError(f"import: {flag} {text}: {name.strip()} is there twice.")
        mapping[name.strip()] = value.strip()
    return mapping
