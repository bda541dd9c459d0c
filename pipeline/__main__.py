"""The command line: `humor-distill STAGE --run NAME`, also `python -m pipeline STAGE --run NAME`."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import ROOT, ROUND_STAGES, data_folder, errors
from pipeline.errors import HumorDistillError

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.runs import Run

HELP = {
    "teacher": "the teacher writes jokes for every literal",
    "sft": "the student imitates them",
    "sample": "the round's student writes its own",
    "critic": "the teacher judges them in pairs, in both orders",
    "dpo": "the student learns from the verdicts",
    "evaluate": "the judge compares every student with the teacher",
    "all": "every stage that is not complete, in order",
}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="humor-distill",
        description="Distil a funny large language model into a small one, with the large one as teacher and critic.",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in HELP.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--run", required=True, metavar="NAME", help="the run, a folder in data/runs")
        command.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            help="the run's configuration (default: what it last ran with, or demo)",
        )
        command.add_argument("--from", dest="source", metavar="RUN", help="link the earlier steps of another run")
        if name in (*ROUND_STAGES, "all"):
            command.add_argument(
                "--round", type=int, metavar="N", help="the round, from 1 (default: the first that is not complete)"
            )
        command.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="override a configuration key, e.g. seed=1"
        )
        command.add_argument("--force", action="store_true", help="make the step again, even if it is complete")
        command.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    status = commands.add_parser("status", help="what is complete, what it cost", description="Every step of a run.")
    status.add_argument("--run", metavar="NAME", help="the run (default: list the runs)")
    imported = commands.add_parser(
        "import", help="bring your own sentences", description="Turn a user's own sentences into literals."
    )
    from pipeline import importing

    importing.add_arguments(imported)
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code (pipeline/errors.py lists them)."""
    args = parser().parse_args(argv)
    try:
        if args.command == "status":
            from pipeline import status

            print(status.show(args.run))
        elif args.command == "import":
            from pipeline import importing

            importing.run(args)
        else:
            _stages(args)
    except HumorDistillError as error:
        print(f"humor-distill: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        return 141
    except OSError as error:
        if (found := errors.storage(error, data_folder())) is None:
            raise
        print(f"humor-distill: {found}", file=sys.stderr)
        return found.exit_code
    except KeyboardInterrupt:
        print("humor-distill: stopped; the same command (without --force) goes on from here", file=sys.stderr)
        return 130
    return 0


def _stages(args: argparse.Namespace) -> None:
    from pipeline import runs, store

    run = runs.Run(args.run)
    config = _configured(run, args)
    steps = runs.steps(config)
    chosen = steps if args.command == "all" else [runs.choose(run, steps, args.command, getattr(args, "round", None))]
    if args.command == "all" and args.round is not None:
        runs.choose(run, steps, "dpo", args.round)
        chosen = [step for step in steps if step.round == args.round]
    if args.source and args.dry_run:
        run = runs.Run(args.run, runs.Run(args.source))
    elif args.source:
        every = args.command == "all"
        before = steps if every else steps[: steps.index(chosen[0])]
        store.link(run, runs.Run(args.source), before, config, but_seed=not every)
    if args.command == "all" and not args.dry_run:
        store.check_splits(config)
        if any(step.stage in ("sft", "dpo") and run.manifest(step) is None for step in chosen):
            from pipeline import trainers

            trainers.check(config, run.folder)
    flags = (f" --config {args.config}" if args.config else "") + "".join(f" --set {shlex.quote(s)}" for s in args.set)
    for step in chosen:
        store.execute(run, step, config, args.force, args.dry_run, flags)


def _configured(run: "Run", args: argparse.Namespace) -> "Config":
    """The run's configuration: --config, else what it (or the run given to --from) last ran with, else the demo's.

    --set comes on top.
    """
    from pipeline import config, runs

    stored = None if args.config else run.config() or (runs.Run(args.source).config() if args.source else None)
    if stored is None:
        path = args.config or ROOT / "configs/demo.toml"
        data, where = config.load(path), str(path)
    else:
        data, where = stored.model_dump(mode="json"), str(run.folder / "config.json")
    for text in args.set:
        config.assign(data, *config.parse_assignment(text))
    return config.validate(data, where + (" with --set" if args.set else ""))


if __name__ == "__main__":
    sys.exit(main())
