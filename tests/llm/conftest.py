"""A server that misbehaves on purpose, and a door that does not wait long."""

import asyncio
import threading

import pytest

from tests.bench.server import Connection, Server


def answers_of(door, endpoint, bodies):
    """The answers alone; each is tagged with its request's place, and none with another's."""
    for place, (tag, answer) in enumerate(door.ask(endpoint, enumerate(bodies))):
        assert tag == place
        yield answer


class Running(Server):
    """The bench's server in a thread; `url` is its base_url."""

    def __enter__(self):
        self.loop, ready = asyncio.new_event_loop(), threading.Event()

        async def serve():
            self.http = await self.loop.create_server(lambda: Connection(self), "127.0.0.1", 0)
            self.url = f"http://127.0.0.1:{self.http.sockets[0].getsockname()[1]}/v1"
            ready.set()
            self.stop = asyncio.Event()
            await self.stop.wait()
            self.http.close()

        self.thread = threading.Thread(
            target=self.loop.run_until_complete, args=(serve(),), daemon=True
        )
        self.thread.start()
        ready.wait()
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def server():
    with Running() as running:
        running.reset({"latency_ms": 1.0})
        yield running


@pytest.fixture
def other():
    with Running() as running:
        running.reset({"latency_ms": 1.0})
        yield running


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("pipeline.llm.asking.SHORTEST_WAIT", 0.01)
    monkeypatch.setattr("pipeline.llm.asking.BACKOFF", 0.01)
