"""Who writes for a step: students that are loaded here, one after another, or behind servers."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline import prompts
from pipeline.config.endpoint import ServedStudent
from pipeline.config.student import Generation
from pipeline.errors import EndpointError
from pipeline.execution.context import Context, Unanswered
from pipeline.models import casting, generation, student
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
            model = student.load(context.config, weights)
            return generation.write_jokes(writing, model, tokenizer, tasks, settings)
        endpoint = self._servers.endpoint(weights)
        fitting = generation.fitting(writing, tokenizer, tasks, settings)
        return self._told(_asked(context, endpoint, fitting, settings, drop_cut))

    def _told(self, jokes: Iterator[Joke]) -> Iterator[Joke]:
        """The same; EndpointError, with what the servers said last, where nobody answers."""
        try:
            yield from jokes
        except EndpointError as error:
            time.sleep(A_MOMENT)
            why = self._servers.ended() if self._servers else ""
            raise EndpointError(f"{error}\n{why}".rstrip()) from None


def _asked(
    context: Context,
    endpoint: ServedStudent,
    tasks: Sequence[Task],
    settings: Generation,
    drop_cut: bool,
) -> Iterator[Joke]:
    """One Joke per task by a student behind servers."""
    requests = ((task, _body(task, settings, context.config.seed)) for task in tasks)
    k = max((task.number for task in tasks), default=0) + 1
    alike = Alike(str(context.step), settings, k, "runtime.server.extra_body")
    name = f"{context.step}, served by {1 + len(endpoint.replicas)}"
    with Progress(name, len(tasks), "calls") as progress:
        for task, answer in context.door(progress).ask(endpoint, requests):
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
