"""What a stage is: a module of pipeline/stages. The one place that finds it by its name.

A stage says what decides its rows, what it reads and writes, and has a `run` that yields rows. What
only some stages have is a protocol of its own: code of ours that decides numbers, requests to
hosted models, and a `learn` that trains from the finished rows.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

from pipeline import spelt
from pipeline.config.endpoint import Endpoint
from pipeline.config.whole import Config
from pipeline.execution.context import Context
from pipeline.rows.records import Joke, Verdict
from pipeline.rows.row import Row
from pipeline.runs.step import Step

Requests = tuple[Endpoint, Iterator[tuple[Any, dict[str, Any]]]]
"""Whom a step asks, and its requests as `Door.ask` takes them."""


class Expected(NamedTuple):
    """What a step will ask of one endpoint, before its inputs are there."""

    endpoint: Endpoint
    prompt: str
    """The template's name."""
    calls: int
    """At most."""
    longest: int
    """Tokens that an answer may have."""


class Code(NamedTuple):
    """Functions of ours that decide rows or weights."""

    file: str
    """In pipeline/."""
    functions: Sequence[str] = ()
    """None are named of a folder, all of which counts."""


class Stage(Protocol):
    """What every stage has; `round` is the step's, None for a stage of no round."""

    VERSION: int
    """From 1; raised, with a line in CHANGELOG.md, where the same configuration comes to give other
    rows or weights. What an earlier version completed stays, and is said to be of that version;
    what it began is not gone on with."""

    def sections(self, config: Config, round: int | None) -> Sequence[str]:
        """The sections of the configuration that decide its rows or weights."""

    def prompts(self, config: Config, round: int | None) -> Sequence[str]:
        """The templates that do."""

    def reads(self, config: Config, round: int | None) -> dict[str, Step]:
        """The steps whose rows or weights it needs, by the names it has for them."""

    def writes(self, config: Config, round: int | None) -> type[Row]:
        """The kind of its rows."""

    def run(self, context: Context) -> Iterator[Row]:
        """Its rows, one by one; an interrupted attempt's are in `context.kept`."""


@runtime_checkable
class OfRound(Protocol):
    """A stage of a round."""

    ROUND_KEYS: Sequence[str]
    """The keys of [[rounds]] that decide its rows or weights."""


@runtime_checkable
class Decides(Protocol):
    """A stage whose rows follow from answers or other rows by rules of ours."""

    def decides(self, config: Config, round: int | None) -> Sequence[Code]:
        """The functions that are those rules; what they do is part of the recipe.

        A step that other rules made is told from one that was damaged.
        """


@runtime_checkable
class OwnLosses(Protocol):
    """A stage that trains by losses of ours."""

    def losses(self, config: Config, round: int | None) -> Code | None:
        """Their functions; what they do is part of the recipe.

        None where a library alone decides.
        """


@runtime_checkable
class Asks(Protocol):
    """A stage whose requests can be told from its inputs."""

    def requests(self, context: Context) -> Requests | list[Requests] | None:
        """The very requests that it will make, of one endpoint or of several.

        None where it asks nobody, or where they follow from answers.
        """


@runtime_checkable
class Expects(Protocol):
    """A stage whose number of requests can be told from the configuration."""

    def expected(
        self, config: Config, round: int | None, literals: Mapping[Any, int]
    ) -> list[Expected]:
        """What it will ask, given how many literals each split has."""


@runtime_checkable
class Tries(Protocol):
    """A stage whose prompt can be tried before a run is made by it."""

    def tries(self, context: Context, n: int) -> Iterator[Joke] | Iterator[Verdict]:
        """Its rows about the first n sentences or pairs; nothing is written."""


@runtime_checkable
class Needs(Protocol):
    """A stage whose students are loaded."""

    def needs(
        self, config: Config, round: int | None, literals: Mapping[Any, int]
    ) -> Iterator[str]:
        """Lines on what it takes of a machine, for a dry run; `literals` are counts by split."""


@runtime_checkable
class Serves(Protocol):
    """A stage whose students can write behind servers (runtime.server)."""

    def serves(self, config: Config, round: int | None) -> bool:
        """Whether they do."""


@runtime_checkable
class Learns(Protocol):
    """A stage that trains."""

    def learn(self, context: Context) -> None:
        """Train from the finished rows; weights, curve and facts go to the context."""


@runtime_checkable
class Rates(Protocol):
    """A stage whose training is judged by what its student says on the way."""

    def rates(self, context: Context, answers: list[Joke]) -> dict[str, float]:
        """How often a student's answers to held-out literals tie or beat the teacher's.

        The critic is asked, by the step's own process.
        """


def stage_of(step: Step) -> Stage:
    """The module of a step's stage."""
    return cast(Stage, importlib.import_module(f"pipeline.stages.{spelt(step.stage)}"))
