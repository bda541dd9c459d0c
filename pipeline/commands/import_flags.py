"""The flags of import."""

import argparse
from pathlib import Path

from pipeline.vocabulary import SHARES, SPLITS


def add(command: argparse.ArgumentParser) -> None:
    """What a file's columns, splits and rows become."""
    command.add_argument(
        "source", help="a .jsonl, .csv, .tsv or .txt file, or a data set's folder or Hub id"
    )
    command.add_argument(
        "--out", type=Path, required=True, help="the JSONL file to write; name it in literals.files"
    )
    command.add_argument(
        "--field", default="text", help="the column that holds the sentence (default: text)"
    )
    _splits(command)
    _limits(command)
    command.add_argument(
        "--source-name", help="what to record as the rows' source (default: the file's name)"
    )
    command.add_argument(
        "--licence",
        default="unknown",
        help="what to record as the rows' licence (default: unknown)",
    )


def _splits(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--split-field", help="the column that names each row's split; see --split-map"
    )
    command.add_argument("--split", choices=SPLITS, help="put every row into this split")
    command.add_argument(
        "--split-shares",
        default="",
        metavar="SPLIT=SHARE,...",
        help=f"deal rows out by their content, e.g. {SHARES}: rows that are added at the end move "
        "none, and near-duplicates go together",
    )
    command.add_argument(
        "--split-map",
        default="",
        metavar="THEIRS=OURS,...",
        help="what their split names mean, e.g. valid=validation",
    )
    command.add_argument(
        "--hub-config",
        metavar="NAME",
        help="which configuration of a data set to read, where it has several",
    )
    command.add_argument(
        "--hub-split", metavar="NAME", help="which split of a data set to read (default: train)"
    )


def _limits(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--limit",
        default="",
        metavar="SPLIT=N,...",
        help="keep at most N rows of a split, e.g. train=2000,test=500",
    )
    command.add_argument(
        "--min-words", type=int, default=3, help="shorter sentences are dropped (default: 3)"
    )
    command.add_argument(
        "--max-words", type=int, default=40, help="longer sentences are dropped (default: 40)"
    )
