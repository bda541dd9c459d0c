"""export: a student to keep and serve, or the rows of a run as a data set, each with a card made
from the run."""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, EndpointError
from pipeline.reading import cards, lookup, made
from pipeline.reading.made import contestants
from pipeline.runs.files import MANIFEST
from pipeline.runs.manifest import outdated
from pipeline.runs.run import Run, existing


def run(args: argparse.Namespace) -> None:
    """Make the folder, whole or not at all; pushing it comes last."""
    found = existing(args.run)
    args.out = args.out.resolve()
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise ConfigError(
            f"{args.out} is there already, and is not an empty folder. Name another, or remove it."
        )
    for line in outdated(found.manifests()):
        print(line, file=sys.stderr)
    partial = args.out.with_name(args.out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    place = args.push or args.out.name
    if args.rows:
        rows(found, partial, place)
    else:
        model(found, args.contestant, partial, place)
    if args.out.exists():
        args.out.rmdir()
    partial.rename(args.out)
    print(args.out)
    if args.push:
        push(args.out, args.push, "dataset" if args.rows else "model")


def model(run: Run, contestant: str, out: Path, place: str) -> None:
    """Weights with any adapter merged, tokenizer, generation config, card and SERVING.md of one
    contestant."""
    there = contestants(run, made.as_made(run))
    if contestant not in there:
        raise ConfigError(
            f"run {run.name} has no student {contestant!r}. There are: {', '.join(there)}."
        )
    from transformers import GenerationConfig

    from pipeline.models import student, student_prompt

    step = there[contestant]
    config = made.as_made(run, step)
    weights = student.weights(run, step) if step else None
    print(f"loading {contestant}", flush=True)
    plain = config.model_copy(
        update={"student": config.student.model_copy(update={"quantization": "none"})}
    )
    found = student.load(plain, weights)
    merged = hasattr(found, "peft_config")
    if merged:
        found = found.merge_and_unload()
    tokenizer = student.load_tokenizer(config)
    evaluate, stops, own = (
        config.evaluate,
        student_prompt.stop_tokens(found, tokenizer),
        found.generation_config,
    )
    options: dict[str, Any] = {
        "do_sample": False,
        "num_beams": evaluate.beams(found.config.is_encoder_decoder),
    }
    if evaluate.temperature > 0 and options["num_beams"] == 1:
        options = {"do_sample": True, "temperature": evaluate.temperature, "top_p": evaluate.top_p}
        options["top_k"] = evaluate.top_k or 0  # 0 is all; transformers would take 50
    if found.config.is_encoder_decoder:
        options |= {
            key: getattr(own, key) for key in ("decoder_start_token_id", "forced_bos_token_id")
        }
    else:
        tokenizer.chat_template = student_prompt.chat_template(tokenizer)
    found.generation_config = GenerationConfig(
        **options,
        max_new_tokens=evaluate.max_new_tokens,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=stops,
        pad_token_id=tokenizer.pad_token_id,
    )
    found.save_pretrained(out)
    tokenizer.save_pretrained(out)
    facts: dict[str, Any] = {
        "parameters": found.num_parameters(),
        "dtype": str(found.dtype).removeprefix("torch."),
        "architecture": type(found).__name__,
        "merged": merged,
        "encoder_decoder": bool(found.config.is_encoder_decoder),
        "example_text": student_prompt.prompt(tokenizer, cards.EXAMPLE),
    }
    for name, text in cards.of_model(run, config, contestant, place, facts).items():
        (out / name).write_text(text, "utf-8")


def rows(run: Run, out: Path, place: str) -> None:
    """Every JSONL file of the run as a part of one data set, with the manifests and the
    configuration."""
    config = made.as_made(run)
    parts: list[dict[str, Any]] = []
    for source in lookup.sources(run):
        if not source.path.stat().st_size:
            continue
        step = source.step.replace("/", "-") or "literals"
        name = step if source.path.stem == "records" else f"{step}-{source.path.stem}"
        taken = sum(name in (part["name"], part["name"].rpartition("-")[0]) for part in parts)
        name += f"-{taken + 1}" if taken else ""
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


def push(folder: Path, repo: str, kind: str) -> None:
    """Upload a folder to the Hub; EndpointError, with the command to try again, where that
    fails."""
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        api.create_repo(repo, repo_type=kind, exist_ok=True)
        print(api.upload_folder(folder_path=folder, repo_id=repo, repo_type=kind))
    except Exception as error:  # noqa: BLE001 - whatever the network or the Hub said, the folder is there to push again
        said = (str(error).splitlines() or [repr(error)])[0]
        raise EndpointError(
            f"the Hub did not take {repo}: {said}\nThe folder {folder} is whole; to try again: "
            f"hf upload {repo} {folder} --repo-type {kind}"
        ) from None
