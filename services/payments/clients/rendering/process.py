"""The process that renders documents: it may take its time, and no charge waits for it."""

import asyncio
import base64
import json
import struct
import sys
from asyncio.subprocess import PIPE, Process
from types import TracebackType
from typing import Self

import grpc

from services.runtime.errors import Problem

WORKER = "services.payments.clients.rendering.worker"
# A page takes hundredths of a second; the first one also has the fonts read.
RENDER_TIMEOUT_SECONDS = 20.0
FILE_MAX_BYTES = 2 * 1024**2
# Calls that wait for their turn; more are asked to come again.
WAITING_MAX = 64
# A length, before each request and each answer.
LENGTH = struct.Struct(">I")


class DocumentRenderer:
    """Renders one document at a time, in a process that begins with the first and ends with this."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self._end()

    async def render(
        self, stored: bytes, sha256: str, file_format: str, language_code: str, logo: bytes
    ) -> bytes:
        """A stored document as a file.

        Raises UNAVAILABLE DEPENDENCY_UNAVAILABLE if it takes too long.
        """
        if self._waiting >= WAITING_MAX:
            raise _unavailable("too many documents are being rendered; try again")
        request = json.dumps(
            {
                "document": stored.decode(),
                "sha256": sha256,
                "format": file_format,
                "language_code": language_code,
                "logo": base64.b64encode(logo).decode(),
            }
        ).encode()
        self._waiting += 1
        try:
            async with self._turn, asyncio.timeout(RENDER_TIMEOUT_SECONDS):
                return await self._ask(request)
        except (TimeoutError, OSError, EOFError) as error:
            raise _unavailable("the document could not be rendered; try again") from error
        finally:
            self._waiting -= 1

    async def _ask(self, request: bytes) -> bytes:
        """The answer to a request. What breaks off has the process end: its pipe is out of step."""
        try:
            process = await self._running()
            assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018
            process.stdin.write(LENGTH.pack(len(request)) + request)
            await process.stdin.drain()
            (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
            return await process.stdout.readexactly(length)
        except BaseException:
            await self._end()
            raise

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", WORKER, stdin=PIPE, stdout=PIPE
            )
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.kill()
        await asyncio.shield(process.wait())


def _unavailable(message: str) -> Problem:
    return Problem(grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE", message)
