"""How config.json differs from what a step was made with: a configuration moves on. For verify."""

from typing import Any

from pipeline.config.file import section_of
from pipeline.config.rounds import Round
from pipeline.config.whole import Config
from pipeline.execution.recipe import recorded
from pipeline.runs.manifest import Recipe
from pipeline.runs.recipes import difference, with_batch, without_hashes
from pipeline.runs.step import Step


def moved(config: Config, step: Step, recipe: Recipe, linked: bool) -> list[str]:
    """Lines `- key = made with` and `+ key = now` for what the recipe has of the configuration.

    A step that is linked from another run keeps its seed.
    """
    whole = config.model_dump(mode="json")
    had = {"version": recipe.get("version")}
    now: Recipe = {"version": recipe.get("version")}
    if not linked:
        had["seed"] = recipe["seed"]
        now["seed"] = config.seed
    for name, made in recipe.items():
        field = Config.model_fields.get(name)
        section = section_of(field.annotation) if field else None
        if section is not None and isinstance(made, dict):
            had[name] = without_hashes(made)
            if name == "literals":
                had[name] = {key: value for key, value in made.items() if key != "files"}
            values = whole[name]
            now[name] = None if values is None else _of(name, recorded(values, section))
    if "round" in recipe and step.round and step.round <= len(config.rounds):
        values = recorded(whole["rounds"][step.round - 1], Round)
        had["round"] = recipe["round"]
        now["round"] = {key: values.get(key) for key in recipe["round"]}
    if "version" not in recipe:
        del had["version"], now["version"]
    if "batch" in recipe:
        had["batch"] = recipe["batch"]
    return difference(with_batch(had), with_batch(now, config.runtime.processes))


def _of(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """A section as it is now, without what a recipe has the hashes of in place of the names."""
    if name == "literals":
        return {"limit": values["limit"]}
    if name in ("agreement", "reward_model"):
        return {**values, "labels": values["labels"].rpartition("/")[2]}
    return values
