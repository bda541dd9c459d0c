"""What reads a command line, and answers what is misspelt."""

import argparse
import itertools
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from pipeline.errors import meant


class Parser(argparse.ArgumentParser):
    """argparse's, which also says what a misspelt command, flag or value may have meant."""

    given: Sequence[str] = ()
    commands: Any = None
    """Those of a parser of commands."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.color = False  # Python has colours here from 3.14 on

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.given = sys.argv[1:] if args is None else args
        return super().parse_known_args(args, namespace)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            command = self.commands.choices[parsed.command]
            command.given = unknown
            command.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed

    def error(self, message: str) -> NoReturn:
        hints = ""
        choice = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        if choice:
            hints = meant(choice[1], re.findall(r"[\w-]+", choice[2]))
        elif message.startswith(("unrecognized", "the following arguments")):
            hints = "".join(meant(flag, self._option_string_actions) for flag in self._unknown())
        if hints:
            message = f"{message}.{hints}"
        super().error(message)

    def _unknown(self) -> Iterator[str]:
        """The flags that were given and are none, nor the start of one."""
        known = self._option_string_actions
        for word in itertools.takewhile(lambda word: word != "--", self.given):
            flag = word.partition("=")[0]
            if flag.startswith("--") and not any(name.startswith(flag) for name in known):
                yield flag
