"""What every section of a configuration is made of."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from pipeline.config import secrets

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Dtype = Literal["float32", "bfloat16", "float16", "auto"]


def _of_a_prompt(name: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(f"{name!r} is no name of a file of prompts/ without .j2")
    return name


PromptName = Annotated[str, AfterValidator(_of_a_prompt)]
"""Of a file in prompts/, without its .j2: a name, no path."""


class Section(BaseModel):
    """A table of the configuration, every key known; the strings under its keys document them."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    in_no_recipe: ClassVar[frozenset[str]] = frozenset()
    """Its keys that change neither an answer nor a weight."""
    own_file_only: ClassVar[frozenset[str]] = frozenset()
    """Its keys that let code run that comes with somebody's files: they count in the person's own
    file or flag, and never in the configuration that lies in a run."""


def _without_token(table: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if "hub_token" in table:
        raise ValueError(
            "hub_token stays out of files: hf auth login, or the environment variable HF_TOKEN"
        )
    name = secrets.in_body(table)
    if name is not None:
        raise ValueError(f"{name} holds a secret, which stays out of files")
    for key in table:
        if key == "trust_remote_code" or key.endswith("init_kwargs"):
            raise ValueError(f"{key} is of no use here: models are loaded by [student] and others")
    return table


Trainer = Annotated[dict[str, JsonValue], AfterValidator(_without_token)]
"""A table that goes whole to a trainer's arguments."""
