"""The gateway for platforms forwards calls, and stops what no honest client sends."""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from itertools import count, islice
from typing import Any

import aiohttp
import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from recurring.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from recurring.payments.v1 import payments_pb2, payments_pb2_grpc

from services.payments.api.webhooks import HTTP_LIMITS, PATH
from services.runtime.auth.tls import Identity
from services.runtime.http_server import HttpServer, Request, Response
from tests.integration.gateway import http2
from tests.integration.gateway.conftest import Begin
from tests.integration.gateway.envoy import Gateway
from tests.integration.runtime.catalog_server import (
    GRACE_SECONDS,
    NAME,
    SERVICE,
    CatalogServer,
    Metadata,
    how_it_ends,
)
from tests.prometheus import alert_queries, metrics_in
from tests.suite import refused

# Of the 512 MiB that its pod may have.
MEMORY_MAX_MEBIBYTES = 256
GET = f"/{SERVICE}/GetProduct"
CONNECTIONS, STREAMS, INDEXED_HEADERS = 4, 200, 15_000
UNENDED_CONNECTIONS, UNENDED_BYTES = 100, 900_000
# Together they call more often than an address may, on any machine.
CALLING_CONNECTIONS, CALLS_AT_ONCE = 10, 100
FLOOD_SECONDS = 30
# Answers that fill whatever connections they come by, and enough callers for each of those.
ANSWER_BYTES, UNREAD_ANSWERS, FRESH_CONNECTIONS = 3 * 1024**2, 40, 6
LIMITED = "envoy_http_local_rate_limit_rate_limited{envoy_local_http_ratelimit_prefix"
FULL = "envoy_overload_envoy_overload_actions_stop_accepting_requests_active{}"

TOO_MUCH = [(("padding", "x" * 20_000),), tuple((f"header-{number}", "x") for number in range(100))]


def open_channel(
    gateway: Gateway, server: CatalogServer, *options: tuple[str, int]
) -> grpc.aio.Channel:
    """A connection of its own."""
    authority = server.keys.authority.certificate_file.read_bytes()
    own = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1), *options]
    return grpc.aio.secure_channel(gateway.address, grpc.ssl_channel_credentials(authority), own)


@pytest.fixture
async def channel(gateway: Gateway, server: CatalogServer) -> AsyncIterator[grpc.aio.Channel]:
    async with open_channel(gateway, server) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> catalog_pb2_grpc.CatalogServiceStub:
    return catalog_pb2_grpc.CatalogServiceStub(channel)


def get(stub: Any, metadata: Metadata) -> Any:  # noqa: ANN401 - a call
    request = catalog_pb2.GetProductRequest(name=NAME)
    return stub.GetProduct(request, metadata=metadata, timeout=GRACE_SECONDS)


async def served(stub: Any, server: CatalogServer, times: int = 20) -> None:  # noqa: ANN401
    """An honest caller gets its answers, one after the other."""
    for _ in range(times):
        assert (await get(stub, server.token())).name == NAME


async def test_a_call_goes_through_and_comes_back(stub: Any, server: CatalogServer) -> None:  # noqa: ANN401
    await served(stub, server, times=1)


async def test_a_refusal_of_a_service_comes_back_as_it_is(stub: Any) -> None:  # noqa: ANN401
    refusal = await refused(get(stub, ()))
    assert (refusal.code, refusal.reason) == ("UNAUTHENTICATED", "TOKEN_MISSING")


async def test_a_service_learns_who_connected_and_not_what_the_caller_says(
    stub: Any,  # noqa: ANN401
    server: CatalogServer,
) -> None:
    await get(stub, (*server.token(), ("x-forwarded-for", "203.0.113.7")))
    # Whoever connects from the same machine has one of its addresses.
    assert server.servicer.origin.removeprefix("ipv4:") in own_addresses()


async def test_what_is_no_method_of_a_service_goes_no_further(channel: grpc.aio.Channel) -> None:
    health: Any = health_pb2_grpc.HealthStub(channel)
    call = health.Check(health_pb2.HealthCheckRequest(), timeout=GRACE_SECONDS)
    assert await how_it_ends(call) is grpc.StatusCode.UNIMPLEMENTED


async def test_whoever_has_another_services_certificate_gets_no_call(
    channel: grpc.aio.Channel, server: CatalogServer
) -> None:
    payments = payments_pb2_grpc.PaymentsServiceStub(channel)
    request = payments_pb2.GetChargeRequest(name="merchants/acme/charges/one")
    call = payments.GetCharge(request, metadata=server.token(), timeout=GRACE_SECONDS)
    assert await how_it_ends(call) is grpc.StatusCode.UNAVAILABLE


async def test_webhooks_go_to_payments_and_nothing_else_does(
    gateway: Gateway, server: CatalogServer
) -> None:
    identity = Identity(server.keys.certificate_folder("payments"), production=False)
    reached: list[Request] = []

    async def receive(request: Request) -> Response:
        reached.append(request)
        return Response(HTTPStatus.OK)

    receiver = HttpServer(receive, HTTP_LIMITS)
    await receiver.start(gateway.receiver_address, identity.server_context())
    url = f"https://{gateway.webhook_address}"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=identity.trust())) as http:
        headers = {"Stripe-Signature": "t=1,v1=2"}
        taken = await http.post(url + PATH, data=b'{"id": 1}', headers=headers)
        elsewhere = [await http.post(url + path) for path in ("/", "/metrics", PATH + "/a")]
    await receiver.stop(1)
    assert taken.status == HTTPStatus.OK
    assert {answer.status for answer in elsewhere} == {HTTPStatus.NOT_FOUND}
    assert [(each.path, each.body) for each in reached] == [(PATH, b'{"id": 1}')]
    assert reached[0].header("stripe-signature") == "t=1,v1=2"


@pytest.mark.parametrize("extra", TOO_MUCH, ids=["too long", "too many"])
async def test_headers_beyond_the_limits_go_no_further(
    gateway: Gateway,
    stub: Any,  # noqa: ANN401
    server: CatalogServer,
    extra: Metadata,
) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await get(stub, (*server.token(), *extra))
    assert gateway.passed_on("catalog") == 0
    await served(stub, server)


async def test_a_flood_of_indexed_headers_goes_no_further(
    gateway: Gateway,
    stub: Any,  # noqa: ANN401
    server: CatalogServer,
) -> None:
    headers = http2.beginning(GET) + http2.ONE_BYTE_HEADER * INDEXED_HEADERS

    async def flood() -> None:
        connection = await connect(gateway, server)
        for number in range(STREAMS):
            call = http2.frame(http2.HEADERS, http2.END_HEADERS, 1 + 2 * number, headers)
            assert await connection.send(call)
        await connection.close()

    await asyncio.gather(*(flood() for _ in range(CONNECTIONS)), served(stub, server, 50))
    assert gateway.passed_on("catalog") == 50
    assert gateway.memory_mebibytes < MEMORY_MAX_MEBIBYTES


async def test_headers_without_an_end_go_no_further(
    gateway: Gateway,
    stub: Any,  # noqa: ANN401
    server: CatalogServer,
) -> None:
    more = http2.header("name", "x" * 120) * (http2.FRAME_MAX_BYTES // 128)
    go_on = http2.frame(http2.CONTINUATION, 0, 1, more)

    connections = [await connect(gateway, server) for _ in range(UNENDED_CONNECTIONS)]

    async def flood(connection: http2.Connection) -> None:
        await connection.send(http2.frame(http2.HEADERS, 0, 1, http2.beginning(GET)))
        for _ in range(UNENDED_BYTES // len(go_on)):
            await connection.send(go_on)

    await asyncio.gather(*map(flood, connections), served(stub, server, 50))
    assert gateway.passed_on("catalog") == 50
    assert gateway.memory_mebibytes < MEMORY_MAX_MEBIBYTES
    await asyncio.gather(*(connection.close() for connection in connections))


async def test_an_address_that_calls_without_an_end_is_limited(
    gateway: Gateway,
    stub: Any,  # noqa: ANN401
    server: CatalogServer,
) -> None:
    headers = http2.beginning("/of.no.Service/Method")

    shutdown = asyncio.Event()

    async def flood() -> None:
        connection = await connect(gateway, server)
        streams = count(1, 2)
        while not shutdown.is_set():
            calls = [
                http2.frame(http2.HEADERS, http2.WHOLE_CALL, stream, headers)
                for stream in islice(streams, CALLS_AT_ONCE)
            ]
            await connection.send(b"".join(calls))
            await connection.settle()
        await connection.close()

    async with asyncio.timeout(FLOOD_SECONDS), asyncio.TaskGroup() as floods:
        for _ in range(CALLING_CONNECTIONS):
            floods.create_task(flood())
        while await how_it_ends(get(stub, ())) is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            pass
        shutdown.set()
    await asyncio.sleep(1)
    await served(stub, server)


async def test_who_watches_a_gateway_gets_in_when_its_connections_are_taken(
    begin: Begin, server: CatalogServer
) -> None:
    gateway = await begin(max_active_downstream_connections=5)
    held = [await connect(gateway, server) for _ in range(5)]
    with pytest.raises(OSError):
        await connect(gateway, server)
    assert gateway.is_ready()
    assert gateway.metrics()
    await asyncio.gather(*(connection.close() for connection in held))


async def test_a_gateway_without_memory_says_so_to_who_watches(begin: Begin) -> None:
    gateway = await begin(max_heap_size_bytes=64 * 1024)
    async with asyncio.timeout(GRACE_SECONDS):
        while not gateway.metrics()[FULL]:  # noqa: ASYNC110 - it is told in no other way
            await asyncio.sleep(0.1)
    assert gateway.is_ready()


async def test_who_reads_no_answers_keeps_nobody_elses_back(
    gateway: Gateway, server: CatalogServer
) -> None:
    server.servicer.let_go.set()
    server.servicer.next_page_token = "x" * ANSWER_BYTES
    async with open_channel(gateway, server, ("grpc.http2.bdp_probe", 0)) as slow:
        unread = server.unread(slow, UNREAD_ANSWERS, 3 * GRACE_SECONDS)
        # So many wait at once at the service, and others are refused.
        await asyncio.sleep(1)
        for _ in range(FRESH_CONNECTIONS):
            async with open_channel(gateway, server) as channel:
                await served(catalog_pb2_grpc.CatalogServiceStub(channel), server, times=1)
        for call in unread:
            call.cancel()


async def test_envoy_exports_what_the_alerts_query(
    gateway: Gateway,
    stub: Any,  # noqa: ANN401
) -> None:
    for extra in TOO_MUCH:
        with pytest.raises(grpc.aio.AioRpcError):
            await get(stub, extra)
    with pytest.raises(grpc.aio.AioRpcError):
        await get(stub, ())
    queried = {name for name in metrics_in(alert_queries()) if name.startswith("envoy_")}
    exported = {name.partition("{")[0] for name in gateway.metrics()}
    assert queried
    assert queried <= exported
    # What is too much of whom is distinguished by this label.
    limits = {name for name in gateway.metrics() if name.startswith(LIMITED)}
    assert limits == {f'{LIMITED}="addresses"}}', f'{LIMITED}="webhooks"}}'}


async def connect(gateway: Gateway, server: CatalogServer) -> http2.Connection:
    return await http2.Connection.to(gateway.address, server.keys.authority.certificate_file)


def own_addresses() -> set[str]:
    return {address.address for named in psutil.net_if_addrs().values() for address in named}
