"""The lines of a job's file: each is an answer to keep, or a request that may go again."""

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from pipeline.config.endpoint import Endpoint
from pipeline.config.runtime import Runtime
from pipeline.errors import BudgetError, EndpointError
from pipeline.llm.account import Account, Payer
from pipeline.llm.answer import parse
from pipeline.llm.batch_client import BatchClient, response_of
from pipeline.llm.faults import Carried, Refused, Retry, Unusable
from pipeline.llm.jobs import Job, Jobs, Request


class Lines:
    """What has become of the lines that were read, inside a loop."""

    def __init__(self, runtime: Runtime, account: Account, client: BatchClient, jobs: Jobs) -> None:
        self.runtime = runtime
        self.account = account
        self.client = client
        self.jobs = jobs
        self.broken: EndpointError | None = None
        """Of one line: no request can succeed before a person has mended something."""
        self.failed: dict[str, Refused | Retry] = {}
        """By key, why a request is not sent again."""
        self.attempts: dict[str, list[dict[str, Any]]] = {}
        """By key, those that failed."""
        self._tries: Counter[str] = Counter()

    def take(
        self, line: dict[str, Any], request: str, job: Job, endpoint: Endpoint
    ) -> list[Request]:
        """Read a line, once over all starts and processes; the request, if it may go again."""
        if not self.jobs.take(job.name, line["custom_id"]):
            return []
        try:
            return self._read(line, request, job, endpoint)
        except BudgetError:  # it is kept all the same
            raise
        except BaseException:
            self.account.cache.roll_back()
            raise

    def _read(
        self, line: dict[str, Any], request: str, job: Job, endpoint: Endpoint
    ) -> list[Request]:
        """Keep one line's answer; else the request, if it is worth another job."""
        key = line["custom_id"]
        payer = Payer(job.run, job.step)
        asked = endpoint.model_copy(update={"model": str(json.loads(request).get("model"))})
        identity = str(job.id)
        raw = ""
        try:
            status, raw = response_of(line)
            if status != 200:
                raise self.client.fault(status, None, raw.encode())
            try:
                _, usage = parse(key, raw)
            except Carried as error:
                raise self.client.fault(error.status, None, raw.encode()) from None
            except Unusable as error:
                raise Unusable(self.client.shown(str(error)), error.usage) from None
        except EndpointError as error:  # of one line: the others are paid for, and taken first
            self.broken = error
            return self.again(key, request, identity, Retry(str(error)))
        except (Refused, Retry) as error:
            if isinstance(error, Unusable):
                self.account.waste(key, request, raw, error.usage, 0.0, payer, asked)
            return self.again(key, request, identity, error)
        self.account.keep(key, request, raw, usage, 0.0, payer, asked)
        return []

    def again(self, key: str, request: str, job: str, error: Refused | Retry) -> list[Request]:
        """Note an attempt that failed; the request, if it may be sent again."""
        attempt = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "address": f"{self.account.endpoint.base_url} {job}",
            "error": str(error),
            "seconds": None,
        }
        self.attempts.setdefault(key, []).append(attempt)
        self._tries[key] += 1
        if isinstance(error, Retry) and self._tries[key] <= self.runtime.retries:
            return [(key, request)]
        self.failed[key] = error
        attempt["request"] = json.loads(request)
        return []
