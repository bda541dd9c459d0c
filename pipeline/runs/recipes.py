"""Two recipes: whether they give the same rows and weights, and how they differ."""

import difflib
import math
from collections.abc import Iterator
from typing import Any

from pydantic_core import to_jsonable_python

from pipeline.config.file import section_of
from pipeline.config.objectives import OBJECTIVES
from pipeline.config.rounds import Round
from pipeline.config.section import Section
from pipeline.config.whole import Config
from pipeline.runs.manifest import Recipe

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
recorded now. The functions are those of the dpo stage's versions 1 and 2."""
WITH_ITS_TABLE = "05bff5f06382ead0"
"""`weighted` until 0.8.0, in whose hash was the table of all losses: what it does is the same."""

FORMERLY_LEFT_OUT = frozenset(
    "price api_key_env extra_headers replicas mode requests_per_minute tokens_per_minute".split()
)
"""Names that recipes of 0.1.0 lack at any depth, in extra_body and in trainers' tables as well."""

BEST_OF = ("sample", "critic")
"""Sections of evaluate's that count where there is best-of-N alone; until evaluate 5 every recipe
of it had them."""


BATCH = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1}
"""Keys of trainers whose product is a step's batch, and transformers' defaults."""


def with_batch(recipe: Recipe, processes: int = 1) -> Recipe:
    """A recipe whose trainers' tables have no batch: the one that counts is its `batch`.

    That is the rows of one optimizer step: per_device_train_batch_size x
    gradient_accumulation_steps x processes, so that the same training on more GPUs is the same.
    """
    of_round = recipe.get("round", {})
    if "objective" in of_round and of_round["objective"] in OBJECTIVES:
        section = OBJECTIVES[of_round["objective"]].trainer
    elif "sft" in recipe:
        section = "sft"
    else:
        return recipe
    tables = {name: recipe[name] for name in TRAINERS if "trainer" in (recipe.get(name) or {})}
    keys: dict[str, Any] = {}
    for name in (section, "round"):
        keys |= tables.get(name, {}).get("trainer", {})
    factors = [keys.get(key, default) for key, default in BATCH.items()]
    if not all(isinstance(factor, int) for factor in factors):  # which its trainer will refuse
        return recipe
    whole = {"batch": processes * math.prod(factors), **recipe}
    for name, table in tables.items():
        rest = {key: value for key, value in table["trainer"].items() if key not in BATCH}
        whole[name] = {**table, "trainer": rest}
    return whole


TRAINERS = ("sft", "dpo", "gkd", "llmr", "round")
"""Sections of recipes with trainers' tables that can train under a launcher."""


def same(had: Recipe, wanted: Recipe) -> bool:
    """Whether two recipes ask for the same rows and weights, of whatever version of the stage."""
    left = _as_now(had, wanted)
    right = _as_now(wanted, had)
    return {**left, "version": None} == {**right, "version": None}


def without_hashes(made: Any) -> Any:
    """A section of a recipe without the hashes that stand beside the names of files and models."""
    if isinstance(made, list):
        return [without_hashes(part) for part in made]
    if not isinstance(made, dict):
        return made
    kept = {key: value for key, value in made.items() if not key.endswith("sha256")}
    return {key: without_hashes(value) for key, value in kept.items()}


def same_but_seed(had: Recipe, wanted: Recipe) -> bool:
    return same({**had, "seed": None}, {**wanted, "seed": None})


def version_of(recipe: Recipe) -> int:
    """The stage's VERSION that made the rows; recipes that do not say are of the first."""
    return int(recipe.get("version", 1))


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


def words(had: dict[str, str], wanted: dict[str, str]) -> Iterator[str]:
    """Lines `- prompts.name: words` and `+ prompts.name: words` where texts of prompts differ.

    Where each side has one that the other lacks, one is in the other's place. What only one side
    reads is not shown: a key of the configuration says so.
    """
    pairs = [(name, name) for name in sorted(had.keys() & wanted.keys())]
    gone = had.keys() - wanted.keys()
    new = wanted.keys() - had.keys()
    if len(gone) == len(new) == 1:
        pairs += zip(gone, new, strict=True)
    for before, after in pairs:
        lines = difflib.unified_diff(
            had[before].splitlines(), wanted[after].splitlines(), lineterm="", n=0
        )
        for line in list(lines)[2:]:
            if line[0] in "+-":
                name = before if line[0] == "-" else after
                yield f"  {line[0]} prompts.{name}: {line[1:] or '(an empty line)'}"


def _as_now(recipe: Recipe, other: Recipe) -> Recipe:
    """A recipe of an earlier version as this one would have written it, to compare with another.

    A key or a section that it lacks, as it is newer than the recipe, is at its default.
    """
    if "inputs" in recipe:  # else it is a configuration
        recipe = with_batch(recipe)
    now = {"version": version_of(recipe), **recipe}
    for name, values in recipe.items():
        section = _section(name)
        if section is not None and isinstance(values, dict):
            now[name] = _with_defaults(values, section)
    if "judge" in recipe and "judge" in other:
        now = {key: value for key, value in now.items() if key in other or key not in BEST_OF}
    if "prompts" in other:
        now["prompts"] = _in_both(recipe.get("prompts", {}), other["prompts"])
    for name in other:
        field = Config.model_fields.get(name)
        if "judge" in other and name in BEST_OF:
            continue
        if name not in recipe and field is not None and not field.is_required():
            now[name] = to_jsonable_python(field.get_default(call_default_factory=True))
    if "code" not in other or version_of(recipe) != version_of(other):
        now.pop("code", None)  # older recipes have none; of another version, that says it
    if "version" not in recipe or "version" not in other:
        now = _without(now, FORMERLY_LEFT_OUT)
    named = other.get("losses")
    if isinstance(named, dict) and "losses" in recipe:
        now["losses"] = _losses_as_now(recipe, other)
    if "round" in recipe and "critic" in other and "critic" not in recipe:
        now |= _stopped_as_now(recipe, other)
    return now


def _in_both(prompts: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """Prompts that both recipes read: that one reads another is said by a key that names it."""
    return {name: digest for name, digest in prompts.items() if name in others}


def _stopped_as_now(recipe: Recipe, other: Recipe) -> Recipe:
    """What a round without a reference lacks that was learned when none was stopped by a rate.

    Where the other recipe is of a later version of the stage, which says so.
    """
    if version_of(recipe) >= version_of(other):
        return {}
    lacking: Recipe = {}
    for name in ("critic", "evaluate"):
        section = _section(name)
        if section is not None and name in other:
            lacking[name] = _with_defaults(other[name], section)
    lacking["inputs"] = {**other.get("inputs", {}), **recipe.get("inputs", {})}
    return lacking


def _losses_as_now(recipe: Recipe, other: Recipe) -> Any:
    """What a recipe says of its losses, as another one would have said it.

    Where the other is of a later version of the stage, losses that were ours count as they are now:
    the version says that they changed.
    """
    losses = recipe["losses"]
    named = other["losses"]
    if isinstance(losses, dict) and losses.get("weighted") == WITH_ITS_TABLE:
        losses = {**losses, "weighted": named.get("weighted")}
    if isinstance(losses, str):
        if losses not in FORMER_LOSSES:
            return losses
        then = FORMER_LOSSES[losses]
        losses = {name: then.get(name) for name in named}
    if version_of(recipe) >= version_of(other):
        return losses
    ours = {name: digest for file in FORMER_LOSSES.values() for name, digest in file.items()}
    as_now = dict(losses)
    for name, digest in named.items():
        if losses.get(name) == ours.get(name):
            as_now[name] = digest
    return as_now


def _section(name: str) -> type[Section] | None:
    """The shape of a recipe's table; None for what is no section, as prompts and inputs."""
    if name == "round":
        return Round
    field = Config.model_fields.get(name)
    return None if field is None else section_of(field.annotation)


def _with_defaults(values: dict[str, Any], section: type[Section]) -> dict[str, Any]:
    """A section's values with those of the keys that it lacks."""
    whole = dict(values)
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        if name in values:
            if inner is not None and isinstance(values[name], dict):
                whole[name] = _with_defaults(values[name], inner)
            elif inner is not None and isinstance(values[name], list):
                whole[name] = [_with_defaults(one, inner) for one in values[name]]
        elif not field.is_required():
            default = field.get_default(call_default_factory=True)
            whole[name] = to_jsonable_python(default)
    return whole


def _without(values: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """Nested tables without the keys of these names."""
    kept = {}
    for name, value in values.items():
        if name not in names:
            kept[name] = _without(value, names) if isinstance(value, dict) else value
    return kept


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths and values; an empty table is a value. Tables in a list have its places."""
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        value = {str(place): one for place, one in enumerate(value)}
    if not isinstance(value, dict) or not value:
        yield path, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, f"{path}.{key}" if path else key)
