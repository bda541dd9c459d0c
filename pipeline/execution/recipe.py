"""What makes a stage's rows what they are.

It is a plain dictionary that two runs can compare line by line.
"""

from typing import Any

from pipeline import project, prompts
from pipeline.config.endpoint import LOCAL
from pipeline.config.file import section_of
from pipeline.config.rounds import Round
from pipeline.config.section import Section
from pipeline.config.whole import Config
from pipeline.errors import DataError
from pipeline.execution.stage import Decides, OfRound, OwnLosses, Serves, stage_of
from pipeline.execution.syntax import folder_hash as folder_syntax_hash
from pipeline.execution.syntax import syntax_hash
from pipeline.runs.files import INDEX
from pipeline.runs.hashes import file_hash, folder_hash, local_folder, student_folder
from pipeline.runs.literals import literal_files
from pipeline.runs.manifest import Recipe
from pipeline.runs.recipes import with_batch
from pipeline.runs.run import Run
from pipeline.runs.step import Step

RUNTIME_TRAINER_KEYS = frozenset(
    "output_dir run_name report_to project trackio_space_id logging_dir logging_steps "
    "logging_strategy logging_first_step log_level disable_tqdm save_steps save_strategy "
    "save_total_limit push_to_hub hub_model_id hub_private_repo dataloader_num_workers "
    "dataloader_pin_memory dataset_num_proc dataloader_persistent_workers "
    "dataloader_prefetch_factor".split()
)
"""Keys of a trainer's table that change no weight, and so are not part of a recipe."""


def make(run: Run, step: Step, config: Config, inputs: dict[str, Step]) -> Recipe:
    """A step's recipe: its sections of the configuration, prompts, inputs and model identities."""
    stage = stage_of(step)
    whole = config.model_dump(mode="json")
    recipe: Recipe = {"seed": config.seed, "version": stage.VERSION}
    for name in stage.sections(config, step.round):
        section = section_of(Config.model_fields[name].annotation)
        recipe[name] = recorded(whole[name], section)
    if isinstance(stage, OfRound):
        settings = recorded(whole["rounds"][(step.round or 1) - 1], Round)
        recipe["round"] = {key: settings[key] for key in stage.ROUND_KEYS}
    if isinstance(stage, OwnLosses):
        losses = stage.losses(config, step.round)
        if losses:
            path = project.PACKAGE / losses.file
            recipe["losses"] = {name: syntax_hash(path, name) for name in losses.functions}
    if isinstance(stage, Serves) and stage.serves(config, step.round):
        server = whole["runtime"]["server"]
        recipe["served"] = {key: server[key] for key in ("extra_body", "omit") if server[key]}
    recipe = with_batch(recipe, config.runtime.processes)
    recipe["code"] = code_of(step, config)
    _identify(recipe, config, step)
    recipe["prompts"] = {name: prompts.digest(name) for name in stage.prompts(config, step.round)}
    recipe["inputs"] = {name: _input(run, read) for name, read in inputs.items()}
    return recipe


def code_of(step: Step, config: Config) -> dict[str, str | None]:
    """Our own rules by which a step's rows follow from what it reads: `file:function` and hash."""
    stage = stage_of(step)
    hashes: dict[str, str | None] = {}
    if isinstance(stage, Decides):
        for code in stage.decides(config, step.round):
            names = [f"{code.file}:{name}" for name in code.functions] or [code.file]
            for name in names:
                hashes[name] = rule_hash(name)
    return hashes


def rule_hash(name: str) -> str | None:
    """What a rule of ours does now, by its name in a recipe; None where there is no such rule."""
    file, _, function = name.partition(":")
    path = project.PACKAGE / file
    if not function:
        return folder_syntax_hash(path)
    return syntax_hash(path, function) if path.is_file() else None


def prompt_texts(step: Step, config: Config) -> dict[str, str]:
    """The words of the prompts that decide a step's rows or weights."""
    return {name: prompts.text(name) for name in stage_of(step).prompts(config, step.round)}


def _identify(recipe: Recipe, config: Config, step: Step) -> None:
    """Put hashes of the files that sections name beside their names.

    The files may change and the names stay.
    """
    if "literals" in recipe:
        files = [f"{path.name} {file_hash(path)}" for path in literal_files(config)]
        recipe["literals"] = {"limit": config.literals.limit, "files": files}
    known = recipe.get("guards", {}).get("known_jokes")
    if known:
        if not project.path(known).is_file():
            raise DataError(f"{project.path(known)}: no such file (guards.known_jokes).")
        path = project.path(known)
        recipe["guards"] |= {"known_jokes": path.name, "sha256": file_hash(path)}
    for name in ("agreement", "reward_model"):
        if name not in recipe:
            continue
        labels = project.path(recipe[name]["labels"])
        if not labels.is_file():
            raise DataError(
                f"{labels}: no such file ({name}.labels). Each of its lines is a pair that "
                "people judged."
            )
        recipe[name] |= {"labels": labels.name, "sha256": file_hash(labels)}
    if "reward_model" in recipe:
        settings = recipe["reward_model"]
        settings["backbone_sha256"] = folder_hash(local_folder(settings["backbone"]))
    if "student" in recipe:
        recipe["student"]["sha256"] = folder_hash(student_folder(config))
    for name in ("llmr", "gkd"):
        if name in recipe:
            recipe[name]["sha256"] = folder_hash(local_folder(recipe[name]["teacher"]))
    if "retriever" in recipe:
        hashes = {}
        for key in ("model", "scorer"):
            if recipe["retriever"][key]:
                hashes[key] = folder_hash(local_folder(recipe["retriever"][key]))
        recipe["retriever"]["sha256"] = hashes
    if step.stage != "evaluate" and "evaluate" in recipe:
        for key in (
            "sampled",
            "encoder",
            "encoder_revision",
        ):  # a round's held-out answers have none
            del recipe["evaluate"][key]
    if recipe.get("evaluate", {}).get("encoder"):
        folder = local_folder(recipe["evaluate"]["encoder"])
        recipe["evaluate"]["encoder_sha256"] = folder_hash(folder)
    judge = recipe.get("judge", {})
    for section in (recipe.get("critic", {}), judge, *judge.get("panel", [])):
        endpoint = section.get("endpoint") or {}
        if endpoint.get("base_url") == LOCAL:
            endpoint["sha256"] = folder_hash(local_folder(endpoint["model"]))


def _input(run: Run, step: Step) -> dict[str, str]:
    """What a step that is read has given: the hashes of its rows, and of any weights and index."""
    manifest = run.manifest(step) or {}
    identity = {"records": manifest["sha256"]}
    if "weights" in manifest:
        identity["weights"] = manifest["weights"]["sha256"]
    if INDEX in manifest.get("files", {}):
        identity["index"] = manifest["files"][INDEX]
    return identity


def recorded(values: dict[str, Any], section: type[Section]) -> dict[str, Any]:
    """A section's values without those that change neither an answer nor a weight."""
    kept: dict[str, Any] = {}
    for name, value in values.items():
        inner = section_of(section.model_fields[name].annotation)
        if name in section.in_no_recipe:
            continue
        if name == "trainer":
            kept[name] = _trainer(value)
        elif inner is not None and isinstance(value, dict):
            kept[name] = recorded(value, inner)
        elif inner is not None and isinstance(value, list):
            kept[name] = [recorded(one, inner) for one in value]
        else:
            kept[name] = value
    return kept


def _trainer(keys: dict[str, Any]) -> dict[str, Any]:
    """A trainer's table without the keys that change no weight."""
    runtime = set(RUNTIME_TRAINER_KEYS)
    # with it, the steps that are saved are those to choose from
    if keys.get("load_best_model_at_end"):
        runtime -= {"save_steps", "save_strategy"}
    return {key: value for key, value in keys.items() if key not in runtime}
