"""Hashes of files and of models' folders."""

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

from pipeline import project
from pipeline.config.reward_model import MINILM
from pipeline.config.whole import Config
from pipeline.errors import DataError

MODEL_FILES = (".safetensors", ".bin", ".json", ".jinja", ".model", ".txt")
"""Endings of the files that make a model what it is: weights, configuration, tokenizer, chat
template."""


def student_folder(config: Config) -> Path | None:
    """The student's folder where it is local, None where it is a Hub id."""
    return local_folder(config.student.model)


def local_folder(model: str) -> Path | None:
    """The folder of a model that is local, or in the package MINILM; None for a Hub id."""
    folder = project.path(model)
    if folder.is_dir():
        return folder
    package = find_spec(MINILM.replace("-", "_")) if model == MINILM else None
    return Path(package.origin).parent / "model" if package and package.origin else None


def folder_hash(folder: Path | None) -> str | None:
    """SHA-256 over a model folder's weights, configuration and tokenizer; None for a Hub id."""
    if folder is None:
        return None
    digest = hashlib.sha256()
    for path in model_files(folder):
        digest.update(f"{path.relative_to(folder)} {file_hash(path)}\n".encode())
    return digest.hexdigest()


def model_files(folder: Path) -> list[Path]:
    """A model folder's weights, configuration and tokenizer, in order."""
    pattern = "*"
    if (folder / "modules.json").exists():  # sentence-transformers', which has folders of its own
        pattern = "**/*"
    paths = list(folder.glob(pattern))
    if not (folder / "chat_template.jinja").exists():  # then one of these may be the student's
        paths += folder.glob("additional_chat_templates/*")
    return [path for path in sorted(paths) if path.suffix in MODEL_FILES]


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder, by its path there."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            hashes[path.relative_to(folder).as_posix()] = file_hash(path)
    return hashes


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes; DataError where it is a pipe or a device, which never ends."""
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: no file. Remove it.")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def may_be_encoder_decoder(config: Config) -> bool:
    """Whether the student is one, as its config.json says; true where that is not here."""
    try:
        path = project.path(config.student.model) / "config.json"
        settings = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return True
    return not isinstance(settings, dict) or bool(settings.get("is_encoder_decoder"))
