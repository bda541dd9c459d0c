"""A step's manifest: its shape, its seal, the versions that made it, and how two recipes differ."""

import hashlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterable, Iterator
from typing import Any

from pipeline import ROOT

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
FORMER_LOSSES: dict[str, dict[str, str]] = {
    "4ad945e956985ea6a7e78e4aa039946a20172f27122b1ed34a3ceaa55b0bbaac": {
        "sigmoid": "518407081924ffae",
        "sft": "838a3740a5413217",
        "dpop": "892eccfdc1b463da",
        "rao_kupper": "a0f491c9b2aa2acc",
        "brio": "9f723457f45271fc",
    },
    "0a8811b7fbdf1853a9f1d8cec0b15d0ac4276301fde57c8e14ddac0658a84aff": {
        "action_values": "b5c092b28a541a80",
        "state_values": "caaaf194f241a754",
        "rewards": "57cdbf76ae3fe8e8",
        "returns": "9d8734f59cd11133",
        "advantages": "fd8562fc6c448ceb",
        "policy_gradient": "4ada6a0ef12ce124",
        "entropy": "89cff7b06cebf280",
    },
    "c52f569d6a903570428e8a87d3b7ece6067d45e92dabe8c721dfd85521ca04a6": {
        "mean_total_variation": "ba86cd95959c85e3",
    },
    "8837852991379c06ce4fc2d1c8f840cee873d2a90a1c84d5b407ab01095f5c9f": {
        "both": "c9da5fdb42b90b5e",
    },
}
"""Earlier versions recorded the SHA-256 of a file of losses: what its functions did, as it is
recorded now."""


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


def same(had: Recipe, wanted: Recipe) -> bool:
    """Whether two recipes give the same rows and weights."""
    return _as_now(had, wanted) == _as_now(wanted, had)


def same_but_seed(had: Recipe, wanted: Recipe) -> bool:
    return same({**had, "seed": None}, {**wanted, "seed": None})


def difference(had: Recipe, wanted: Recipe) -> list[str]:
    """Lines `- key = had` and `+ key = wanted` for every leaf that differs."""
    left = dict(_leaves(_as_now(had, wanted)))
    right = dict(_leaves(_as_now(wanted, had)))
    lines = []
    for key in sorted({*left, *right}):
        if key in left and key in right and left[key] == right[key]:
            continue
        if key in left:
            lines.append(f"  - {key} = {left[key]!r}")
        if key in right:
            lines.append(f"  + {key} = {right[key]!r}")
    return lines


def _as_now(recipe: Recipe, other: Recipe) -> Recipe:
    """A recipe of an earlier version as this one would have written it, for another's losses."""
    losses = recipe.get("losses")
    named = other.get("losses")
    if not isinstance(losses, str) or not isinstance(named, dict) or losses not in FORMER_LOSSES:
        return recipe
    then = FORMER_LOSSES[losses]
    return {**recipe, "losses": {name: then.get(name) for name in named}}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths and values; an empty table is a value."""
    if not isinstance(value, dict) or not value:
        yield path, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, f"{path}.{key}" if path else key)


def made_with() -> dict[str, Any]:
    """Versions and git state; recorded, never compared."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "git": _git(),
    }


def _git() -> dict[str, Any] | None:
    """The commit of the project's folder, and whether anything in it was changed."""
    options: dict[str, Any] = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": 10}
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], **options)
        status = subprocess.run(["git", "status", "--porcelain"], **options)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    if commit.returncode != 0:
        return None
    return {"commit": commit.stdout.strip(), "changed": bool(status.stdout.strip())}
