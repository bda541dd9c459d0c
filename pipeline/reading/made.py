"""How a run was made, and the students that came of it."""

from typing import Any

from pipeline.config.file import validate
from pipeline.config.whole import Config
from pipeline.errors import StageError
from pipeline.runs.files import SETTINGS
from pipeline.runs.recipes import without_hashes
from pipeline.runs.run import Run
from pipeline.runs.settings import read_settings
from pipeline.runs.step import Step

MADE_BY = "teacher student sft sample critic dpo llmr gkd retriever judge evaluate".split()
"""The sections that recipes hold."""


def contestants(run: Run, config: Config) -> dict[str, Step | None]:
    """The students that a run has: base, and those whose training is complete."""
    students: dict[str, Step | None] = {"base": None}
    trained = {"sft": Step("sft")}
    for number in range(1, len(config.rounds) + 1):
        trained[f"round-{number}"] = Step("dpo", number)
    for name, step in trained.items():
        if run.manifest(step):
            students[name] = step
    return students


def as_made(run: Run, student: Step | None = None, trust: bool = False) -> Config:
    """The configuration that made the run.

    Each section is as in the recipe of the last complete step that has it. The student's is that of
    the step that trained the student in question. Whether code runs that comes with the student,
    `trust` says, and never the run.
    """
    settings = read_settings(run.folder / SETTINGS)
    if settings is None:
        raise StageError(f"run {run.name} has no config.json: no stage of it was started.")
    manifests = run.manifests()
    for name in ("agreement", "judge-card"):  # who judges there may be another than before
        manifests.pop(name, None)
    for manifest in manifests.values():
        recipe = manifest["recipe"]
        for section in MADE_BY:
            if section in recipe:
                settings[section] = _section(recipe[section], settings.get(section) or {})
        if "literals" in recipe:
            settings["literals"]["limit"] = recipe["literals"]["limit"]
    if student and str(student) in manifests:
        settings["student"] = _section(manifests[str(student)]["recipe"]["student"], {})
    config = validate(settings, str(run.folder / SETTINGS))
    trusted = config.student.model_copy(update={"trust_remote_code": trust})
    return config.model_copy(update={"student": trusted})


def _section(made: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """A recipe's section as a configuration's.

    What no recipe has (price, key) stays, for the same endpoint.
    """
    section: dict[str, Any] = without_hashes(made)
    if section.get("endpoint"):
        endpoint = section["endpoint"]
        current = now.get("endpoint") or {}
        if all(endpoint[key] == current.get(key) for key in ("base_url", "model")):
            endpoint = {**current, **endpoint}
        section["endpoint"] = endpoint
    return section
