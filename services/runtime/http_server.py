"""HTTP/1.1 for requests that others send by themselves: small, bounded in bytes, number and time.

h11 reads and writes the protocol; it takes 0.4 MB of memory, where a framework takes 14. Callers are
not authenticated before their request has arrived, so everything about one has a limit.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

import h11

log = logging.getLogger(__name__)

HEAD_MAX_BYTES = 16 * 1024
READ_BYTES = 64 * 1024
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
        host, _, port = address.rpartition(":")
        handshake_seconds = TLS_HANDSHAKE_SECONDS if tls else None
        self._server = await asyncio.start_server(
            self._connected, host, int(port), ssl=tls, ssl_handshake_timeout=handshake_seconds
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
            connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX_BYTES)
            while await self._exchange(task, connection, reader, writer):
                connection.start_next_cycle()
        except (TimeoutError, OSError, h11.ProtocolError, asyncio.CancelledError):
            # The caller is slow, has gone, or speaks another protocol, or the server stops.
            pass
        finally:
            del self._connections[task]
            writer.close()

    async def _exchange(
        self,
        task: asyncio.Task[None],
        connection: h11.Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Answer one request; returns whether another may follow."""
        self._connections[task] = False
        if connection.trailing_data == (b"", False):
            async with asyncio.timeout(IDLE_SECONDS):
                connection.receive_data(await reader.read(READ_BYTES))
        self._connections[task] = True
        async with asyncio.timeout(self._limits.request_seconds):
            response = await self._respond(connection, reader)
            if response is None:
                return False
            body = response.text.encode()
            # What is left of a request that was not read whole cannot be told from the next one.
            ends = self._stopping or connection.their_state is not h11.DONE
            plain_text = {"content-type": "text/plain; charset=utf-8"}
            headers = [
                *(plain_text | dict(response.headers)).items(),
                ("content-length", str(len(body))),
                *([("connection", "close")] if ends else []),
            ]
            for event in (
                h11.Response(status_code=response.status, headers=headers),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                writer.write(connection.send(event) or b"")
            await writer.drain()
        return not ends

    async def _respond(
        self, connection: h11.Connection, reader: asyncio.StreamReader
    ) -> Response | None:
        """The response to the next request; None if the caller has hung up."""
        try:
            head = await _next(connection, reader)
            if not isinstance(head, h11.Request):
                return None
            body = bytearray()
            while isinstance(data := await _next(connection, reader), h11.Data):
                body += data.data
                if len(body) > self._limits.body_max_bytes:
                    return Response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large")
        except h11.RemoteProtocolError as error:
            if (
                connection.our_state is not h11.SEND_RESPONSE
                and connection.our_state is not h11.IDLE
            ):
                raise
            return Response(HTTPStatus(error.error_status_hint), "this is no request")
        path, _, query = head.target.decode("latin-1").partition("?")
        method = head.method.decode("latin-1")
        return await self._answer(Request(method, path, list(head.headers), bytes(body), query))


async def _next(connection: h11.Connection, reader: asyncio.StreamReader) -> object:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(READ_BYTES))
    return event
