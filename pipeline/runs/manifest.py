"""A step's manifest: its shape, its seal, the versions that made it."""

import hashlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline import __version__, project

Manifest = dict[str, Any]
Recipe = dict[str, Any]

MANIFEST_SCHEMA = "manifest/2"
MANIFEST_KEYS = frozenset(
    "schema run step recipe rows sha256 files dropped spent started finished seconds made_with "
    "prompts seal".split()
)
PACKAGES = (
    "torch transformers trl peft datasets bitsandbytes openai pydantic jinja2 "
    "sentence-transformers faiss-cpu"
).split()
"""Whose versions are recorded."""


def misshapen(manifest: Any) -> str | None:
    """Why this is no manifest of our version, or None."""
    if not isinstance(manifest, dict):
        return "not a manifest"
    schema = manifest.get("schema")
    if schema != MANIFEST_SCHEMA:
        return f"schema is {schema!r}, expected {MANIFEST_SCHEMA!r}: another version wrote it"
    if missing := MANIFEST_KEYS - manifest.keys():
        return f"without {', '.join(sorted(missing))}"
    tables = {
        key: manifest[key]
        for key in ("recipe", "files", "dropped", "spent", "made_with", "prompts")
    }
    tables["weights"] = manifest.get("weights", {})
    if isinstance(manifest["recipe"], dict):
        for key in ("inputs", "prompts"):
            tables[f"recipe.{key}"] = manifest["recipe"].get(key)
    wrong = sorted(key for key, value in tables.items() if not isinstance(value, dict))
    return f"{', '.join(wrong)}: not a table" if wrong else None


def seal(manifest: Manifest) -> str:
    """SHA-256 of everything in a manifest but the seal itself."""
    rest = {key: value for key, value in manifest.items() if key != "seal"}
    return hashlib.sha256(json.dumps(rest, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def complaint(manifest: Any) -> str | None:
    """What is wrong with a manifest in itself, or None."""
    if wrong := misshapen(manifest):
        return wrong
    if manifest["seal"] != seal(manifest):
        return "it was edited after its stage wrote it (the seal differs)"
    return None


def stale(manifest: Manifest, others: Iterable[Manifest]) -> list[str]:
    """The inputs of a step whose rows or weights no step of the run has now.

    They were made again, or are gone.
    """
    rows = set()
    weights = set()
    for other in others:
        rows.add(other["sha256"])
        if "weights" in other:
            weights.add(other["weights"]["sha256"])
    old = []
    for name, read in manifest["recipe"]["inputs"].items():
        if read["records"] not in rows or ("weights" in read and read["weights"] not in weights):
            old.append(name)
    return old


def outdated(manifests: dict[str, Manifest]) -> list[str]:
    """Plain words where a step read what another has made again since."""
    lines = []
    for name, manifest in manifests.items():
        if old := stale(manifest, manifests.values()):
            lines.append(
                f"{name} read other rows or weights of {', '.join(old)} than there are now."
            )
    return lines


def failures(manifest: Manifest) -> str:
    """How much of a step's judging failed, and why; empty where nothing did."""
    judging = manifest.get("judging")
    if not judging or not judging["failed"]:
        return ""
    reasons = ", ".join(f"{count} {reason}" for reason, count in judging["reasons"].items())
    return f"{judging['failed']} of {judging['verdicts']} verdicts failed: {reasons}"


def made_with() -> dict[str, Any]:
    """Versions and git state; recorded, never compared."""
    versions = {"humor-distill": __version__}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "packages": versions,
        "git": _git(),
    }


def _processor() -> str:
    """The model: rounding differs from one to another, and training can carry that far."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _git() -> dict[str, Any] | None:
    """The commit of a clone's program, and whether anything in it was changed."""
    if project.PACKAGE.parent != project.BUNDLED:
        return None
    try:
        status = subprocess.run(
            ["git", "status", "--porcelain=v2", "--branch"],
            cwd=project.PACKAGE,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    lines = status.stdout.splitlines()
    commits = [line.split()[2] for line in lines if line.startswith("# branch.oid ")]
    if not commits or commits == ["(initial)"]:
        return None
    changed = any(not line.startswith("#") for line in lines)
    return {"commit": commits[0], "changed": changed}
