"""What lies in a run's folders, against what its stages put there. For verify."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.reading.findings import Findings
from pipeline.reading.sealed_page import changed
from pipeline.runs.files import (
    BEFORE,
    CHECKPOINTS,
    KEPT,
    LOCK,
    MANIFEST,
    RECORDS,
    REPORT,
    SETTINGS,
    STARTED,
    WEIGHTS,
    as_written,
)
from pipeline.runs.hashes import file_hash, file_hashes, folder_hash, model_files
from pipeline.runs.run import Run
from pipeline.runs.settings import edited
from pipeline.runs.step import Step

LEFT = (STARTED, KEPT, CHECKPOINTS, BEFORE)
"""What an attempt has beside its rows until it is complete; also whatever ends in .partial."""


def of_run(run: Run, steps: Sequence[Step]) -> Findings:
    """What is beside a run's steps: config.json, a report, and what does not belong."""
    found = Findings("run")
    rounds: dict[str, set[str]] = {}
    for step in steps:
        folder, _, stage = str(step).rpartition("/")
        rounds.setdefault(folder or stage, set()).add(stage)
    for path in sorted(run.folder.iterdir()):
        if path.name in (SETTINGS, REPORT):
            if not _is_file(path):
                found.faults.append(f"{path}: a link, or no file")
        elif path.name not in rounds:
            found.faults.append(_stray(path))
        elif rounds[path.name] != {path.name}:
            _round(path, rounds[path.name], found)
    if not (run.folder / SETTINGS).exists():
        found.faults.append(f"{run.folder / SETTINGS}: not there")
    elif why := edited(run.folder / SETTINGS):
        found.faults.append(f"{run.folder / SETTINGS}: {why}")
    report = run.folder / REPORT
    if report.is_file() and changed(report.read_bytes()):
        found.faults.append(
            f"{report}: not as report wrote it. Make it again: humor-distill report --run "
            f"{run.name}"
        )
    return found


def _round(folder: Path, stages: set[str], found: Findings) -> None:
    """A round's folder, which holds steps alone."""
    if folder.is_symlink():
        found.faults.append(f"{folder}: a link; steps are linked one by one, and rounds are not")
        return
    for path in sorted(folder.iterdir()):
        if path.name not in stages:
            found.faults.append(_stray(path))


def of_step(folder: Path, manifest: dict[str, Any], found: Findings) -> None:
    """The files of a complete step: each as its manifest says, and no other."""
    hashes = {RECORDS: manifest["sha256"], **manifest["files"]}
    for path in sorted(folder.iterdir()):
        if path.name == LOCK:
            if not _is_file(path) or path.lstat().st_size:
                found.faults.append(f"{path}: not an empty file, which no stage fills")
        elif path.name == WEIGHTS and "weights" in manifest:
            _weights(path, manifest["weights"], found)
        elif path.name not in (MANIFEST, *hashes):
            found.faults.append(_stray(path))
    if "weights" in manifest and not os.path.lexists(folder / WEIGHTS):
        found.faults.append(f"{folder / WEIGHTS}: not there")
    for name, digest in hashes.items():
        path = folder / name
        if path.is_symlink():
            found.faults.append(f"{path}: a link; the rows of a step lie in its folder")
        elif not path.is_file():
            found.faults.append(f"{path}: not there")
        elif file_hash(path) != digest:
            found.faults.append(f"{path}: its SHA-256 is not the manifest's")


def of_manifest(path: Path, manifest: dict[str, Any]) -> str | None:
    """Why a manifest whose seal holds is not as a stage wrote it, or None."""
    if path.is_symlink():
        return f"{path}: a link; the manifest of a step lies in its folder"
    if path.read_bytes() != as_written(manifest):
        return f"{path}: it was edited after its stage wrote it (white space, or how it is spelt)"
    return None


def _weights(folder: Path, recorded: dict[str, Any], found: Findings) -> None:
    """A folder of weights: every file as it was saved, and no other."""
    for path in (folder, *sorted(folder.rglob("*"))):
        if path.is_symlink():
            found.faults.append(f"{path}: a link; weights lie in their step's folder")
            return
        empty = path.is_dir() and not any(path.iterdir())
        if empty or not (path.is_dir() or path.is_file()):
            found.faults.append(_stray(path))
    if folder_hash(folder) != recorded.get("sha256"):
        found.faults.append(f"{folder}: the weights' SHA-256 is not the manifest's")
    covered = {path.relative_to(folder).as_posix() for path in model_files(folder)}
    files = recorded.get("files")
    for name, digest in file_hashes(folder).items():
        if name in covered and files is None:
            continue
        if files is None:
            found.notes.append(f"{folder / name}: no hash of it is in manifests of that version")
        elif name not in files:
            found.faults.append(_stray(folder / name))
        elif files[name] != digest:
            found.faults.append(f"{folder / name}: its SHA-256 is not the manifest's")
    for name in files or ():
        if not (folder / name).is_file():
            found.faults.append(f"{folder / name}: not there")


def _is_file(path: Path) -> bool:
    """Whether it is a file, and no link to one."""
    return stat.S_ISREG(path.lstat().st_mode)


def _stray(path: Path) -> str:
    """What is said of something that no stage wrote, or that one has left."""
    if path.name in LEFT or path.name.endswith(".partial"):
        return f"{path}: left by an attempt that was killed. Nothing reads it any more: remove it"
    return f"{path}: no stage wrote it. Remove it, or keep it elsewhere"
