"""Chromium without a window, driven by its DevTools protocol.

A test opens a page, reads what it shows and takes pictures of it.
"""

import asyncio
import base64
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import aiohttp

FOLDER = Path(__file__).parent / "node_modules" / ".chromium"
READY_SECONDS = 60.0
ANSWER_SECONDS = 60.0
# Of Latin, Arabic and Chinese: those of the suite's documents, so that every machine draws the same.
FONTS = ("fontpkg_noto_sans", "fontpkg_noto_sans_arabic", "pylopdf_fonts_zh_cn")
FLAGS = (
    "--headless",
    # Its own sandbox needs namespaces, which root and containers do not have. It opens the page of
    # the test and nothing else.
    "--no-sandbox",
    "--no-zygote",
    "--in-process-gpu",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--font-render-hinting=none",
    "--remote-debugging-port=0",
)


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._count = 0
        # Errors of scripts, and what the content security policy refused.
        self.complaints: list[str] = []

    async def open(self, url: str) -> None:
        """Go to an address; its scripts may not have run yet."""
        await self.send("Page.navigate", {"url": url})

    async def evaluate(self, expression: str) -> Any:  # noqa: ANN401 - of the page
        """The value of an expression of JavaScript on the page."""
        answer = await self.send(
            "Runtime.evaluate",
            {"expression": expression, "returnByValue": True, "awaitPromise": True},
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def wait_for(self, expression: str) -> Any:  # noqa: ANN401
        """The value of an expression as soon as it is true."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                if value := await self.evaluate(expression):
                    return value
                await asyncio.sleep(0.05)

    async def texts(self, selector: str) -> list[str]:
        """What the elements that a selector finds say."""
        found: list[str] = await self.evaluate(
            f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.innerText)"
        )
        return found

    async def wait_for_frame(self, words: str) -> str:
        """What the frame within the page says, once it says these words; its scripts are not asked."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                document = await self.send("DOM.getDocument", {"depth": -1, "pierce": True})
                said = _text_within(document["root"], is_framed=False)
                if words in said:
                    return said
                await asyncio.sleep(0.05)

    async def photograph(self, width: int, height: int) -> bytes:
        """A picture of the page, as PNG."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.send("Emulation.setDeviceMetricsOverride", size)
        await self.evaluate("new Promise(done => setTimeout(done, 300))")
        picture = await self.send("Page.captureScreenshot", {"format": "png"})
        return base64.b64decode(picture["data"])

    async def send(self, method: str, parameters: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401
        """Have the browser do something, and wait for its answer."""
        self._count += 1
        await self._socket.send_json(
            {"id": self._count, "method": method, "params": parameters or {}}
        )
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                message = await self._socket.receive_json()
                if message.get("id") == self._count:
                    assert "error" not in message, message["error"]
                    return message["result"]
                self._note(message)

    def _note(self, event: dict[str, Any]) -> None:
        if event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(event["params"]["exceptionDetails"]))
        if event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
            self.complaints.append(event["params"]["entry"]["text"])


def _text_within(node: dict[str, Any], *, is_framed: bool) -> str:
    if node["nodeName"] == "SCRIPT":
        return ""
    text: str = node["nodeValue"] if is_framed and node["nodeName"] == "#text" else ""
    if "contentDocument" in node:
        text += _text_within(node["contentDocument"], is_framed=True)
    return text + "".join(
        _text_within(child, is_framed=is_framed) for child in node.get("children", ())
    )


class Chromium:
    """The process."""

    def __init__(self, folder: Path, http: aiohttp.ClientSession) -> None:
        self._folder = folder
        self._http = http
        self._process: asyncio.subprocess.Process | None = None
        self._address = ""

    async def start(self) -> None:
        """Start it, with a profile of its own; a browser that is not there fails the test."""
        program = FOLDER / "chromium"
        assert program.is_file(), "the browser is missing: run `make setup`"
        directories = "".join(f"<dir>{resources.files(font)}</dir>" for font in FONTS)
        fonts = self._folder / "fonts.conf"
        fonts.write_text(
            '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">'
            f"<fontconfig>{directories}<cachedir>{self._folder}/fonts</cachedir></fontconfig>"
        )
        self._process = await asyncio.create_subprocess_exec(
            program,
            *FLAGS,
            f"--user-data-dir={self._folder}/profile",
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self._folder),
                "LD_LIBRARY_PATH": str(FOLDER / "lib"),
                "FONTCONFIG_FILE": str(fonts),
            },
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._process.stderr is not None
        async with asyncio.timeout(READY_SECONDS):
            while b"DevTools listening on" not in (line := await self._process.stderr.readline()):
                assert line, "the browser ended before it listened"
        self._address = line.decode().split("ws://")[1].split("/")[0]
        self._drained = asyncio.create_task(self._process.stderr.read())

    async def new_page(self) -> Page:
        """Open a tab."""
        async with self._http.put(f"http://{self._address}/json/new?about:blank") as answer:
            target = await answer.json(content_type=None)
        socket = await self._http.ws_connect(
            target["webSocketDebuggerUrl"], max_msg_size=64 * 1024 * 1024
        )
        page = Page(socket)
        for domain in ("Page", "Runtime", "Log"):
            await page.send(f"{domain}.enable")
        return page

    async def close(self) -> None:
        """End it."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            try:
                async with asyncio.timeout(10):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
            await self._drained
