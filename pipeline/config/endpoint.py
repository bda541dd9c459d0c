"""Where a hosted model answers, and at what price: a section of the configuration."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator

from pipeline.config import secrets
from pipeline.config.section import Section

STANDIN = "standin:"
"""The base_url of the embedded stand-in."""
LOCAL = "local:"
"""The base_url of a model that is loaded here; the cloze critic alone can use one."""


URL = re.compile(r"https?://[!-~]+", re.IGNORECASE)
"""An address in ASCII without a blank, so that it is one line and one word wherever it is shown."""


def _without_secret(url: str) -> str:
    if secrets.PASSWORD.search(url):
        raise ValueError(
            "a password stays out of files: put the key into a variable, and name it in api_key_env"
        )
    if url not in (STANDIN, LOCAL) and not URL.fullmatch(url):
        raise ValueError("write http://HOST/v1 or https://HOST/v1, without blanks or signs beyond")
    if "?" in url or "#" in url:
        raise ValueError(
            "what is asked goes below this address, so it ends before any ? or #; a key stays out "
            "of files: put it into a variable, and name it in api_key_env or extra_headers"
        )
    return url


def _variable(name: str) -> str:
    """The name of a variable, not shown where it is none: it may be the key itself."""
    if not VARIABLE.fullmatch(name) or secrets.looks_like_a_key(name):
        raise ValueError(
            "this is the name of a variable that holds the key (OPENAI_API_KEY), and not the key, "
            "which stays out of files"
        )
    return name


VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")
Variable = Annotated[str, AfterValidator(_variable)]
"""The name of an environment variable."""
Address = Annotated[str, AfterValidator(_without_secret)]
"""A URL without a password or a query in it."""


class Price(Section):
    input: Annotated[float, Field(ge=0)]
    """Money per million prompt tokens."""
    output: Annotated[float, Field(ge=0)]
    """Money per million completion tokens."""
    date: str
    """The day these prices were read, as YYYY-MM-DD."""
    currency: str = "USD"
    """Of all prices of a run, and of runtime.budget."""
    cached_input: Annotated[float, Field(ge=0)] | None = None
    """Money per million prompt tokens that the endpoint says it had cached; None: as the others."""
    batch: Annotated[float, Field(gt=0, le=1)] = 1.0
    """What batch mode multiplies the prices by: 0.5 at OpenAI."""


class Endpoint(Section):
    """Where a hosted model answers: any server that speaks the OpenAI chat-completions protocol."""

    in_no_recipe: ClassVar[frozenset[str]] = frozenset(
        "price api_key_env extra_headers allow_http replicas mode "
        "requests_per_minute tokens_per_minute".split()
    )
    base_url: Address
    """For example https://api.openai.com/v1 or http://127.0.0.1:8000/v1; `standin:` is the embedded
    stand-in, `local:` (cloze critic) loads `model`, a folder or a Hub id, here."""
    model: str
    """The model's name at that server."""
    replicas: list[Address] = []
    """More addresses of the same model. Each takes runtime.concurrency requests at a time; if one
    dies, the others carry on."""
    mode: Literal["live", "batch"] = "live"
    """batch sends whole stages as jobs of OpenAI's Batch API: half the price, an answer within 24
    hours."""
    api_key_env: Variable | None = None
    """Name of the environment variable that holds the key; the key itself is never in a file."""
    extra_headers: dict[str, str] = {}
    """More headers for every request; "$NAME" stands for the value of an environment variable."""
    allow_http: bool = False
    """Send the key over plain http to another machine, for everybody on the way to read; without
    it, http goes with a key to this machine alone."""
    price: Price | None = None
    requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    """The account's limit, for each address. None: as fast as concurrency and 429s allow."""
    tokens_per_minute: Annotated[float, Field(gt=0)] | None = None
    """The account's limit, prompt and completion together, for each address."""
    logprobs: bool = True
    """Ask for the answer token's logprobs (critic and judge); set false where the endpoint refuses
    them."""
    top_logprobs: Annotated[int, Field(ge=1, le=20)] = 5
    """How many tokens' logprobs to ask for, where an endpoint allows fewer than 5."""
    json_schema: bool = False
    """Ask for answers in JSON by a schema (response_format), where the endpoint knows how."""
    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the endpoint calls the limit; OpenAI's reasoning models want max_completion_tokens."""
    omit: list[str] = []
    """Keys that are left out of every request, such as temperature, top_p and seed for reasoning
    models."""
    extra_body: dict[str, JsonValue] = {}
    """More keys for every request, as the endpoint documents them."""

    @property
    def free(self) -> bool:
        """Whether nobody is paid for its answers."""
        return self.base_url == STANDIN

    @property
    def may_be_silent(self) -> bool:
        """Whether an answer without a word is one, and no failure of a server's."""
        return False

    @model_validator(mode="after")
    def batches_are_of_a_server(self) -> "Endpoint":
        if self.mode == "batch" and (self.replicas or self.base_url in (STANDIN, LOCAL)):
            raise ValueError(
                'mode = "batch" goes with one server that has the Batch API, without replicas'
            )
        return self

    @field_validator("extra_headers")
    @classmethod
    def no_key_in_a_file(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if value.startswith("$"):
                _variable(value[1:])
            elif secrets.header(name, value):
                raise ValueError(
                    f'{name} holds a secret, which stays out of files: {name} = "$VARIABLE"'
                )
        return headers

    @field_validator("extra_body")
    @classmethod
    def no_key_in_a_body(cls, body: dict[str, JsonValue]) -> dict[str, JsonValue]:
        name = secrets.in_body(body)
        if name is not None:
            raise ValueError(
                f"{name} holds a secret, which stays out of files, and every request is kept in "
                "one: send it in a header, extra_headers, with the name of its variable"
            )
        return body


class ServedStudent(Endpoint):
    """A run's student behind servers of its own (pipeline/serving/servers.py).

    No configuration has one.
    """

    weights: str
    """Hash of what it is made of, by which its answers are known, wherever it is served."""

    @property
    def free(self) -> bool:
        return True

    @property
    def may_be_silent(self) -> bool:
        return True
