"""What makes a stage's rows what they are, as a plain dictionary that two runs can compare line by line."""

import hashlib
import importlib.metadata
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import ROOT, objective, prompts
from pipeline.config import Config
from pipeline.endpoint import LOCAL
from pipeline.errors import DataError
from pipeline.runs import INDEX

if TYPE_CHECKING:
    from pipeline.runs import Run, Step

PACKAGES = ["torch", "transformers", "trl", "peft", "datasets", "bitsandbytes", "openai", "pydantic", "jinja2"]
PACKAGES += ["sentence-transformers", "faiss-cpu"]
MODEL_FILES = (".safetensors", ".bin", ".json", ".jinja", ".model", ".txt")
"""Endings of the files that make a model what it is: weights, configuration, tokenizer, chat template."""
RUNTIME_TRAINER_KEYS = frozenset(
    "output_dir run_name report_to project trackio_space_id logging_dir logging_steps logging_strategy "
    "logging_first_step log_level disable_tqdm save_steps save_strategy save_total_limit push_to_hub hub_model_id "
    "hub_private_repo dataloader_num_workers dataloader_pin_memory dataset_num_proc "
    "dataloader_persistent_workers dataloader_prefetch_factor".split()
)
"""Keys of a trainer's table that change no weight, and so are not part of a recipe."""
NOT_IN_RECIPE = frozenset("price api_key_env extra_headers replicas mode requests_per_minute tokens_per_minute".split())
"""Keys of an endpoint that change no answer."""
ADDED = {"top_k": None}
"""Keys that earlier versions did not know, at the value that changes nothing: runs of those versions stay complete."""


def make(run: "Run", step: "Step", config: Config, inputs: dict[str, "Step"]) -> dict[str, Any]:
    """The recipe of a step: its sections of the configuration, prompts, inputs and model identities."""
    module = step.module
    sections = config.model_dump(mode="json")
    recipe: dict[str, Any] = {"seed": config.seed}
    more = objective.sections(config, step.round) if step.stage == "dpo" else ()
    if step.stage == "retriever" and _critic_scores(config):
        more = ("critic",)
    for name in (*module.SECTIONS, *more):
        recipe[name] = _without_runtime_keys(name, sections[name])
    if step.round:
        keys = {"sample": ["candidates"], "critic": ["rankings"]}.get(step.stage, ["objective", "rankings", "trainer"])
        found = _without_runtime_keys("round", sections["rounds"][step.round - 1])
        recipe["round"] = {key: found[key] for key in keys}
    if code := _code(step, config):
        recipe["losses"] = file_hash(Path(__file__).with_name(code))
    if "literals" in module.SECTIONS:
        recipe["literals"] = {
            "limit": config.literals.limit,
            "files": [f"{path.name} {file_hash(path)}" for path in literal_files(config)],
        }
    if "agreement" in recipe:
        labels = ROOT / recipe["agreement"]["labels"]
        if not labels.is_file():
            raise DataError(
                f"{labels}: no such file (agreement.labels). Each of its lines is a pair that people judged."
            )
        recipe["agreement"] |= {"labels": labels.name, "sha256": file_hash(labels)}
    if "student" in recipe:
        recipe["student"]["sha256"] = folder_hash(student_folder(config))
    for name in {*more} & {"llmr", "gkd"}:
        recipe[name]["sha256"] = folder_hash(local_folder(recipe[name]["teacher"]))
    if found := config.retriever if "retriever" in recipe else None:
        named = {"model": found.model, "scorer": found.scorer}
        recipe["retriever"]["sha256"] = {key: folder_hash(local_folder(one)) for key, one in named.items() if one}
    endpoint = recipe.get("critic", {}).get("endpoint", {})
    if endpoint.get("base_url") == LOCAL:
        endpoint["sha256"] = folder_hash(local_folder(endpoint["model"]))
    recipe["prompts"] = {name: prompts.digest(name) for name in prompt_names(step, config)}
    recipe["inputs"] = {name: _identity(run, read) for name, read in inputs.items()}
    return recipe


def _code(step: "Step", config: Config) -> str | None:
    """The file of ours, if any, that says what the step's losses are."""
    if step.stage == "retriever":
        return "biencoder.py"
    if step.stage != "dpo":
        return None
    one = objective.round_of(config, step.round)
    ours = "losses.py" if objective.uses_own_losses(config, one) else None
    return {"llmr": "rewards.py", "gkd": "gkd.py"}.get(one.objective, ours)


def _identity(run: "Run", step: "Step") -> dict[str, str]:
    manifest = run.manifest(step) or {}
    weights = {"weights": manifest["weights"]["sha256"]} if "weights" in manifest else {}
    index = {"index": manifest["files"][INDEX]} if INDEX in manifest.get("files", {}) else {}
    return {"records": manifest["sha256"], **weights, **index}


def _without_runtime_keys(name: str, section: Any) -> Any:
    """The section without what changes neither an answer nor a weight."""
    if not isinstance(section, dict):
        return section
    runtime = {*NOT_IN_RECIPE}
    if name == "trainer":
        runtime = {*RUNTIME_TRAINER_KEYS}
        if section.get("load_best_model_at_end"):  # then the steps that are saved are those to choose from
            runtime -= {"save_steps", "save_strategy"}
    kept = {key: value for key, value in section.items() if key not in runtime and (key, value) not in ADDED.items()}
    return {key: _without_runtime_keys(key, value) for key, value in kept.items()}


def literal_files(config: Config) -> list[Path]:
    """The literals' files; a missing one raises DataError."""
    paths = [ROOT / name for name in config.literals.files]
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: no such file (literals.files). Make it: humor-distill import FILE --out {path}")
    return paths


def prompt_names(step: "Step", config: Config) -> tuple[str, ...]:
    """The prompts that decide a step's rows or weights."""
    if step.stage != "dpo":
        critic = prompts.CRITIC if step.stage == "retriever" and _critic_scores(config) else ()
        return (*step.module.PROMPTS, *critic)
    watched = prompts.CRITIC if objective.watched(config, step.round) else ()
    taught = config.llmr.prompts if config.llmr and "llmr" in objective.sections(config, step.round) else ()
    return tuple(dict.fromkeys((*step.module.PROMPTS, *watched, *taught)))


def _critic_scores(config: Config) -> bool:
    return config.retriever is not None and config.retriever.scores == "critic"


def student_folder(config: Config) -> Path | None:
    """The student's folder where it is local, None where it is a Hub id."""
    return local_folder(config.student.model)


def local_folder(model: str) -> Path | None:
    """The folder of a model that is local, None for a Hub id."""
    return ROOT / model if (ROOT / model).is_dir() else None


def folder_hash(folder: Path | None) -> str | None:
    """SHA-256 over a model folder's weights, configuration and tokenizer; None for a Hub id."""
    if folder is None:
        return None
    digest = hashlib.sha256()
    modules = (folder / "modules.json").exists()  # sentence-transformers', which has folders of its own
    for path in sorted(path for path in folder.glob("**/*" if modules else "*") if path.suffix in MODEL_FILES):
        digest.update(f"{path.relative_to(folder)} {file_hash(path)}\n".encode())
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def same_but_seed(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return {**one, "seed": None} == {**other, "seed": None}


def difference(had: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Lines `- key = had` and `+ key = wanted` for every leaf that differs."""
    left, right = dict(_leaves(had)), dict(_leaves(wanted))
    lines = []
    for key in sorted({*left, *right}):
        if left.get(key) != right.get(key) or (key in left) != (key in right):
            lines += [f"  - {key} = {left[key]!r}"] if key in left else []
            lines += [f"  + {key} = {right[key]!r}"] if key in right else []
    return lines


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else key)
    else:
        yield path, value


def prompt_texts(step: "Step", config: Config) -> dict[str, str]:
    return {name: prompts.text(name) for name in prompt_names(step, config)}


def made_with() -> dict[str, Any]:
    """Versions and git state; recorded, never compared."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"python": platform.python_version(), "platform": platform.platform(), "packages": versions, "git": _git()}


def _git() -> dict[str, Any] | None:
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, timeout=10)
        status = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, timeout=10)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return {"commit": commit.stdout.strip(), "changed": bool(status.stdout.strip())} if commit.returncode == 0 else None
