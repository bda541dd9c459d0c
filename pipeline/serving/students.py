"""Who writes for a step: students that are loaded here, one after another, or behind servers."""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline import prompts
from pipeline.config.endpoint import ServedStudent
from pipeline.config.server import Server
from pipeline.config.student import Generation
from pipeline.errors import EndpointError
from pipeline.execution.context import Context, Unanswered
from pipeline.llm.answer import Answer
from pipeline.models import casting, generation, student, together
from pipeline.models.generation import Task, Writing
from pipeline.progress import Progress
from pipeline.rows.records import Joke
from pipeline.rows.row import content_id
from pipeline.runs.step import Step
from pipeline.serving.said import Alike, why_none
from pipeline.serving.servers import Servers

A_MOMENT = 0.5
"""Seconds until it is known that a server which answers no more has ended."""


class Students:
    """The students of a step's run, within `with`."""

    def __init__(self, context: Context) -> None:
        self.context = context
        settings = context.config.runtime.server
        self._servers = None if settings is None else Servers(context, settings)
        self._loaded = together.Students(context.config)

    def __enter__(self) -> "Students":
        if self._servers:
            self._servers.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._servers:
            self._servers.__exit__(*error)

    def write(
        self, step: Step | None, tasks: Sequence[Task], settings: Generation, drop_cut: bool = False
    ) -> Iterator[Joke]:
        """One Joke per task by the student that a step trained, None for the untrained one.

        What has no room, or with `drop_cut` came to no end, is left out and counted.
        """
        context = self.context
        weights = student.weights(context.run, step) if step else None
        tokenizer = student.load_tokenizer(context.config)
        casting.tell(context.run, step)
        writing = Writing(
            context.config, str(context.step), context.drop, context.kept(Joke), drop_cut
        )
        if self._servers is None:
            return self._here(writing, weights, tokenizer, tasks, settings)
        endpoint = self._servers.endpoint(weights)
        fitting = generation.fitting(writing, tokenizer, tasks, settings)
        return self._told(_jokes(context, endpoint, fitting, settings, drop_cut))

    def _here(
        self,
        writing: Writing,
        weights: Path | None,
        tokenizer: Any,
        tasks: Sequence[Task],
        settings: Generation,
    ) -> Iterator[Joke]:
        with self._loaded.student(weights) as model:
            yield from generation.write_jokes(writing, model, tokenizer, tasks, settings)

    def _told(self, jokes: Iterator[Joke]) -> Iterator[Joke]:
        """The same; EndpointError, with what the servers said last, where nobody answers."""
        try:
            yield from jokes
        except EndpointError as error:
            time.sleep(A_MOMENT)
            why = self._servers.ended() if self._servers else ""
            raise EndpointError(f"{error}\n{why}".rstrip()) from None


class Elsewhere:
    """A run's students behind servers that run already.

    They are asked in between: by `try`, and while one of them learns.
    """

    def __init__(self, context: Context, settings: Server) -> None:
        self.context = context
        self._servers = Servers(context, settings)

    def endpoint(self, weights: Path | None) -> ServedStudent:
        """Where a student answers; `weights` are an adapter's, None for the untrained one."""
        return self._servers.endpoint(weights)

    def texts(
        self, endpoint: ServedStudent, tasks: Sequence[Task], settings: Generation
    ) -> list[str]:
        """What a student says to each task; nothing where the server refuses it, which is told.

        EndpointError where nobody answers.
        """
        said = []
        for task, answer in _asked(self.context, endpoint, tasks, settings):
            why = why_none(answer, drop_cut=False)
            if why:
                what = answer.error or answer.refusal or why
                if what.startswith("unavailable"):
                    raise EndpointError(f"{endpoint.base_url}: {what}")
                print(f"{self.context.step}: {task.literal.id}: {what}", file=sys.stderr)
            said.append("" if why else (answer.text or "").strip())
        return said

    def texts_once(self, adapter: Path, tasks: Sequence[Task], settings: Generation) -> list[str]:
        """The same of an adapter that is not asked again, and then let go of."""
        endpoint = self._servers.endpoint(adapter, once=True)
        try:
            return self.texts(endpoint, tasks, settings)
        finally:
            self._servers.forget(endpoint)


def elsewhere(context: Context) -> Elsewhere | None:
    """The servers at runtime.server.urls, which take adapters; None where there are none.

    Or where they cannot write as [evaluate] says: by beams, or as an encoder-decoder.
    """
    config = context.config
    settings = config.runtime.server
    if settings is None or not settings.urls or config.student.lora is None:
        return None
    if config.evaluate.num_beams or student.is_encoder_decoder(config):
        return None
    return Elsewhere(context, settings)


def _asked(
    context: Context, endpoint: ServedStudent, tasks: Sequence[Task], settings: Generation
) -> Iterator[tuple[Task, Answer]]:
    """Each task, in order, with what a student behind servers answers."""
    requests = ((task, _body(task, settings, context.config.seed)) for task in tasks)
    name = f"{context.step}, served by {1 + len(endpoint.replicas)}"
    with Progress(name, len(tasks), "calls") as progress:
        yield from context.door(progress).ask(endpoint, requests)


def _jokes(
    context: Context,
    endpoint: ServedStudent,
    tasks: Sequence[Task],
    settings: Generation,
    drop_cut: bool,
) -> Iterator[Joke]:
    """One Joke per task by a student behind servers."""
    k = max((task.number for task in tasks), default=0) + 1
    alike = Alike(str(context.step), settings, k, "runtime.server.extra_body")
    for task, answer in _asked(context, endpoint, tasks, settings):
        why = why_none(answer, drop_cut)
        text = (answer.text or "").strip()
        if why:
            literal = task.literal.id
            context.drop(literal, literal, why, answer.error or answer.refusal or text)
            continue
        alike.note(task.literal.id, text)
        yield generation.joke(task, text, answer.id)
    if context.quarantine.now and not context.accept_failed:
        raise Unanswered  # before anybody takes a missing answer for an empty one


def _body(task: Task, settings: Generation, seed: int) -> dict[str, Any]:
    """A chat-completions request that decodes as the student does here."""
    content = prompts.render("student", literal=task.literal.text)
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": content}],
        "temperature": settings.temperature,
        "max_tokens": settings.max_new_tokens,
    }
    if settings.temperature > 0:
        # said, as servers have defaults of their own
        body["top_p"] = settings.top_p
        body["top_k"] = settings.top_k or 0
        body["min_p"] = settings.min_p or 0.0
        body["seed"] = int(content_id("s", seed, *task.key)[2:9], 16)
    return body
