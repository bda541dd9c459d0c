"""What servers are told while they run: an adapter; and asked: what they make of a prompt."""

import http.client
import json
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline import prompts
from pipeline.config.whole import Config
from pipeline.errors import EndpointError
from pipeline.llm.identity import is_this_machine
from pipeline.models import student, student_prompt
from pipeline.serving.process import here

LOADED = "already"
"""What vLLM says, among others, of an adapter that it has."""
LONGEST = 300.0
"""Seconds that a server may take to load an adapter."""


def load(url: str, name: str, adapter: Path) -> None:
    """OSError where the server does not have the adapter from now on."""
    try:
        _told(url, {"lora_name": name, "lora_path": str(adapter.resolve())}).close()
    except urllib.error.HTTPError as error:
        text = error.read(2000).decode("utf-8", "replace")
        if LOADED not in text:
            raise OSError(f"{error.code} {text}") from None


def unload(url: str, name: str) -> None:
    """It is no error where the server has let go of the adapter before, or is gone."""
    with suppress(OSError, http.client.HTTPException):
        _told(url, {"lora_name": name}).close()


def _told(url: str, body: dict[str, Any]) -> Any:
    """What the server answers to a body; OSError where it does not."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    if is_this_machine(url):
        return here(request, LONGEST)
    return urllib.request.urlopen(request, timeout=LONGEST)


def check_prompt(url: str, model: str, config: Config) -> None:
    """EndpointError where a server elsewhere gives the student other tokens than its training.

    Its chat template, or the day that it is told, may be another than the run's.
    """
    tokenizer: Any = student.load_tokenizer(config)
    words = prompts.render("student", literal="The kettle is on.")
    body = {"model": model, "messages": [{"role": "user", "content": words}]}
    place = f"{url.rstrip('/').removesuffix('/v1')}/tokenize"
    try:
        with _told(place, body) as response:
            tokens = json.load(response)["tokens"]
    except (OSError, ValueError, KeyError) as error:
        print(f"{place}: the prompt cannot be compared: {said(error)}", file=sys.stderr)
        return
    own = tokenizer(student_prompt.prompt(tokenizer, "The kettle is on."))["input_ids"]
    if tokens != own:
        raise EndpointError(
            f"{url} gives the student another prompt than its training did. Start it on a folder "
            "of this program's: humor-distill export --run RUN --contestant base FOLDER"
        )


def said(error: Exception) -> str:
    return " ".join(str(error).split())
