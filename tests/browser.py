"""A real Chromium without a window, driven by its DevTools protocol."""

import asyncio
import base64
import itertools
import shutil
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

needs_chromium = pytest.mark.skipif(
    not shutil.which("chromium"), reason="chromium is not installed"
)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--remote-debugging-port=0"
).split()
KEYS = {"ArrowLeft": 37, "ArrowRight": 39}


class Tab:
    """One page."""

    def __init__(self, socket) -> None:
        self.socket = socket
        self.numbers = itertools.count(1)

    async def send(self, method: str, **params):
        number = next(self.numbers)
        await self.socket.send_json({"id": number, "method": method, "params": params})
        while True:
            answer = await self.socket.receive_json(timeout=60)
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    async def run(self, script: str):
        """What a script gives."""
        found = await self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, script: str) -> None:
        """Wait for a script to give true."""
        for _ in range(400):
            if await self.run(script):
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"never: {script}")

    async def open(self, address: str) -> None:
        await self.send("Page.enable")
        await self.send("Page.navigate", url=address)
        await self.until("document.readyState === 'complete'")

    async def key(self, key: str) -> None:
        more = {"windowsVirtualKeyCode": KEYS[key]} if key in KEYS else {"text": key}
        await self.send("Input.dispatchKeyEvent", type="keyDown", key=key, **more)
        await self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def look(self, width: int, height: int, dark: bool = False) -> bytes:
        """A PNG of the page at a size."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = "dark" if dark else "light"
        await self.send(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        found = await self.send("Page.captureScreenshot", format="png")
        return base64.b64decode(found["data"])


@asynccontextmanager
async def chromium(profile: Path):
    """A browser with a profile of its own; yields what opens a tab of it."""
    process = subprocess.Popen(
        ["chromium", *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = await _port(profile / "DevToolsActivePort")
        async with aiohttp.ClientSession() as session:
            base = f"http://127.0.0.1:{port}/json"
            sockets = []

            async def tab() -> Tab:
                async with session.put(f"{base}/new?about:blank") as answer:
                    address = (await answer.json())["webSocketDebuggerUrl"]
                socket = await session.ws_connect(address, max_msg_size=0)
                sockets.append(socket)
                return Tab(socket)

            yield tab
            for socket in sockets:
                await socket.close()
    finally:
        process.kill()
        process.wait()


async def _port(path: Path) -> str:
    for _ in range(1000):
        if path.exists() and path.read_text().count("\n"):
            return path.read_text().split("\n")[0]
        await asyncio.sleep(0.02)
    raise AssertionError("chromium did not start")
