"""The HTTP server for small requests answers those within its limits, and no others for long."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path

import pytest

from deploy.embedded.certificates import Authority
from deploy.embedded.ports import HOST
from services.runtime.auth.tls import Identity
from services.runtime.http_server import HEAD_MAX_BYTES, HttpLimits, HttpServer, Request, Response
from tests.integration.sandbox.process import held_port

LIMITS = HttpLimits(body_max_bytes=1000, connections_max=3, request_seconds=0.5)
CHUNKED = b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
ASKED = b"POST /a?b HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\nhi"


async def echo(request: Request) -> Response:
    if request.path == "/slow":
        await asyncio.sleep(60)
    return Response(HTTPStatus.OK, f"{request.method} {request.path} {request.body.decode()}")


class Serving:
    def __init__(self, port: int, server: HttpServer) -> None:
        self.port, self.server = port, server

    async def connect(
        self, tls: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(HOST, self.port, ssl=tls)

    async def ask(self, *chunks: bytes) -> bytes:
        """All that is answered until the server hangs up, or a second has passed."""
        reader, writer = await self.connect()
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
        answer = b""
        try:
            async with asyncio.timeout(1):
                while read := await reader.read(65536):
                    answer += read
        except (TimeoutError, ConnectionResetError):
            pass
        writer.close()
        return answer


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    held = held_port()
    port = held.getsockname()[1]
    server = HttpServer(echo, LIMITS)
    await server.start(f"{HOST}:{port}")
    yield Serving(port, server)
    await server.stop(0)
    held.close()


async def test_a_request_is_answered_with_its_path_and_body(serving: Serving) -> None:
    answer = await serving.ask(ASKED)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"POST /a hi")


async def test_a_connection_takes_one_request_after_the_other(serving: Serving) -> None:
    assert (await serving.ask(ASKED, ASKED)).count(b"POST /a hi") == 2
    assert (await serving.ask(ASKED + ASKED)).count(b"POST /a hi") == 2


async def test_a_body_in_chunks_is_read_whole(serving: Serving) -> None:
    head = b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert (await serving.ask(head + b"2\r\nhi\r\n", b"3\r\n ho\r\n0\r\n\r\n")).endswith(b"/ hi ho")


@pytest.mark.parametrize(
    "asked",
    [
        b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1001\r\n\r\n" + b"0" * 1001,
        b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"0" * 1001,
    ],
)
async def test_a_body_that_is_too_large_is_refused(serving: Serving, asked: bytes) -> None:
    assert (await serving.ask(asked)).startswith(b"HTTP/1.1 413 ")


async def test_a_head_that_is_too_large_is_refused(serving: Serving) -> None:
    head = b"POST / HTTP/1.1\r\nHost: here\r\nX: " + b"x" * (HEAD_MAX_BYTES + 100_000)
    assert (await serving.ask(head)).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "rest",
    [b"2;" + b"x" * 100_000, b"2\r\nhi\r\n0\r\nX: " + b"x" * 100_000],
    ids=["an extension of a chunk", "a header behind the body"],
)
async def test_what_comes_beside_a_body_in_chunks_is_bounded(serving: Serving, rest: bytes) -> None:
    assert (await serving.ask(CHUNKED + rest)).startswith(b"HTTP/1.1 4")


async def test_of_what_a_caller_asks_the_head_of_no_body_is_sent(serving: Serving) -> None:
    answer = await serving.ask(b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n" + ASKED)
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert answer.count(b"HEAD / ") == 0


@pytest.mark.parametrize(
    "asked",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    ],
)
async def test_a_caller_that_wants_no_more_is_answered_once(serving: Serving, asked: bytes) -> None:
    answer = await serving.ask(asked + ASKED)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer


@pytest.mark.parametrize(
    "asked",
    [
        b"\x16\x03\x01\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: here\r\nHost: there\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi",
        CHUNKED[:-2] + b"Content-Length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused(serving: Serving, asked: bytes) -> None:
    assert (await serving.ask(asked)).startswith(b"HTTP/1.1 400 ")


async def test_a_request_that_does_not_end_is_given_up(serving: Serving) -> None:
    assert await serving.ask(ASKED[:-1]) == b""
    assert serving.server._connections == {}


async def test_a_request_that_is_not_answered_in_time_is_given_up(serving: Serving) -> None:
    assert await serving.ask(b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n") == b""


async def test_more_connections_than_there_may_be_are_closed(serving: Serving) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(LIMITS.connections_max):
            _, writer = await serving.connect()
            stack.callback(writer.close)
        await asyncio.sleep(0.05)
        assert await serving.ask(ASKED) == b""
    await asyncio.sleep(0.05)
    assert (await serving.ask(ASKED)).startswith(b"HTTP/1.1 200 ")


async def test_a_server_that_stops_ends_what_it_answers(serving: Serving) -> None:
    reader, writer = await serving.connect()
    _, idle = await serving.connect()
    writer.write(ASKED[:-1])
    await asyncio.sleep(0.05)
    stopping = asyncio.create_task(serving.server.stop(5))
    await asyncio.sleep(0.05)
    writer.write(ASKED[-1:])
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer.lower()
    await stopping
    writer.close()
    idle.close()


async def test_a_renewed_certificate_is_used_for_new_connections(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    folder = authority.ensure(tmp_path / "tls", "payments", (HOST, "localhost"))
    identity = Identity(folder, production=False)
    held = held_port()
    port = held.getsockname()[1]
    server = HttpServer(echo, LIMITS)
    await server.start(f"{HOST}:{port}", identity.server_context())

    async def certificate() -> bytes:
        _, writer = await Serving(port, server).connect(identity.trust())
        shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return shown

    before = await certificate()
    other = authority.ensure(tmp_path / "other", "payments", (HOST, "localhost"))
    for file in other.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    identity._checked_at -= 10
    assert await certificate() != before
    await server.stop(0)
    held.close()
