"""HTTP/1.1 for requests that others send by themselves: small, bounded in bytes, number and time.

llhttp, the parser of Node.js, reads the protocol: 3 us a request, where a parser in Python takes 90.
Callers are not authenticated before their request has arrived, so everything about one has a limit.
"""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NamedTuple

import httptools

from services.runtime.listening import listen

log = logging.getLogger(__name__)

HEAD_MAX_BYTES = 16 * 1024
READ_BYTES = 64 * 1024
# Of a body in chunks of a few bytes, so many times its own size come over the wire.
CHUNKING_MAX = 8
# Longer than a proxy keeps a connection without requests, so that the proxy closes it first.
IDLE_SECONDS = 75.0
TLS_HANDSHAKE_SECONDS = 5.0
STOP_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Request:
    """A request with its whole body."""

    method: str
    # Without its query.
    path: str
    # Their names in lower case.
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    # Behind the question mark, as it came.
    query: str = ""

    def header(self, name: str) -> str | None:
        """The value of a header (named in lower case); None without it, or with several."""
        values = [value for key, value in self.headers if key == name.encode()]
        return values[0].decode("latin-1") if len(values) == 1 else None


@dataclass(frozen=True, slots=True)
class Response:
    """A status, and a word about it for people."""

    status: HTTPStatus
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What a server takes."""

    body_max_bytes: int
    # Others are closed at once.
    connections_max: int
    # From the first byte of a request to the last of its response.
    request_seconds: float


class HttpServer:
    """Answers requests at an address until it is stopped."""

    def __init__(self, answer: Answer, limits: HttpLimits) -> None:
        self._answer = answer
        self._limits = limits
        # Task of a connection -> whether a request is under way.
        self._connections: dict[asyncio.Task[None], bool] = {}
        self._stopping = False
        self._server: asyncio.Server | None = None

    async def start(self, address: str, tls: ssl.SSLContext | None = None) -> None:
        """Listen. Raises OSError if the address is taken."""
        handshake_seconds = TLS_HANDSHAKE_SECONDS if tls else None
        self._server = await asyncio.start_server(
            self._connected, sock=listen(address), ssl=tls, ssl_handshake_timeout=handshake_seconds
        )

    async def stop(self, drain_seconds: float) -> None:
        """Take no more requests, and end those under way, after so long at the latest."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(drain_seconds):
                while any(self._connections.values()):  # noqa: ASYNC110 - a moment, once
                    await asyncio.sleep(STOP_POLL_SECONDS)
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if self._stopping or len(self._connections) >= self._limits.connections_max:
            writer.transport.abort()
            return
        assert task is not None  # noqa: S101 - a callback that is a coroutine runs in one
        self._connections[task] = False
        try:
            requests = _Requests(self._limits.body_max_bytes)
            while await self._exchange(task, requests, reader, writer):
                pass
        except (TimeoutError, OSError, asyncio.CancelledError):
            # The caller is slow or has gone, or the server stops.
            pass
        finally:
            del self._connections[task]
            writer.close()

    async def _exchange(
        self,
        task: asyncio.Task[None],
        requests: "_Requests",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Answer one request; returns whether another may follow."""
        self._connections[task] = False
        if requests.are_idle:
            async with asyncio.timeout(IDLE_SECONDS):
                data = await reader.read(READ_BYTES)
            if not data:
                return False
            requests.feed(data)
        self._connections[task] = True
        async with asyncio.timeout(self._limits.request_seconds):
            while not requests.have_next:
                data = await reader.read(READ_BYTES)
                if not data:
                    return False
                requests.feed(data)
            received = requests.next()
            if isinstance(received, Response):
                # What follows what is no request cannot be separated from the next one.
                writer.write(_written(received, ends=True))
                return False
            request, keeps_alive = received
            response = await self._answer(request)
            ends = self._stopping or not keeps_alive
            writer.write(_written(response, ends=ends, with_body=request.method != "HEAD"))
            await writer.drain()
        return not ends


class _Received(NamedTuple):
    """A request that has arrived whole."""

    request: Request
    # Whether the caller wants to send another one.
    keeps_alive: bool


class _Requests:
    """The requests of a connection, out of its bytes; its other methods are called by the parser."""

    def __init__(self, body_max_bytes: int) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._body_max_bytes = body_max_bytes
        self._whole: deque[_Received] = deque()
        # Why nothing more is read of the connection.
        self._refusal: Response | None = None
        # Of the request that is arriving: whether it has begun, whether its head is there, its bytes.
        self._has_begun = self._has_head = False
        self._byte_count = 0
        self._target, self._body = b"", bytearray()
        self._headers: list[tuple[bytes, bytes]] = []

    @property
    def are_idle(self) -> bool:
        """Whether nothing of a request is there."""
        return not self.have_next and not self._has_begun

    @property
    def have_next(self) -> bool:
        """Whether there is something to answer."""
        return bool(self._whole) or self._refusal is not None

    def next(self) -> _Received | Response:
        """The next request, or the answer to what is none."""
        if self._whole:
            return self._whole.popleft()
        assert self._refusal is not None  # noqa: S101 - asked for where there is something
        return self._refusal

    def feed(self, data: bytes) -> None:
        """Take bytes of the connection; beyond what is refused, they are for nothing."""
        self._byte_count += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Another protocol would follow; the request is answered, and nothing after it is read.
            pass
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST, "this is no request")
        if not self._has_begun:
            return
        if not self._has_head and self._byte_count > HEAD_MAX_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too large")
        if self._byte_count > HEAD_MAX_BYTES + CHUNKING_MAX * self._body_max_bytes:
            self._refuse_body()

    def on_message_begin(self) -> None:
        self._has_begun, self._has_head = True, False
        self._target, self._body, self._headers = b"", bytearray(), []

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        # Behind a body in chunks there may be more of them, which nobody reads.
        if not self._has_head:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._has_head = True
        sizes = (len(name) + len(value) for name, value in self._headers)
        if len(self._target) + sum(sizes) > HEAD_MAX_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too large")
        hosts = sum(name == b"host" for name, _ in self._headers)
        # RFC 9112, section 3.2: exactly one, but for HTTP/1.0.
        if hosts > 1 or (hosts == 0 and self._parser.get_http_version() != "1.0"):
            self._refuse(HTTPStatus.BAD_REQUEST, "this is no request")

    def on_body(self, part: bytes) -> None:
        if len(self._body) + len(part) > self._body_max_bytes:
            self._refuse_body()
        if self._refusal is None:
            self._body += part

    def on_message_complete(self) -> None:
        self._has_begun, self._byte_count = False, 0
        if self._refusal is not None:
            return
        path, _, query = self._target.decode("latin-1").partition("?")
        method = self._parser.get_method().decode("latin-1")
        request = Request(method, path, self._headers, bytes(self._body), query)
        keeps_alive = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        self._whole.append(_Received(request, keeps_alive))

    def _refuse_body(self) -> None:
        self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large")

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._refusal = self._refusal or Response(status, why)


def _written(response: Response, *, ends: bool, with_body: bool = True) -> bytes:
    """A response as it goes over the wire."""
    body = response.text.encode()
    headers = {
        "content-type": "text/plain; charset=utf-8",
        **response.headers,
        "content-length": str(len(body)),
        **({"connection": "close"} if ends else {}),
    }
    lines = [f"HTTP/1.1 {response.status.value} {response.status.phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head + body if with_body else head
