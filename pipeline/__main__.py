"""The command line: `humor-distill STAGE --run NAME`.

Also `python -m pipeline STAGE --run NAME`.
"""

import argparse
import importlib
import io
import sys

from pipeline import errors, project, signals, terminal
from pipeline.commands import flags
from pipeline.errors import HumorDistillError, StorageError

MODULES = dict.fromkeys(flags.STAGE_HELP, "stage") | {"import": "import_", "try": "try_"}
"""The module of a command, where it has another name; each has a `run` that takes the parsed
flags."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code (pipeline/errors.py lists them)."""
    _speak_any_encoding()
    with terminal.guarded():
        return _answered(flags.parser().parse_args(argv))


def _answered(args: argparse.Namespace) -> int:
    """Run a command and say what went wrong; its exit code."""
    try:
        with signals.stopping():
            _run(args)
    except HumorDistillError as error:
        print(f"humor-distill: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        return 141
    except KeyboardInterrupt as stop:
        print(
            "humor-distill: stopped; the same command (without --force) goes on from here",
            file=sys.stderr,
        )
        return signals.exit_code(stop)
    return 0


def _speak_any_encoding() -> None:
    """What a terminal cannot show (cp1252, ASCII) is shown as \\u and ends nothing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run(args: argparse.Namespace) -> None:
    """Run a command; what a disk answers becomes an error for the person."""
    command = MODULES.get(args.command, args.command)
    try:
        module = importlib.import_module(f"pipeline.commands.{command}")
        module.run(args)
    except (HumorDistillError, BrokenPipeError):
        raise
    except ModuleNotFoundError as error:
        if error.name != "fcntl":
            raise
        raise StorageError(
            "This command needs file locks as Linux and macOS have them. On Windows, run it in WSL."
        ) from None
    except Exception as error:
        storage = errors.storage(error, project.data)
        if storage is None:
            raise
        raise storage from error


if __name__ == "__main__":
    sys.exit(main())
