"""Both servers refuse what no honest client sends, and serve the next honest caller."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from recurring.catalog.v1 import catalog_pb2, catalog_pb2_grpc

from services.runtime.auth.tls import Identity
from services.runtime.rpc.admission import CONCURRENT_CALLS_MAX
from services.runtime.rpc.health import CONNECTIONS_MAX
from services.runtime.rpc.limits import CALLER_UNREAD_MAX_BYTES, MESSAGE_MAX_BYTES
from services.runtime.rpc.server import METADATA_MAX_BYTES
from tests.integration.runtime.catalog_server import (
    GRACE_SECONDS,
    NAME,
    SERVICE,
    CatalogServer,
    Metadata,
    how_it_ends,
)
from tests.suite import refused

OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_send_message_length", -1),
    # Each channel has a connection of its own.
    ("grpc.use_local_subchannel_pool", 1),
)
SILENT_CONNECTIONS = 1000
# More than a server takes at once, over as many connections as that needs.
CONNECTIONS, STREAMS_OF_EACH = 15, 190
FLOOD_CONNECTIONS = 30
POUR_SECONDS = 0.1
# More than is under way to a client that does not read.
ANSWER_BYTES = 3 * 1024**2
NOISE = {
    "random bytes": os.urandom(64 * 1024),
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "the beginning of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    # A preface, and a frame of 16 MiB that never comes.
    "half a frame of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x00\x00" + bytes(64),
}


@dataclass(frozen=True)
class Side:
    """One of the two servers, from outside."""

    server: CatalogServer
    address: str
    # What a caller proves itself with, beside a certificate.
    metadata: Metadata
    credentials: grpc.ChannelCredentials | None

    def channel(self) -> grpc.aio.Channel:
        if self.credentials is None:
            return grpc.aio.insecure_channel(self.address, OPTIONS)
        return grpc.aio.secure_channel(self.address, self.credentials, OPTIONS)

    @contextlib.asynccontextmanager
    async def stub(self) -> AsyncIterator[Any]:
        async with self.channel() as channel:
            yield catalog_pb2_grpc.CatalogServiceStub(channel)

    async def serves(self) -> bool:
        """Whether an honest caller gets an answer, if not at once.

        While more calls are in line than gRPC keeps, it cancels some, whosever they are.
        """
        async with self.stub() as stub, asyncio.timeout(GRACE_SECONDS):
            while True:
                try:
                    answer = await self.get(stub)
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.CANCELLED:
                        raise
                else:
                    return bool(answer.name == NAME)

    def get(self, stub: Any, name: str = NAME, extra: Metadata = ()) -> Any:  # noqa: ANN401
        request = catalog_pb2.GetProductRequest(name=name)
        return stub.GetProduct(request, metadata=(*self.metadata, *extra), timeout=GRACE_SECONDS)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = self.address.partition(":")
        return await asyncio.open_connection(host, int(port))


def platforms(server: CatalogServer) -> Side:
    return Side(server, server.addresses.platforms, server.token(), None)


def peers(server: CatalogServer) -> Side:
    identity = Identity(server.keys.certificate_folder("scheduler"), production=False)
    return Side(server, server.addresses.peers, (), identity.channel_credentials())


@pytest.fixture(params=[platforms, peers], ids=lambda side: side.__name__)
def side(request: pytest.FixtureRequest, server: CatalogServer) -> Side:
    made: Side = request.param(server)
    return made


def other(side: Side) -> Side:
    return peers(side.server) if side.credentials is None else platforms(side.server)


async def test_headers_over_the_limit_are_refused(side: Side) -> None:
    padding = (("padding", "x" * 10 * METADATA_MAX_BYTES),)
    async with side.stub() as stub:
        code = await how_it_ends(side.get(stub, extra=padding))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await side.serves()


async def test_a_message_over_the_limit_is_refused(side: Side) -> None:
    async with side.stub() as stub:
        code = await how_it_ends(side.get(stub, name="x" * (MESSAGE_MAX_BYTES + 1)))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await side.serves()


async def test_bytes_that_are_no_message_are_refused(side: Side) -> None:
    async with side.channel() as channel:
        method: Any = channel.unary_unary(f"/{SERVICE}/GetProduct")
        call = method(os.urandom(1000) + b"\xff", metadata=side.metadata, timeout=GRACE_SECONDS)
        refusal = await refused(call)
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "MESSAGE_MALFORMED")
    assert await side.serves()


async def shout(side: Side, noise: bytes) -> None:
    """Send noise, and wait until the server has had enough of it."""
    reader, writer = await side.connect()
    async with asyncio.timeout(GRACE_SECONDS):
        # It may have closed the connection already.
        with contextlib.suppress(OSError):
            writer.write(noise)
            writer.write_eof()
            await reader.read()
    writer.close()


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
async def test_noise_ends_its_own_connection_and_no_other(side: Side, noise: bytes) -> None:
    await asyncio.gather(*(shout(side, noise) for _ in range(50)))
    assert await side.serves()


async def test_connections_that_say_nothing_keep_nobody_out(side: Side) -> None:
    silent = [await side.connect() for _ in range(SILENT_CONNECTIONS)]
    try:
        assert await side.serves()
    finally:
        for _, writer in silent:
            writer.close()


async def test_where_probes_ask_there_is_room_for_so_many_and_no_more(
    server: CatalogServer,
) -> None:
    host, _, port = server.health_address.partition(":")
    silent = [await asyncio.open_connection(host, int(port)) for _ in range(CONNECTIONS_MAX)]
    reader, writer = await asyncio.open_connection(host, int(port))
    async with asyncio.timeout(GRACE_SECONDS):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    for _, writer_ in (*silent, (reader, writer)):
        writer_.close()
    assert await platforms(server).serves()


class Flood:
    """More calls than a server takes at once, of callers who prove nothing, and without an end."""

    def __init__(self, side: Side) -> None:
        self._channels = [side.channel() for _ in range(FLOOD_CONNECTIONS)]
        self._calls: list[Any] = []

    async def pour(self, method: str) -> None:
        """Begin the calls, and send no message in any of them."""

        async def nothing() -> AsyncIterator[bytes]:
            await asyncio.Event().wait()
            yield b""

        for channel in self._channels:
            begin: Any = channel.stream_unary(method)
            self._calls += [begin(nothing()) for _ in range(STREAMS_OF_EACH)]
            # gRPC drops what comes faster than it is taken.
            await asyncio.sleep(POUR_SECONDS)

    async def watch(self) -> None:
        """Ask each for what a client is told for as long as it listens."""
        question = health_pb2.HealthCheckRequest()
        for channel in self._channels:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            calls = [stub.Watch(question) for _ in range(STREAMS_OF_EACH)]
            self._calls += calls
            await asyncio.gather(*(call.read() for call in calls), return_exceptions=True)

    async def stop(self) -> None:
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*(channel.close() for channel in self._channels))


@pytest.fixture
async def flood(server: CatalogServer) -> AsyncIterator[Flood]:
    flood = Flood(platforms(server))
    yield flood
    await flood.stop()


@pytest.mark.parametrize("method", [f"/{SERVICE}/GetProduct", "/grpc.health.v1.Health/Check"])
async def test_calls_whose_message_never_comes_keep_nobody_out(
    server: CatalogServer, flood: Flood, method: str
) -> None:
    await flood.pour(method)
    assert await platforms(server).serves()


async def test_watchers_keep_nobody_out(server: CatalogServer, flood: Flood) -> None:
    await flood.watch()
    assert await platforms(server).serves()


async def test_answers_that_are_not_read_are_kept_up_to_a_limit_and_keep_nobody_else_out(
    server: CatalogServer,
) -> None:
    server.servicer.let_go.set()
    server.servicer.next_page_token = "x" * ANSWER_BYTES
    # Of what it does not ask for, the client takes what a new stream may send, and no more.
    options = [*OPTIONS, ("grpc.http2.bdp_probe", 0)]
    async with grpc.aio.insecure_channel(server.addresses.platforms, options) as channel:
        unread = server.unread(channel, CALLER_UNREAD_MAX_BYTES // ANSWER_BYTES, GRACE_SECONDS)
        await asyncio.gather(*(call.initial_metadata() for call in unread))
        refusal = await refused(server.stay())
        assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS_AT_ONCE")
        assert refusal.retry_seconds > 0
        other = await server.stub.ListProducts(
            catalog_pb2.ListProductsRequest(parent="merchants/acme"),
            metadata=server.token("other"),
            timeout=GRACE_SECONDS,
        )
        assert len(other.next_page_token) == ANSWER_BYTES
        for call in unread:
            call.cancel()
    await asyncio.sleep(refusal.retry_seconds)
    assert len((await server.stay()).next_page_token) == ANSWER_BYTES


async def test_more_calls_than_a_server_takes_are_refused_and_the_other_server_stays_open(
    side: Side,
) -> None:
    assert CONNECTIONS * STREAMS_OF_EACH > 2 * CONCURRENT_CALLS_MAX
    request = catalog_pb2.ListProductsRequest(parent="merchants/acme")
    channels = [side.channel() for _ in range(CONNECTIONS)]
    stubs = [catalog_pb2_grpc.CatalogServiceStub(channel) for channel in channels]
    calls = [
        asyncio.ensure_future(
            stub.ListProducts(request, metadata=side.metadata, timeout=GRACE_SECONDS)
        )
        for stub in stubs
        for _ in range(STREAMS_OF_EACH)
    ]
    assert await other(side).serves()
    side.server.servicer.let_go.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    codes = {answer.code() for answer in answers if isinstance(answer, grpc.aio.AioRpcError)}
    # gRPC itself turns away what waits in line behind too many others.
    assert codes
    assert codes <= {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED}
    assert await side.serves()
    for channel in channels:
        await channel.close()
