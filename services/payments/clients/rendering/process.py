"""The processes that render documents: they may take their time, and no charge waits for it."""

import asyncio
import base64
import hashlib
import json
import logging
import os
import struct
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from subprocess import PIPE, Popen
from threading import Lock
from types import TracebackType
from typing import IO, Any, Self

import grpc

from services.payments.domain.buyers import Buyer, dump_buyer
from services.payments.domain.documents import Seller
from services.runtime.errors import Problem

log = logging.getLogger(__name__)

WORKER = "services.payments.clients.rendering.worker"
# A page takes hundredths of a second; the first one also has the fonts read.
RENDER_TIMEOUT_SECONDS = 20.0
FILE_MAX_BYTES = 2 * 1024**2
# Calls that wait for their turn; more are asked to come again.
WAITING_MAX = 64
# Each takes 100 MB.
PROCESSES_MAX = 8
# What a process needs to begin; it is shown no secret of the service.
_ENVIRONMENT = (
    "HOME",
    "LANG",
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHONPATH",
    "PYTHONUTF8",
    "PYTHONTZPATH",
)
# A length, before each request and each answer.
LENGTH = struct.Struct(">I")


class DocumentRenderer:
    """Renders a document in each process at a time; they begin with the first and end with this."""

    def __init__(self, processes: int = 1) -> None:
        self._idle: asyncio.LifoQueue[_Worker] = asyncio.LifoQueue()
        self._workers = [_Worker() for _ in range(processes)]
        for worker in self._workers:
            self._idle.put_nowait(worker)
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="documents")
        self._waiting = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.end()

    async def render(
        self,
        stored: bytes,
        sha256: str,
        file_format: str,
        language_code: str,
        logo: bytes,
        buyer: Buyer | None = None,
    ) -> bytes:
        """A stored document as a file.

        Raises UNAVAILABLE DEPENDENCY_UNAVAILABLE if it takes too long.
        """
        return await self._rendered(
            {
                "document": stored.decode(),
                "sha256": sha256,
                "format": file_format,
                "language_code": language_code,
                "logo": base64.b64encode(logo).decode(),
                "buyer": None if buyer is None else dump_buyer(buyer),
            }
        )

    async def render_statement(
        self,
        statement: bytes,
        seller: Seller,
        footer: str,
        file_format: str,
        language_code: str,
        logo: bytes,
    ) -> bytes:
        """A statement (`dump_statement`) as a file. Raises as `render`."""
        return await self._rendered(
            {
                "statement": statement.decode(),
                "seller": [seller.name, seller.address_lines, seller.tax_id, seller.logo_sha256],
                "footer": footer,
                "sha256": hashlib.sha256(statement).hexdigest(),
                "format": file_format,
                "language_code": language_code,
                "logo": base64.b64encode(logo).decode(),
            }
        )

    async def _rendered(self, asked: Mapping[str, Any]) -> bytes:
        if self._waiting >= WAITING_MAX:
            raise _unavailable("too many documents are being rendered; try again")
        request = json.dumps(asked).encode()
        self._waiting += 1
        try:
            async with asyncio.timeout(RENDER_TIMEOUT_SECONDS):
                return await self._by_an_idle_one(request)
        except (TimeoutError, OSError, EOFError) as error:
            log.warning("a document was not rendered: %r", error)
            raise _unavailable("the document could not be rendered; try again") from error
        finally:
            self._waiting -= 1

    async def _by_an_idle_one(self, request: bytes) -> bytes:
        # The last one that was busy is the first to be again: others may never have to begin.
        worker = await self._idle.get()
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, worker.ask, request)
        except BaseException:
            # What breaks off leaves the pipe out of step; and it has the thread end that waits.
            worker.end()
            raise
        finally:
            self._idle.put_nowait(worker)


class _Worker:
    """A process that renders, once it is asked to. It is asked in a thread, which waits for it.

    The loop does not start it: a fork of its process would copy what other threads are about to do.
    """

    def __init__(self) -> None:
        self._process: Popen[bytes] | None = None
        # Whoever broke off may have left a thread behind that has not noticed yet.
        self._turn = Lock()

    def ask(self, request: bytes) -> bytes:
        """The answer to a request. Raises OSError or EOFError if the process ended meanwhile."""
        with self._turn:
            process = self._running()
            assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018
            process.stdin.write(LENGTH.pack(len(request)) + request)
            process.stdin.flush()
            (length,) = LENGTH.unpack(_read(process.stdout, LENGTH.size))
            return _read(process.stdout, length)

    def _running(self) -> "Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            self.end()
            environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
            self._process = Popen(  # noqa: S603 - ours
                [sys.executable, "-m", WORKER], stdin=PIPE, stdout=PIPE, env=environment
            )
        return self._process

    def end(self) -> None:
        """End the process, if there is one."""
        process = self._process
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            # What was not sent to it is not sent any more.
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()


def _read(pipe: IO[bytes], length: int) -> bytes:
    content = pipe.read(length)
    if len(content) < length:
        raise EOFError("the process that renders has ended")
    return content


def _unavailable(message: str) -> Problem:
    return Problem(grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE", message)
