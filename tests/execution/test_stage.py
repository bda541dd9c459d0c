"""Every stage has what the executor asks for, and nothing else finds a module by its name."""

import inspect
import re

import pytest

from pipeline import ROUND_STAGES, STAGES, project
from pipeline.execution.stage import (
    Asks,
    Decides,
    Expects,
    Learns,
    OfRound,
    OwnLosses,
    Stage,
    stage_of,
)
from pipeline.runs.step import Step

PROTOCOLS = (Stage, Decides, OwnLosses, Asks, Expects, Learns)


def functions(protocol):
    return {
        name: list(inspect.signature(function).parameters)[1:]
        for name, function in vars(protocol).items()
        if inspect.isfunction(function) and not name.startswith("_")
    }


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_has_what_it_must_have_and_what_it_has_is_as_agreed(name):
    stage = stage_of(Step(name))
    known = {}
    for protocol in PROTOCOLS:
        known |= functions(protocol)
    for function, parameters in known.items():
        if hasattr(stage, function):
            assert list(inspect.signature(getattr(stage, function)).parameters) == parameters
    assert all(hasattr(stage, function) for function in functions(Stage))
    assert isinstance(stage, OfRound) == (name in ROUND_STAGES)


def test_those_that_train_learn():
    learning = {name for name in STAGES if isinstance(stage_of(Step(name)), Learns)}
    assert learning == {"reward-model", "sft", "dpo", "retriever"}


def test_modules_are_found_by_name_in_two_places():
    finding = {
        str(path.relative_to(project.PACKAGE))
        for path in project.PACKAGE.rglob("*.py")
        if re.search(r"import_module|__import__", path.read_text())
    }
    assert finding == {"__main__.py", "execution/stage.py"}
