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

from pipeline.config.student import Evaluate
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
            model(run, args.contestant, partial, place, args.trust_remote_code)
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


def model(run: Run, contestant: str, out: Path, place: str, trust: bool = False) -> None:
    """One contestant, to keep and serve.

    Its weights with any adapter merged, tokenizer, generation config, card and SERVING.md.
    """
    students = contestants(run, made.as_made(run))
    if contestant not in students:
        raise ConfigError(
            f"run {run.name} has no student {contestant!r}. There are: {', '.join(students)}."
            f"{meant(contestant, students)}"
        )
    import torch

    from pipeline.models import casting, chat_template, student, student_prompt

    step = students[contestant]
    config = _unquantized(made.as_made(run, step, trust))
    weights = student.weights(run, step) if step else None
    tokenizer = student.load_tokenizer(config)
    print(f"loading {contestant}", flush=True)
    dtype = student.dtype(config)
    trained = student.load(config, weights, as_dtype=torch.float32 if step else dtype)
    merged = hasattr(trained, "peft_config")
    if merged:
        trained = trained.merge_and_unload()
    if step:
        survival = casting.since(config, dict(trained.named_parameters()), None, dtype)
        if survival:
            print(f"{contestant}: {survival}, since the untrained student")
        trained = trained.to(dtype)
    trained.generation_config = _generation_config(trained, tokenizer, config.evaluate)
    if not trained.config.is_encoder_decoder:
        tokenizer.chat_template = chat_template.served(tokenizer)
    trained.save_pretrained(out)
    tokenizer.save_pretrained(out)
    facts: dict[str, Any] = {
        "parameters": trained.num_parameters(),
        "dtype": str(trained.dtype).removeprefix("torch."),
        "architecture": type(trained).__name__,
        "merged": merged,
        "encoder_decoder": bool(trained.config.is_encoder_decoder),
        "example_text": student_prompt.prompt(tokenizer, cards.EXAMPLE),
    }
    for name, text in cards.of_model(run, config, contestant, place, facts).items():
        (out / name).write_text(text, "utf-8")


def _unquantized(config: Config) -> Config:
    """The configuration with the student's weights in full on the CPU, to merge an adapter into."""
    student = config.student.model_copy(update={"quantization": "none"})
    runtime = config.runtime.model_copy(update={"device": "cpu"})
    return config.model_copy(update={"student": student, "runtime": runtime})


def _generation_config(model: Any, tokenizer: Any, evaluate: Evaluate) -> Any:
    """The transformers.GenerationConfig that decodes as evaluate did."""
    from transformers import GenerationConfig

    from pipeline.models import student_prompt

    beams = evaluate.beams(model.config.is_encoder_decoder)
    options: dict[str, Any] = {"do_sample": False, "num_beams": beams}
    if evaluate.temperature > 0 and beams == 1:
        options = {"do_sample": True, "temperature": evaluate.temperature, "top_p": evaluate.top_p}
        options["top_k"] = evaluate.top_k or 0  # 0 is all; transformers would take 50
        options["min_p"] = evaluate.min_p
    if model.config.is_encoder_decoder:
        for key in ("decoder_start_token_id", "forced_bos_token_id"):
            options[key] = getattr(model.generation_config, key)
    return GenerationConfig(
        **options,
        max_new_tokens=evaluate.max_new_tokens,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=student_prompt.stop_tokens(model, tokenizer),
        pad_token_id=tokenizer.pad_token_id,
    )


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
