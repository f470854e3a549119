"""Requests to the outside world: what comes back is the answer or a clear doubt, never a guess."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.embedded.certificates import CERTIFICATE_FILE, KEY_FILE, Authority
from services.runtime.http_client import (
    AnswerTooLargeError,
    HttpClient,
    HttpError,
    UnexpectedStatusError,
)

# libcurl looks whether a kept connection still stands if it was idle for a second.
CONNECTION_CHECK_SECONDS = 1.1
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Outside:
    """A server of a few bytes, which keeps what it was sent and counts who connects."""

    def __init__(self) -> None:
        self.answer = HEAD + b'Content-Length: 11\r\n\r\n{"id": "x"}'
        self.delay_seconds = 0.0
        self.requests: list[bytes] = []
        self.connections: list[asyncio.Transport] = []
        self.received, self.closed = asyncio.Event(), asyncio.Event()
        self.url = ""


class OutsideConnection(asyncio.Protocol):
    """A connection to it; one whose answer is no whole one is closed after it."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._outside.connections.append(transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if b"\r\n\r\n" not in self._received:
            return
        self._outside.requests.append(self._received)
        self._outside.received.set()
        self._received = b""
        asyncio.get_running_loop().call_later(self._outside.delay_seconds, self._answer)

    def _answer(self) -> None:
        self._transport.write(self._outside.answer)
        if not self._outside.answer.endswith((b"}", b"0\r\n\r\n")):
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._outside.closed.set()


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    outside = Outside()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: OutsideConnection(outside), "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()[:2]
        outside.url = f"http://{host}:{port}/things"
        yield outside
        for connection in outside.connections:
            connection.abort()
        await asyncio.sleep(0)


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    async with HttpClient(
        connections_max=2, timeout_seconds=1.0, answer_max_bytes=1000, headers={"X-Key": "secret"}
    ) as client:
        yield client


async def test_connections_are_used_again(outside: Outside, client: HttpClient) -> None:
    for _ in range(5):
        assert (await client.request("GET", outside.url)).json() == {"id": "x"}
    assert len(outside.connections) == 1


async def test_a_request_has_the_headers_of_the_client_and_its_own(
    outside: Outside, client: HttpClient
) -> None:
    await client.request(
        "GET", outside.url, query={"created[gte]": "5"}, headers={"Idempotency-Key": "k"}
    )
    [request] = outside.requests
    head = request.decode().lower()
    assert head.startswith("get /things?created%5bgte%5d=5 http/1.1")
    assert "x-key: secret\r\n" in head
    assert "idempotency-key: k\r\n" in head


async def test_an_answer_in_pieces_is_put_together(outside: Outside, client: HttpClient) -> None:
    outside.answer = (
        HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"id"\r\n6\r\n: "x"}\r\n0\r\n\r\n'
    )
    assert (await client.request("GET", outside.url)).json() == {"id": "x"}


@pytest.mark.parametrize("length", [b"Content-Length: 2000", b"Transfer-Encoding: chunked"])
async def test_an_answer_that_is_too_large_is_not_read(
    outside: Outside, client: HttpClient, length: bytes
) -> None:
    body = b"x" * 2000
    outside.answer = (
        HEAD
        + length
        + b"\r\n\r\n"
        + (b"7d0\r\n" if b"chunked" in length else b"")
        + body
        + b"\r\n0\r\n\r\n"
    )
    with pytest.raises(AnswerTooLargeError, match="more than 1000 bytes"):
        await client.request("GET", outside.url)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"not HTTP at all\r\n\r\n",
        HEAD,
        HEAD + b"Content-Length: 500\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    ],
    ids=["closed", "garbage", "head alone", "cut off", "cut off in pieces"],
)
async def test_no_whole_answer_is_an_error(
    outside: Outside, client: HttpClient, answer: bytes
) -> None:
    outside.answer = answer
    with pytest.raises(HttpError):
        await client.request("POST", outside.url, form={"amount": "5"})
    assert len(outside.requests) == 1, "a request that may have been carried out is not repeated"


async def test_a_request_is_not_repeated_where_a_kept_connection_closes(
    outside: Outside, client: HttpClient
) -> None:
    await client.request("POST", outside.url, form={"amount": "5"})
    outside.answer = b""
    with pytest.raises(HttpError):
        await client.request("POST", outside.url, form={"amount": "5"})
    assert len(outside.requests) == 2


async def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(
    outside: Outside, client: HttpClient
) -> None:
    await client.request("POST", outside.url, form={"amount": "5"})
    outside.connections[0].close()
    await asyncio.sleep(CONNECTION_CHECK_SECONDS)
    assert (await client.request("POST", outside.url, form={"amount": "5"})).status == 200


async def test_an_answer_that_does_not_come_is_a_time_out(
    outside: Outside, client: HttpClient
) -> None:
    outside.delay_seconds = 30
    with pytest.raises(HttpError) as failure:
        await client.request("GET", outside.url)
    assert isinstance(failure.value, TimeoutError)


async def test_waiting_for_a_connection_counts_for_the_time_out(
    outside: Outside, client: HttpClient
) -> None:
    outside.delay_seconds = 30
    results = await asyncio.wait_for(
        asyncio.gather(
            *(client.request("GET", outside.url) for _ in range(6)), return_exceptions=True
        ),
        timeout=4,
    )
    assert all(isinstance(result, TimeoutError) for result in results)
    # Had each its time-out from when it had a connection, all six would have had one.
    assert len(outside.connections) < 6


async def test_a_cancelled_request_closes_its_connection(
    outside: Outside, client: HttpClient
) -> None:
    outside.delay_seconds = 30
    request = asyncio.create_task(client.request("GET", outside.url))
    await outside.received.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await asyncio.wait_for(outside.closed.wait(), timeout=0.8)


async def test_a_redirect_is_an_answer_and_not_followed(
    outside: Outside, client: HttpClient
) -> None:
    outside.answer = (
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\n\r\n{}"
    )
    answer = await client.request("POST", outside.url, json={"to": "+1"})
    assert answer.status == 302
    with pytest.raises(UnexpectedStatusError, match="status 302"):
        answer.expect_ok()


async def test_a_proxy_of_the_environment_is_not_used(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with HttpClient(connections_max=1, timeout_seconds=1.0) as client:
        assert (await client.request("GET", outside.url)).status == 200


async def test_an_error_does_not_show_what_was_sent(outside: Outside, client: HttpClient) -> None:
    outside.answer = b""
    with pytest.raises(HttpError) as failure:
        await client.request("POST", outside.url, form={"token": "pm_card_visa"})
    assert "pm_card_visa" not in repr(failure.value)
    assert "secret" not in repr(failure.value)


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "not trusted"])
async def test_a_server_needs_a_certificate_of_an_authority_that_the_system_trusts(
    outside: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, trusted: bool
) -> None:
    authority = Authority(tmp_path / "authority")
    folder = authority.ensure(tmp_path / "server", "provider", ("127.0.0.1",))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / CERTIFICATE_FILE, folder / KEY_FILE)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate_file))
    server = await asyncio.get_running_loop().create_server(
        lambda: OutsideConnection(outside), "127.0.0.1", 0, ssl=context
    )
    async with server, HttpClient(connections_max=1, timeout_seconds=5) as client:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        if trusted:
            assert (await client.request("GET", url)).status == 200
        else:
            with pytest.raises(HttpError, match="certificate"):
                await client.request("GET", url)
