"""[runtime.server]: servers behind which a run's students write, step after step."""

import shlex
from typing import Annotated, ClassVar

from pydantic import Field, JsonValue, field_validator, model_validator

from pipeline.config.endpoint import Address
from pipeline.config.section import Positive, Section

ADAPTERS = "--enable-lora"
"""A word of vLLM's command by which it takes adapters while it runs."""


class Server(Section):
    """vLLM, or another server of the OpenAI protocol, that steps start, or that runs elsewhere."""

    own_file_only: ClassVar[frozenset[str]] = frozenset({"command"})
    command: str | None = None
    """What starts one: vllm serve {model} --port {port} --host 127.0.0.1, with the student's folder
    and a port in the places of {model} and {port}. With --enable-lora (and --max-lora-rank, where
    student.lora.r is above 16) the start is served once, and each round's adapter loaded beside it.
    No run keeps it: it counts in one's own file or flag alone."""
    urls: list[Address] = []
    """Or the addresses of vLLM servers that run elsewhere, with the student's start, --enable-lora
    and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, and see the run's folder: adapters are loaded into
    each."""
    replicas: Positive = 1
    """How many the command starts; requests go where there is most room."""
    gpus: Annotated[int, Field(ge=0)] = 0
    """GPUs of each, which it alone sees (CUDA_VISIBLE_DEVICES). 0: it sees what this program
    does."""
    patience: Annotated[float, Field(gt=0)] = 900.0
    """Seconds that one may take to answer once it is started."""
    extra_body: dict[str, JsonValue] = {}
    """More keys for every request, as the server documents them."""
    omit: list[str] = []
    """Keys that are left out of every request: transformers serve refuses top_k and min_p."""

    @field_validator("command")
    @classmethod
    def names_both(cls, command: str | None) -> str | None:
        if command is not None and not {"{model}", "{port}"} <= set(_places(command)):
            raise ValueError(
                "it names {model} and {port}: vllm serve {model} --port {port} --host 127.0.0.1"
            )
        return command

    @model_validator(mode="after")
    def one_of_them(self) -> "Server":
        if self.command is not None and self.urls:
            raise ValueError("either command starts the servers, or they run at urls")
        return self

    @property
    def takes_adapters(self) -> bool:
        return bool(self.urls) or ADAPTERS in shlex.split(self.command or "")

    def words(self, model: str, port: int) -> list[str]:
        """The command for one of them; a folder's name stays one word, whatever is in it."""
        filled = []
        for word in shlex.split(self.command or ""):
            filled.append(word.replace("{port}", str(port)).replace("{model}", model))
        return filled


def _places(command: str) -> list[str]:
    return [place for place in ("{model}", "{port}") if place in " ".join(shlex.split(command))]
