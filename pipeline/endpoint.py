"""Where a hosted model answers, and at what price: a section of the configuration."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

STANDIN = "standin:"
"""The base_url of the embedded stand-in."""
LOCAL = "local:"
"""The base_url of a model that is loaded here; the cloze critic alone can use one."""


def _without_password(url: str) -> str:
    if "@" in url.partition("//")[2].partition("/")[0]:
        raise ValueError("a password stays out of files: put the key into a variable, and name it in api_key_env")
    return url


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Price(Section):
    input: Annotated[float, Field(ge=0)]
    """Money per million prompt tokens."""
    output: Annotated[float, Field(ge=0)]
    """Money per million completion tokens."""
    date: str
    """The day these prices were read, as YYYY-MM-DD."""
    currency: str = "USD"
    """Of all prices of a run, and of runtime.budget."""


class Endpoint(Section):
    """Where a hosted model answers: any server that speaks the OpenAI chat-completions protocol."""

    base_url: Annotated[str, AfterValidator(_without_password)]
    """For example https://api.openai.com/v1 or http://127.0.0.1:8000/v1; `standin:` is the embedded stand-in,
    `local:` (cloze critic) loads `model`, a folder or a Hub id, here."""
    model: str
    """The model's name at that server."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; the key itself is never in a file."""
    price: Price | None = None
    logprobs: bool = True
    """Ask for the answer token's logprobs (critic and judge); set false where the endpoint refuses them."""
    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the endpoint calls the limit; OpenAI's reasoning models want max_completion_tokens."""
    extra_body: dict[str, JsonValue] = {}
    """More keys for every request, as the endpoint documents them."""
