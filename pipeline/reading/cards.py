"""Cards: what a stranger must know about an exported student or data set.

They are made from the run's own files.
"""

import html
import json
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

from pipeline import project, prompts
from pipeline.config.objectives import OBJECTIVES
from pipeline.config.whole import Config
from pipeline.reading import comparison, variety
from pipeline.rows import jsonl
from pipeline.rows.records import Joke, Metric, Verdict, ruling
from pipeline.runs.files import ANSWERS, METRICS, RECORDS
from pipeline.runs.hashes import file_hash, student_folder
from pipeline.runs.literals import literals
from pipeline.runs.manifest import stale
from pipeline.runs.run import Run
from pipeline.runs.step import Step

BLANK = "____"
EXAMPLE = "The kettle is on."
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""What the Hub calls a data set's size; the next is 1M<n<10M."""


def of_model(
    run: Run, config: Config, contestant: str, place: str, facts: dict[str, Any]
) -> dict[str, str]:
    """README.md and SERVING.md of an exported student.

    `facts`: parameters, dtype, architecture, merged.
    """
    from huggingface_hub import ModelCard

    metrics, warnings = _figures(run, contestant)
    manifests = {name: run.manifest(step) for name, step in _history(contestant).items()}
    settings = config.model_dump(mode="json", exclude_defaults=True)
    title = f"{run.name}-{contestant}"
    licence = _licence(config)
    values = {
        **_common(run, config, place),
        **facts,
        "title": title,
        "name": title.lower(),
        "contestant": contestant,
        "revision": config.student.revision,
        "quantization": config.student.quantization,
        "history": _told(manifests) or "none; this is the untrained start",
        "metrics": metrics,
        "warnings": [_plain(line) for line in warnings],
        "licence": licence,
        "recipe": json.dumps(settings, indent=1, ensure_ascii=False),
        "made_with": _made_with([run.manifest(Step("teacher")), *manifests.values()]),
        "prompt_words": f"`{_prompt(BLANK)}`",
        "prompt_blank": json.dumps(_prompt(BLANK)),
        "example": json.dumps(EXAMPLE),
        "quoted_in_python": json.dumps(place),
        "example_prompt": json.dumps(_prompt(EXAMPLE)),
        "decoding": config.evaluate.decoding(facts["encoder_decoder"]),
        "temperature": config.evaluate.temperature,
        "top_p": config.evaluate.top_p,
        "top_k": config.evaluate.top_k or 0,
        "min_p": config.evaluate.min_p or 0,
        "max_new_tokens": config.evaluate.max_new_tokens,
        "num": variety.number,
        "example_text": json.dumps(facts["example_text"]),
    }
    own = [row for row in metrics if row.contestant == contestant]
    metadata = _metadata(config, title, licence, own)
    card = ModelCard(_render("model_card.md.j2", {**values, "card_data": metadata}))
    return {"README.md": str(card), "SERVING.md": _render("serving.md.j2", values)}


def _metadata(config: Config, title: str, licence: str | None, rows: list[Metric]) -> str:
    """The YAML that the Hub reads: licence, base model, tags and the contestant's rates."""
    from huggingface_hub import EvalResult, ModelCardData

    rates = []
    judge = ", ".join(config.judge.judges)
    for row in rows:
        if row.vs is not None:
            continue
        judged = f"against {config.teacher.endpoint.model}, {row.aspect}, judged by {judge}"
        for kind, rate in (("win-tie rate", row.wtr), ("fresh rate", row.fresh_wtr)):
            if rate is not None:
                rates.append(
                    EvalResult(
                        task_type="text-generation",
                        dataset_type="humor-distill",
                        dataset_name=f"literals, {row.split}",
                        dataset_config=row.split,
                        dataset_split=row.split,
                        metric_type=re.sub("[ -]", "_", kind),
                        metric_name=f"{kind} {judged}",
                        metric_value=round(rate, 4),
                    )
                )
    data = ModelCardData(
        model_name=title,
        license=licence,
        base_model=None if student_folder(config) else config.student.model,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["humor", "paraphrase", "distillation", "dpo", "humor-distill"],
        eval_results=rates,
    )
    return str(data.to_yaml())


def _plain(text: str) -> str:
    """Words that neither Markdown nor HTML takes for anything else."""
    return re.sub(r"([\\`*_\[\](){}#!|~])", r"\\\1", html.escape(text, quote=False))


def of_rows(run: Run, config: Config, place: str, parts: list[dict[str, Any]]) -> str:
    """README.md of a run's rows; `parts` are from `part`."""
    from huggingface_hub import DatasetCard, DatasetCardData

    total = sum(part["rows"] for part in parts)
    data = DatasetCardData(
        language="en",
        pretty_name=f"humor-distill run {run.name}",
        size_categories=next((name for limit, name in SIZES if total < limit), "1M<n<10M"),
        task_categories="text-generation",
        configs=[
            {"config_name": part["name"], "data_files": f"data/{part['name']}.jsonl"}
            for part in parts
        ],
    )
    values = {**_common(run, config, place), "title": f"Rows of run {run.name}", "parts": parts}
    return str(DatasetCard(_render("data_card.md.j2", {**values, "card_data": data.to_yaml()})))


def part(name: str, path: Path) -> dict[str, Any]:
    """A file of rows, as the card lists it."""
    with path.open("rb") as file:
        first = file.readline()
    schema = "-"
    if first:
        schema = json.loads(first)["schema"]
    return {
        "name": name,
        "rows": path.read_bytes().count(b"\n"),
        "schema": schema,
        "sha256": file_hash(path),
    }


def _common(run: Run, config: Config, place: str) -> dict[str, Any]:
    return {
        "run": run.name,
        "place": place,
        "quoted_place": shlex.quote(place),
        "base": config.student.model,
        "teacher": _in_code(config.teacher.endpoint.model),
        "critic": _in_code(config.critic.name),
        "judge": config.judges_in_words(_in_code),
        "labels": config.agreement and config.agreement.labels.replace("`", "'"),
        "data": _sources(config),
    }


def _in_code(text: str) -> str:
    """A name as Markdown's code: one line, with nothing inside that ends it."""
    return f"`{' '.join(text.split()).replace('`', chr(39))}`"


def _sources(config: Config) -> list[tuple[str, str, str]]:
    """(source, licence, sentences by split) of the literals that the run used."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for row in literals(config):
        counts.setdefault((row.source, row.licence), Counter())[row.split] += 1
    sources = []
    for (source, licence), splits in sorted(counts.items()):
        sentences = ", ".join(f"{count} {split}" for split, count in splits.items())
        sources.append((source, licence, sentences))
    return sources


def _figures(run: Run, contestant: str) -> tuple[list[Metric], list[str]]:
    """The metrics, and the contestant's warnings; no metric where evaluate is not complete."""
    folder = run.at(comparison.EVALUATE)
    manifests = run.manifests()
    if "evaluate" not in manifests:
        return [], ["This run was not evaluated: there is no figure."]
    old = ", ".join(stale(manifests["evaluate"], manifests.values()))
    if old:
        return [], [
            f"This run was evaluated on other rows or weights of {old}: there is no figure."
        ]
    rows = ruling(jsonl.load(folder / METRICS, Metric))
    if contestant not in {row.contestant for row in rows}:
        return [], ["This student was not evaluated: there is no figure."]
    answers = jsonl.load(folder / ANSWERS, Joke)
    jokes = comparison.side_by_side(jsonl.read(folder / RECORDS, Verdict), answers).values()
    references = [(joke["literal"], joke["teacher"]) for joke in jokes]
    spread = variety.spread(answers, references, rows)
    narrowed = [row for row in spread if row["author"] in ("teacher", contestant)]
    return rows, variety.collapse(narrowed)


def _history(contestant: str) -> dict[str, Step]:
    """The steps that trained a contestant, first to last."""
    if contestant == "base":
        return {}
    steps = {"sft": Step("sft")}
    if contestant.startswith("round-"):
        for number in range(1, int(contestant.removeprefix("round-")) + 1):
            steps[f"round-{number}"] = Step("dpo", number)
    return steps


def _told(manifests: dict[str, Any]) -> str:
    """The trainings in words."""
    trainings = []
    for name, manifest in manifests.items():
        objective = manifest.get("objective", "sft")
        rows = "jokes"
        if objective in OBJECTIVES:
            rows = OBJECTIVES[objective].called
        if name != "sft":
            rows += f" ({objective})"
        steps = manifest["training"]["steps"]
        trainings.append(f"{name}: {steps} steps on {manifest['rows']} {rows}")
    return "; ".join(trainings)


def _made_with(manifests: list[dict[str, Any] | None]) -> str:
    """The versions of the last step."""
    for manifest in reversed(manifests):
        if manifest:
            versions = manifest["made_with"]["packages"]
            return ", ".join(f"{name} {version}" for name, version in versions.items())
    return ""


def _licence(config: Config) -> str | None:
    """The licence that a local start's own card names."""
    from huggingface_hub import ModelCard

    folder = student_folder(config)
    if folder is None or not (folder / "README.md").exists():
        return None
    return ModelCard.load(folder / "README.md").data.license


def _prompt(sentence: str) -> str:
    return prompts.render("student", literal=sentence)


def _render(name: str, values: dict[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined

    # Markdown, not HTML: nothing is escaped
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string((project.TEMPLATES / name).read_text("utf-8")).render(**values)
