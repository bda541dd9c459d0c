"""The command line: `humor-distill STAGE --run NAME`.

Also `python -m pipeline STAGE --run NAME`.
"""

import importlib
import sys

from pipeline import data_folder, errors
from pipeline.commands import flags
from pipeline.errors import HumorDistillError

MODULES = dict.fromkeys(flags.STAGE_HELP, "stage") | {"import": "import_", "try": "try_"}
"""The module of a command, where it has another name; each has a `run` that takes the parsed
flags."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code (pipeline/errors.py lists them)."""
    args = flags.parser().parse_args(argv)
    try:
        command = MODULES.get(args.command, args.command)
        importlib.import_module(f"pipeline.commands.{command}").run(args)
    except HumorDistillError as error:
        print(f"humor-distill: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        return 141
    except Exception as error:
        storage = errors.storage(error, data_folder())
        if storage is None:
            raise
        print(f"humor-distill: {storage}", file=sys.stderr)
        return storage.exit_code
    except KeyboardInterrupt:
        print(
            "humor-distill: stopped; the same command (without --force) goes on from here",
            file=sys.stderr,
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
