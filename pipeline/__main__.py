"""The command line: `humor-distill STAGE --run NAME`, also `python -m pipeline STAGE --run NAME`."""

import argparse
import importlib
import shlex
import sys
from typing import TYPE_CHECKING

from pipeline import ROOT, arguments, data_folder, errors
from pipeline.errors import HumorDistillError

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.runs import Run

COMMANDS = {"import": "importing", "try": "trial"}
"""The module of a command, where it has another name; each has a `run` that takes the parsed flags."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code (pipeline/errors.py lists them)."""
    args = arguments.parser().parse_args(argv)
    try:
        if args.command in arguments.HELP:
            _stages(args)
        else:
            importlib.import_module(f"pipeline.{COMMANDS.get(args.command, args.command)}").run(args)
    except HumorDistillError as error:
        print(f"humor-distill: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        return 141
    except Exception as error:
        if (found := errors.storage(error, data_folder())) is None:
            raise
        print(f"humor-distill: {found}", file=sys.stderr)
        return found.exit_code
    except KeyboardInterrupt:
        print("humor-distill: stopped; the same command (without --force) goes on from here", file=sys.stderr)
        return 130
    return 0


def _stages(args: argparse.Namespace) -> None:
    from pipeline import forecast, runs, store

    run = runs.Run(args.run)
    config = _configured(run, args)
    steps = runs.steps(config)
    chosen = steps if args.command == "all" else [runs.choose(run, steps, args.command, getattr(args, "round", None))]
    if args.command == "all" and args.round is not None:
        runs.choose(run, steps, "dpo", args.round)
        chosen = [step for step in steps if step.round == args.round]
    if args.source:
        every = args.command == "all"
        before = steps if every else steps[: steps.index(chosen[0])]
        asked = run, runs.Run(args.source), before, config, not every
        if args.dry_run:
            run = store.linkable(*asked)
        else:
            store.link(*asked)
    if args.command == "all" and not args.dry_run:
        store.check_splits(config)
        if any(step.stage in ("sft", "dpo", "retriever") and run.manifest(step) is None for step in chosen):
            from pipeline import trainers

            trainers.check(config, run.folder)
    flags = (f" --config {args.config}" if args.config else "") + "".join(f" --set {shlex.quote(s)}" for s in args.set)
    dry = forecast.Dry() if args.dry_run else None
    for step in chosen:
        store.execute(run, step, config, args.force, dry, flags, args.accept_failed)
    if dry and (total := dry.total()):
        print(total)


def _configured(run: "Run", args: argparse.Namespace) -> "Config":
    """The run's configuration: --config, else what it (or the run given to --from) last ran with, else the demo's.

    --set comes on top.
    """
    from pipeline import configfile, runs

    stored = [found.folder / "config.json" for found in (run, runs.Run(args.source or run.name))]
    path = args.config or next((path for path in stored if path.exists()), ROOT / "configs/demo.toml")
    data, where = runs.read_json(path) if path in stored else configfile.load(path), str(path)
    if not stored[0].exists():
        print(f"run {run.name} is new; its configuration is {path}")
    for text in args.set:
        configfile.assign(data, *configfile.parse_assignment(text))
    return configfile.validate(data, where + (" with --set" if args.set else ""))


if __name__ == "__main__":
    sys.exit(main())
