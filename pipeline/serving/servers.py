"""Servers of a run's students, by [runtime.server]: started, told of adapters, and ended.

Full weights are served from a folder of their own, and the servers started again for each student.
With adapters the start is served once, and each student's adapter loaded into every server beside
it, under a name that holds the hash of its weights: vLLM keeps what it has read of a prompt under
the adapter's name (vLLM #42125).
"""

import hashlib
import json
import secrets
import shutil
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pipeline.config.endpoint import ServedStudent
from pipeline.config.server import Server as Settings
from pipeline.config.whole import Config
from pipeline.errors import ConfigError, EndpointError
from pipeline.execution.attempts import held
from pipeline.execution.context import Context
from pipeline.execution.programs import ENVIRONMENT, require
from pipeline.execution.stage import Serves, stage_of
from pipeline.models import student
from pipeline.runs.files import PROGRAMS, read_json, write_json
from pipeline.runs.hashes import folder_hash, student_folder
from pipeline.runs.step import Step
from pipeline.serving import elsewhere, folder
from pipeline.serving.process import Server, free_ports

UPDATES = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}


def check(config: Config, steps: Iterable[Step]) -> None:
    """ConfigError where one of the steps needs servers that cannot be had."""
    settings = config.runtime.server
    served = [step for step in steps if _is_served(config, step)]
    if settings is None or not served:
        return
    if settings.urls:
        if config.student.lora is None:
            raise ConfigError(
                "runtime.server.urls: a server that runs elsewhere has the weights that it was "
                "started with, and takes adapters alone. Set student.lora, or "
                "runtime.server.command, which starts one for each student."
            )
    elif settings.command is None:
        raise ConfigError(
            f"{served[0]}: [runtime.server] has neither urls nor a command, which no run keeps: "
            "give it by --config FILE, or --set runtime.server.command='vllm serve {model} --port "
            "{port} --host 127.0.0.1'"
        )
    else:
        require(settings.words("", 0), "runtime.server.command")
    if student.is_encoder_decoder(config):
        raise ConfigError(
            "runtime.server: servers of the OpenAI chat protocol serve decoder-only students, and "
            f"student.model = {config.student.model!r} is an encoder-decoder."
        )
    for name in ("sample", "evaluate"):
        if getattr(config, name).num_beams:
            raise ConfigError(
                f"{name}.num_beams is no key of the OpenAI protocol: leave it out where the "
                "student is served (runtime.server)"
            )


def _is_served(config: Config, step: Step) -> bool:
    stage = stage_of(step)
    return isinstance(stage, Serves) and stage.serves(config, step.round)


class Servers:
    """Those of one step, within `with`; they hold its lock, so that no other attempt meets them."""

    def __init__(self, context: Context, settings: Settings) -> None:
        self.context = context
        self.settings = settings
        self.place = context.folder / PROGRAMS
        self._open = ExitStack()
        self._running = ExitStack()
        self._servers: list[Server] = []
        self._served = ""
        """What the servers that run now were started with."""
        self._digest = ""
        """And the hash of it."""
        self._urls: list[str] = list(settings.urls)

    def __enter__(self) -> "Servers":
        if self.settings.command:
            self._lock = self._open.enter_context(held(self.context.folder))
        return self

    def __exit__(self, *error: Any) -> None:
        self._end()
        self._open.close()

    def endpoint(self, weights: Path | None, once: bool = False) -> ServedStudent:
        """Where a student answers, from now on; `weights` are a step's, None for the untrained one.

        With `once` an adapter has a name of its own, for `forget` takes it from nobody else then.
        EndpointError where no server answers.
        """
        adapter = None
        if weights is not None and self.settings.takes_adapters and student.is_adapter(weights):
            adapter = weights
        self._serve(None if adapter else weights)
        name = self.context.config.student.model
        if self.settings.command:
            name = str(self._folder)
        digest = self._digest
        urls = self._urls
        if adapter:
            digest = _joined(digest, folder_hash(adapter) or "")
            name = f"student-{digest[:16]}"
            if once:
                name += f"-{secrets.token_hex(4)}"
            urls = self._load(name, adapter)
        return ServedStudent(
            base_url=urls[0],
            replicas=urls[1:],
            model=name,
            weights=digest,
            extra_body=self._extra_body(),
            omit=self.settings.omit,
        )

    def forget(self, endpoint: ServedStudent) -> None:
        """Have the servers let go of an adapter that is asked nothing more."""
        for url in self._urls:
            elsewhere.unload(f"{url}/unload_lora_adapter", endpoint.model)

    def _extra_body(self) -> dict[str, Any]:
        """Keys of every request; a server elsewhere may have a penalty for its default."""
        if not self.settings.urls:
            return self.settings.extra_body
        return {"repetition_penalty": 1.0, **self.settings.extra_body}

    def ended(self) -> str:
        """What the servers said that have ended by themselves; nothing where none has."""
        ends = [server.ended() for server in self._servers]
        return "\n".join(end for end in ends if end)

    @property
    def _folder(self) -> Path:
        return (self.place / "student").resolve()

    def _serve(self, weights: Path | None) -> None:
        """Have the servers of these weights run; those of others end first."""
        wanted = str(weights)
        if self._served == wanted:
            return
        config = self.context.config
        if self.settings.urls:
            made = json.dumps(config.student.model_dump(mode="json"), sort_keys=True)
            self._digest = _joined(made, folder_hash(student_folder(config)) or "")
            if not self._served:
                for url in self.settings.urls:
                    elsewhere.check_prompt(url, config.student.model, config)
            self._served = wanted
            return
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)
        dtype = str(student.inference_dtype(config)).removeprefix("torch.")
        in_dtype = config.student.model_copy(update={"dtype": dtype})
        folder.write(config.model_copy(update={"student": in_dtype}), weights, self._folder)
        self._digest = _digest(self._folder)
        self._start()
        self._served = wanted

    def _start(self) -> None:
        """Start the replicas, all at once, and wait for each."""
        more = dict(UPDATES) if self.settings.takes_adapters else {}
        for number, port in enumerate(free_ports(self.settings.replicas)):
            gpus = gpus_of(self.settings, number)
            if gpus:
                more["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
            command = self.settings.words(str(self._folder), port)
            log = self.place / f"server-{number}.log"
            server = Server(command, port, log, more, self._lock)
            self._servers.append(self._running.enter_context(server))
        for server in self._servers:
            server.wait(self.settings.patience, str(self.context.step))
        self._urls = [server.url for server in self._servers]

    def _end(self) -> None:
        """End the servers, all at once."""
        for server in self._servers:
            server.end()
        self._running.close()
        self._servers = []

    def _load(self, name: str, adapter: Path) -> list[str]:
        """The addresses that have the adapter; EndpointError where there is none."""
        loaded = []
        failed = []
        for url in self._urls:
            try:
                elsewhere.load(f"{url}/load_lora_adapter", name, adapter)
            except OSError as error:
                failed.append(f"{url} does not load the adapter {adapter}: {elsewhere.said(error)}")
            else:
                loaded.append(url)
        if loaded:
            for line in failed:
                print(f"{self.context.step}: {line}", file=sys.stderr)
        else:
            why = "\n".join(failed)
            raise EndpointError(
                f"{why}\nvLLM takes adapters while it runs with --enable-lora, "
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, and --max-lora-rank at least student.lora.r."
            )
        return loaded


def gpus_of(settings: Settings, number: int) -> list[str]:
    """The GPUs of a replica, among those that this program was given; ConfigError for too few."""
    first = number * settings.gpus
    last = first + settings.gpus
    given = ENVIRONMENT.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return [str(place) for place in range(first, last)]
    visible = given.split(",")
    if last > len(visible):
        raise ConfigError(
            f"runtime.server: {settings.replicas} replicas of {settings.gpus} GPUs each, and "
            f"CUDA_VISIBLE_DEVICES = {given}."
        )
    return visible[first:last]


def _digest(folder: Path) -> str:
    """Hash of what a folder's student is, whichever version of transformers wrote it."""
    for name in ("config.json", "generation_config.json"):
        settings: Any = read_json(folder / name)
        if settings:
            settings.pop("transformers_version", None)
            write_json(folder / name, settings)
    return folder_hash(folder) or ""


def _joined(*parts: Any) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
