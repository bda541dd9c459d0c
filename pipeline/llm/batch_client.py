"""What the Batch API itself is asked: files up, jobs made and looked at, answers down.

Each with as many attempts as the runtime section allows.
"""

import json
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.config.endpoint import Endpoint
from pipeline.config.runtime import Runtime
from pipeline.errors import EndpointError
from pipeline.llm import client
from pipeline.llm.client import MOST_BYTES
from pipeline.llm.faults import Busy, Gone, Retry, by_status
from pipeline.llm.hosts import pause
from pipeline.llm.identity import Identity
from pipeline.llm.jobs import URL

PATIENCE = 900.0
"""Seconds for which the API may answer nothing but 429."""
BACKOFF = 1.0
"""Seconds before a second attempt to reach the API; they double up to a minute."""
FILE_TIMEOUT = 900.0
"""Seconds that a file may take on its way."""
NAME = "humor-distill"
"""The key of a job's metadata that holds our name for it."""


FROM_ENVIRONMENT = ("OPENAI_CUSTOM_HEADERS", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID")
"""Variables that the package sends to every server, whoever it is."""
ID = re.compile(r"[\w.:/-]{1,200}", re.ASCII)
"""What an id of a job is made of."""


@contextmanager
def _without(variables: Iterable[str]) -> Iterator[None]:
    """Within, the environment has none of these."""
    before = {name: os.environ.pop(name) for name in variables if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


class Missing(Exception):
    """What was there is not: a file or a job that the endpoint has forgotten."""


class BatchClient:
    """One endpoint's Batch API, inside a loop.

    All that ask it raise Missing where it answers 404, EndpointError where no attempt succeeds, and
    Halted where the caller has gone meanwhile.
    """

    def __init__(self, endpoint: Endpoint, runtime: Runtime, halted: Callable[[], bool]) -> None:
        import openai

        self.endpoint = endpoint
        self.runtime = runtime
        self._halted = halted
        self._identity = Identity(endpoint)
        with _without(FROM_ENVIRONMENT):
            self._api = self._client(openai)

    def _client(self, openai: Any) -> Any:
        """The package's client, which shows nothing but our headers."""
        endpoint = self.endpoint
        return openai.AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key="none",
            organization="",
            project="",
            default_headers=self._identity.headers,
            max_retries=0,
            timeout=max(self.runtime.timeout, FILE_TIMEOUT),
            http_client=openai.DefaultAioHttpClient(
                follow_redirects=False,
                trust_env=False,
                proxy=client.proxy(endpoint.base_url, self._identity.has_secrets),
                verify=client.certificates(endpoint.base_url),
            ),
        )

    async def send(self, path: Path, name: str) -> str:
        """Upload a file and make a job of it; returns the job's id.

        A second attempt first looks whether the first one made it.
        """
        uploaded = await self._tried(lambda: self._api.files.create(file=path, purpose="batch"))
        sent = self._id_of(uploaded)
        tried = False

        async def make() -> Any:
            nonlocal tried
            made = None
            if tried:
                made = await self._named(name)
            tried = True
            return made or await self._api.batches.create(
                input_file_id=sent,
                endpoint=URL,
                completion_window="24h",
                metadata={NAME: name},
            )

        made = await self._tried(make)
        return self._id_of(made)

    def _id_of(self, made: Any) -> str:
        """The id of a job or file, a word; EndpointError where it is none, or the key is in it."""
        identity = getattr(made, "id", None)
        if not isinstance(identity, str) or not ID.fullmatch(self._identity.hidden_text(identity)):
            raise EndpointError(
                f"{self.endpoint.base_url} gave a batch, or its file, no id that can be used. Look "
                "at the server before you run the same command again: a batch may be paid for."
            )
        return identity

    async def named(self, name: str) -> str | None:
        """The id of the job with our name, if there is one."""
        job = await self._tried(lambda: self._named(name))
        return None if job is None else self._id_of(job)

    async def _named(self, name: str) -> Any:
        async for job in self._api.batches.list(limit=100):
            if (job.metadata or {}).get(NAME) == name:
                return job
        return None

    def shown(self, text: str) -> str:
        """What is said of a failure, without the secrets that a server may repeat."""
        return self._identity.hidden_text(text)

    def why(self, job: Any) -> str:
        """What the endpoint says of a job that failed."""
        why = ""
        if job.errors:
            errors = job.errors.data or []
            why = "; ".join(f"{error.code}: {error.message}" for error in errors)
        return self._identity.hidden_text(why) or "it does not say why"

    async def job(self, identity: str) -> Any:
        """A job as it is now."""
        return await self._tried(lambda: self._api.batches.retrieve(identity))

    async def read(self, file: str, take: Callable[[bytes], None]) -> None:
        """Give each line of a file to `take`; after a broken download, all of them once more.

        A line ends in a newline alone: others may stand in an answer. One that is longer than any
        answer is given by its beginning.
        """

        async def download() -> None:
            rest = b""
            async with self._api.files.with_streaming_response.content(file) as response:
                async for part in response.iter_bytes():
                    *lines, rest = (rest + part).split(b"\n")
                    rest = rest[:MOST_BYTES]
                    for line in lines:
                        take(self._identity.hidden_in_answer(line))
            take(self._identity.hidden_in_answer(rest))

        await self._tried(download)

    async def close(self) -> None:
        await self._api.close()

    async def _tried(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """What the API answers, after as many attempts as the runtime section allows."""
        import httpx2
        import openai

        attempt = 0
        began = time.monotonic()
        while True:
            try:
                return await ask()
            except openai.APIStatusError as error:
                if error.status_code == 404:
                    why = self._identity.hidden_text(error.message)
                    raise Missing(f"{error.request.url} is not there: {why}") from None
                wait = error.response.headers.get("retry-after")
                body = json.dumps({"error": error.body}).encode()
                fault = self.fault(error.status_code, wait, body)
            except (openai.APIConnectionError, httpx2.HTTPError) as error:
                fault = Gone(type(error.__cause__ or error).__name__)
            if not isinstance(fault, Busy):
                attempt += 1
            late = attempt > self.runtime.retries or time.monotonic() - began > PATIENCE
            if not isinstance(fault, Retry) or late:
                raise self._given_up(fault)
            seconds = fault.wait
            if seconds is None:
                seconds = BACKOFF * 2**attempt
            await pause(max(BACKOFF, min(60.0, seconds)), self._halted)

    def _given_up(self, fault: Exception) -> EndpointError:
        """The last attempt's fault as the person's error."""
        if isinstance(fault, EndpointError):
            return fault
        return EndpointError(
            f"{self.endpoint.base_url} takes no batch: {fault}\n"
            "Run the same command again later; jobs that are there go on, and no answer is lost."
        )

    def fault(self, status: int, wait: str | None, body: bytes) -> Exception:
        """What a status other than 200 means, of the API or of a request in a job."""
        url = self.endpoint.base_url
        hidden = self._identity.hidden(body)
        return by_status(self.endpoint, url, status, wait, hidden, time.time())


def answer_line(line: bytes) -> dict[str, Any]:
    """A line of a job's file; empty where it is none, so that its request stays unanswered."""
    try:
        answered = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(answered, dict) or not isinstance(answered.get("custom_id"), str):
        return {}
    return answered


def response_of(line: dict[str, Any]) -> tuple[int, str]:
    """The status and the body of a line's response; Retry where it has none."""
    response = line.get("response")
    if not isinstance(response, dict):
        error = line.get("error")
        why = error.get("message") if isinstance(error, dict) else error
        raise Retry(str(why or "the line has no response"))
    status = response.get("status_code")
    if isinstance(status, bool) or not isinstance(status, int) or "body" not in response:
        raise Retry("the line's response has no status_code, or no body")
    return status, json.dumps(response["body"])
