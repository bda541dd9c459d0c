"""One stage, or all that are not complete: which configuration, which steps, linked from where."""

import argparse
import json
import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from pipeline import project, prompts
from pipeline.commands import trial
from pipeline.config.endpoint import Endpoint
from pipeline.config.file import assign, load, parse_assignment, validate
from pipeline.config.whole import Config
from pipeline.errors import BudgetError, ConfigError, DataError, HumorDistillError, meant
from pipeline.execution import forecast, launching, linking
from pipeline.execution.execute import execute
from pipeline.execution.forecast import Dry
from pipeline.execution.stage import Expects, Learns, stage_of
from pipeline.llm import money
from pipeline.llm.identity import Identity
from pipeline.reading import headline
from pipeline.reading.comparison import EVALUATE
from pipeline.rows import jsonl
from pipeline.rows.records import Metric, ruling
from pipeline.runs import known
from pipeline.runs.files import METRICS, SETTINGS
from pipeline.runs.literals import literals
from pipeline.runs.recipes import difference
from pipeline.runs.run import Run, choose, run_names
from pipeline.runs.settings import read_settings
from pipeline.runs.step import Step, steps

TRAINING = re.compile(r"\s*student\.model\b|.*\btrainer\b")
"""What is given to --set that only a training would look at, whichever stage the command is of."""
SPARE = 1.1
"""Room for what costs more than the answers did by which it is estimated."""
NUMBER = re.compile(r"\d+")
"""By which the runs of a series differ."""


def run(args: argparse.Namespace) -> None:
    """Execute the steps that a command names, in order."""
    run = Run(args.run)
    stored = _stored(run, args)
    config = _configured(run, args, stored)
    planned = steps(config)
    chosen = _chosen(run, planned, args)
    tried = getattr(args, "tried", None)
    asks = args.force or tried or any(run.manifest(step) is None for step in chosen)
    if asks and not args.dry_run:  # --try and --dry-run exclude each other
        if stored:
            known.require(stored.name, read_settings(stored.folder / SETTINGS), args.adopt)
        known.note(run.name, config)
    if args.source:
        run = _borrowing(run, planned, chosen, config, args)
    _check_keys(run, chosen, config, tried is not None)
    if tried:
        try:
            trial.show(run, chosen[0], config, tried, _repeated(args))
        except BudgetError as error:
            raise _with_advice(error, run, [], config) from None
        return
    _check_prompts(run, planned, config)
    if args.command == "all":
        _check_splits(config)
    if not args.dry_run:
        due = [step for step in chosen if args.force or run.manifest(step) is None]
        launching.check(config, due)
        if config.runtime.server:
            from pipeline.serving import servers

            servers.check(config, due)
    strange = False
    touched = any(TRAINING.match(text) for text in args.set)
    if args.command == "all" or args.dry_run or args.source or touched:  # else a stage says it
        settings = read_settings(stored.folder / SETTINGS) if stored else None
        strange = bool(stored and known.unknown(stored.name, settings))
        if not (args.dry_run and strange):  # of a run that was copied here no model is looked up
            _check_training(run, planned if args.dry_run else chosen, config, touched)
    dry = Dry(strange=strange) if args.dry_run else None
    if dry is None:
        run = linking.link(run, _until_it_starts(stored, config))
    for place, step in enumerate(chosen):
        try:
            execute(run, step, config, args.force, dry, _repeated(args), args.accept_failed)
        except BudgetError as error:
            raise _with_advice(error, run, chosen[place:], config) from None
    if dry:
        dry.conclude(run, config)
    if args.command == "all" and dry is None and run.manifest(EVALUATE):
        rows = jsonl.load(run.at(EVALUATE) / METRICS, Metric)
        if better := headline.better_student(ruling(rows), run.name):
            print(better)


def _with_advice(error: BudgetError, run: Run, left: list[Step], config: Config) -> BudgetError:
    """The error, with the cap that has room for what these steps will still have to pay."""
    if not error.cap:
        return error
    try:
        each = [forecast.to_come(run, [step], config) for step in left]
    except HumorDistillError:  # which the step itself will say
        return error
    still = sum(each)
    room = error.least + SPARE * still
    if error.cap == "step_budget":
        still = each[0] if each else 0.0
        room = max([error.least + SPARE * still, *(SPARE * step for step in each)])
    return BudgetError(
        f"{error}: about {still:.4f} is still to come, for which the same command with --set "
        f"runtime.{error.cap}={money.rounded_up(room):g} has room."
    )


def _stored(run: Run, args: argparse.Namespace) -> Run | None:
    """The run whose config.json is the configuration; None where the person names a file.

    It is this run, or the one given to --from where this one is new.
    """
    for stored in (run, Run(args.source or run.name)):
        if args.config is None and (stored.folder / SETTINGS).exists():
            return stored
    return None


def _until_it_starts(stored: Run | None, config: Config) -> dict[str, Any]:
    """The configuration of a run whose links alone are there: as taken over, without --set."""
    taken = read_settings(stored.folder / SETTINGS) if stored else None
    return taken or config.model_dump(mode="json")


def _configured(run: Run, args: argparse.Namespace, stored: Run | None) -> Config:
    """The run's configuration, with --set on top.

    It is --config, else what the run (or the one given to --from) last ran with, else the demo's.
    """
    path: Path = args.config or project.path("configs/demo.toml")
    if stored:
        path = stored.folder / SETTINGS
    data = (read_settings(path) if stored else None) or load(path)
    is_new = not (run.folder / SETTINGS).exists()
    if is_new:
        print(f"run {run.name} is new; its configuration is {path}")
        like = [name for name in run_names() if NUMBER.sub("", name) != NUMBER.sub("", run.name)]
        if hint := meant(run.name, like):
            print(hint.strip())
    if args.command == "judge-card" and data.get("judge_card") is None:
        data["judge_card"] = {}
    assigned = [parse_assignment(text) for text in args.set]
    for assignment in assigned:
        assign(data, *assignment)
    where = str(path)
    if args.set:
        where += " with --set"
    config = validate(data, where)
    if is_new and stored:
        for line in _taken_over(config, assigned):
            print(line)
    if stored:
        own = {".".join(key) for key, _ in assigned}
        for key in known.code_keys(config):
            if not any(f"{key}.".startswith(f"{given}.") for given in own):
                raise ConfigError(
                    f"{path}: {key} lets code run that comes with somebody's files, so it counts "
                    "in your own file or flag alone. If you have read that code, give it by --set "
                    f"{key}=..., or by --config FILE"
                )
    return config


def _taken_over(config: Config, own: list[tuple[list[str], Any]]) -> Iterator[str]:
    """The keys of another run's configuration that are not as in the demo's with one's own."""
    demo = project.path("configs/demo.toml")
    try:
        tables = load(demo)
        for assignment in own:
            assign(tables, *assignment)
        asked = validate(tables, str(demo)).model_dump(mode="json")
    except ConfigError:  # one's own demo.toml may be anything
        return
    whole = {"version": 1}  # of today, to which prices and keys count
    differing = difference(asked | whole, config.model_dump(mode="json") | whole)
    lines = [line for line in differing if line.startswith("  + ")]
    if lines:
        yield f"It takes over what is not as in {demo}, and what you --set comes on top:"
        yield from (f"  {line[4:]}" for line in lines)


def _chosen(run: Run, planned: list[Step], args: argparse.Namespace) -> list[Step]:
    """The steps that the command names."""
    if args.command != "all":
        return [choose(run, planned, args.command, getattr(args, "round", None))]
    if args.round is None:
        return planned
    choose(run, planned, "dpo", args.round)  # which refuses a round that is not there
    return [step for step in planned if step.round == args.round]


def _borrowing(
    run: Run, planned: list[Step], chosen: list[Step], config: Config, args: argparse.Namespace
) -> Run:
    """The run with the steps of --from in place of its own, before any is linked."""
    every = args.command == "all"
    wanted = planned if every else planned[: planned.index(chosen[0])]
    tried = args.command == "judge-card"  # a judge is tried on what another one judged
    return linking.linkable(run, Run(args.source), wanted, config, not every, tried)


def _repeated(args: argparse.Namespace) -> str:
    """The flags that the commands it suggests must repeat."""
    flags = ""
    if args.source:
        flags += f" --from {args.source}"
    if args.config:
        flags += f" --config {shlex.quote(str(args.config))}"
    for text in args.set:
        flags += f" --set {shlex.quote(text)}"
    return flags


def _check_splits(config: Config) -> None:
    """DataError where a split is missing that a later stage will need."""
    splits = {row.split for row in literals(config)}
    missing = {"train", *config.evaluate.splits} - splits
    if missing:
        raise DataError(
            f"{', '.join(config.literals.files)}: no literal of split "
            f"{', '.join(sorted(missing))}, which sft (train) or evaluate (evaluate.splits) needs. "
            f"Splits there are: {', '.join(sorted(splits))}. {_way_out(splits)}"
        )


def _way_out(splits: Collection[str]) -> str:
    """What to do where a split is missing that is evaluated on."""
    held = ["test"] if "test" in splits else sorted(set(splits) - {"train"})
    if "train" in splits and held:
        return f"Evaluate on what there is: --set evaluate.splits='{json.dumps(held)}'"
    return (
        "Deal the sentences out anew: humor-distill import FILE --split-shares "
        "train=80,validation=5,test=15"
    )


def _check_keys(
    run: Run, chosen: list[Step], config: Config, though_complete: bool = False
) -> None:
    """ConfigError where a step is to ask somebody whose key is not there."""
    for step in chosen:
        if though_complete or run.manifest(step) is None:
            for endpoint in _asked(config, step):
                Identity(endpoint)


def _check_prompts(run: Run, chosen: list[Step], config: Config) -> None:
    """ConfigError where a prompt is missing that a later step asks by."""
    for step in chosen:
        if run.manifest(step) is None:
            for name in stage_of(step).prompts(config, step.round):
                prompts.text(name)


def _asked(config: Config, step: Step) -> Iterator[Endpoint]:
    """Whom a step asks."""
    stage = stage_of(step)
    if isinstance(stage, Expects):
        for expected in stage.expected(config, step.round, Counter()):
            yield expected.endpoint
        return
    for name in stage.sections(config, step.round):
        endpoint = getattr(getattr(config, name), "endpoint", None)
        if endpoint is not None:
            yield endpoint


def _check_training(run: Run, chosen: list[Step], config: Config, always: bool) -> None:
    """Build what a long run will need late, so that a typo ends it before it has begun.

    Where one of the steps is to be trained, or `always`.
    """
    learning = [step for step in chosen if isinstance(stage_of(step), Learns)]
    if not always and all(run.manifest(step) for step in learning):
        return
    from pipeline.models import student
    from pipeline.training import arguments

    if config.reward_model:
        from pipeline.training import reward

        reward.arguments(config, run.folder)
    arguments.of_sft(config, run.folder)
    for learned in config.rounds:
        arguments.of_round(config, learned, run.folder)
    student.load_tokenizer(config)
    if config.retriever:
        from pipeline.retrieval import encoder

        encoder.arguments(config, run.folder)
