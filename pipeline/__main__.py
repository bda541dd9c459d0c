"""The command line: `humor-distill STAGE --run NAME`.

Also `python -m pipeline STAGE --run NAME`.
"""

import argparse
import importlib
import sys

from pipeline import errors, project
from pipeline.commands import flags
from pipeline.errors import HumorDistillError

MODULES = dict.fromkeys(flags.STAGE_HELP, "stage") | {"import": "import_", "try": "try_"}
"""The module of a command, where it has another name; each has a `run` that takes the parsed
flags."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code (pipeline/errors.py lists them)."""
    args = flags.parser().parse_args(argv)
    try:
        _run(args)
    except HumorDistillError as error:
        print(f"humor-distill: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        return 141
    except KeyboardInterrupt:
        print(
            "humor-distill: stopped; the same command (without --force) goes on from here",
            file=sys.stderr,
        )
        return 130
    return 0


def _run(args: argparse.Namespace) -> None:
    """Run a command; what a disk answers becomes an error for the person."""
    command = MODULES.get(args.command, args.command)
    module = importlib.import_module(f"pipeline.commands.{command}")
    try:
        module.run(args)
    except (HumorDistillError, BrokenPipeError):
        raise
    except Exception as error:
        storage = errors.storage(error, project.data)
        if storage is None:
            raise
        raise storage from error


if __name__ == "__main__":
    sys.exit(main())
