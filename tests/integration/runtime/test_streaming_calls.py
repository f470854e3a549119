"""Calls that send a stream: the same admission as for others, and a longer deadline."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from recurring.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc

from deploy.embedded.keys import AUDIENCE, ISSUER, Keys
from deploy.embedded.ports import HOST, free_ports
from services.runtime.auth.authenticator import Access, Authenticator
from services.runtime.auth.call_context import caller
from services.runtime.auth.key_sets import KeyFile
from services.runtime.auth.tls import Identity
from services.runtime.errors import not_found
from services.runtime.rpc import admission
from services.runtime.rpc.health import Health
from services.runtime.rpc.limits import RateLimit
from services.runtime.rpc.server import Addresses, Server
from tests.suite import refused

GRACE_SECONDS = 10.0
AMPLE = RateLimit(calls_per_second=10_000, burst_calls=10_000, calls_at_once=1000)
SERVICE = "recurring.scheduler.v1.SchedulerService"
Request = scheduler_pb2.ImportStandingOrdersRequest
Response = scheduler_pb2.ImportStandingOrdersResponse


class Servicer(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Counts rows for merchant acme."""

    def __init__(self) -> None:
        self.cut_short = asyncio.Event()
        self.failure: Exception | None = None

    async def ImportStandingOrders(  # noqa: N802
        self, requests: AsyncIterator[Request], context: object
    ) -> Response:
        del context
        caller().check("acme")
        if self.failure is not None:
            raise self.failure
        try:
            return Response(imported_count=len([request async for request in requests]))
        except asyncio.CancelledError:
            self.cut_short.set()
            raise


class ImportServer:
    def __init__(self, folder: Path) -> None:
        own, peer, health = (f"{HOST}:{port}" for port in free_ports(3))
        addresses = Addresses(platforms=own, peers=peer, plaintext=True)
        self._keys = Keys(folder)
        self.servicer = Servicer()  # type: ignore[abstract]
        access = {f"/{SERVICE}/ImportStandingOrders": Access("standing-orders:write")}
        authenticator = Authenticator(
            KeyFile(self._keys.jwks_file, production=False), ISSUER, AUDIENCE, access
        )
        identity = Identity(self._keys.certificate_folder("scheduler"), production=False)
        self.grpc_server = Server(
            "scheduler", authenticator, addresses, identity, Health(health), AMPLE
        )
        self.grpc_server.add(
            scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server, self.servicer
        )
        self.channel = grpc.aio.insecure_channel(own, options=[("grpc.enable_http_proxy", 0)])

    def send(self, count: int, token: str | None = None, *, ends: bool = True) -> Any:  # noqa: ANN401
        async def rows() -> AsyncIterator[Request]:
            for _ in range(count):
                yield Request(row=scheduler_pb2.ImportRow(next_cycle=1))
            if not ends:
                await asyncio.Event().wait()

        stub = scheduler_pb2_grpc.SchedulerServiceStub(self.channel)
        metadata = (("authorization", f"Bearer {self.token() if token is None else token}"),)
        return stub.ImportStandingOrders(rows(), metadata=metadata, timeout=GRACE_SECONDS)

    def ask(self, token: str | None = None) -> Any:  # noqa: ANN401
        """A call that sends nothing: a message sent to a call that is over would hide its status."""
        return self.send(0, token, ends=False)

    def token(self, merchant: str = "acme", scope: str = "platform") -> str:
        file = self._keys.token_file(f"{merchant}-{scope}", merchant=merchant, scope=scope)
        return file.read_text()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ImportServer]:
    server = ImportServer(tmp_path)
    await server.grpc_server.start()
    await server.grpc_server.ready(serving=True)
    yield server
    await server.channel.close()
    await server.grpc_server.stop(0)


async def test_a_stream_with_a_token_is_answered_once(server: ImportServer) -> None:
    assert (await server.send(300)).imported_count == 300


@pytest.mark.parametrize(
    ("merchant", "scope", "reason"),
    [
        ("other", "platform", "MERCHANT_FORBIDDEN"),
        ("acme", "standing-orders:read", "SCOPE_MISSING"),
    ],
)
async def test_a_stream_without_the_right_is_refused(
    server: ImportServer, merchant: str, scope: str, reason: str
) -> None:
    refusal = await refused(server.ask(server.token(merchant, scope)))
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", reason)


async def test_a_stream_without_a_good_token_is_refused(server: ImportServer) -> None:
    assert (await refused(server.ask("x"))).reason == "TOKEN_INVALID"


async def test_a_stream_is_refused_while_the_service_is_not_ready(server: ImportServer) -> None:
    await server.grpc_server.ready(serving=False)
    assert (await refused(server.ask())).reason == "DEPENDENCY_UNAVAILABLE"


async def test_what_a_stream_raises_becomes_a_status(server: ImportServer) -> None:
    server.servicer.failure = not_found("ORDER_NOT_FOUND", "it")
    refusal = await refused(server.ask())
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "ORDER_NOT_FOUND")


async def test_an_error_in_a_stream_shows_nothing_of_itself(server: ImportServer) -> None:
    server.servicer.failure = RuntimeError("+491701234567")
    refusal = await refused(server.ask())
    assert (refusal.code, refusal.reason) == ("INTERNAL", "INTERNAL")
    assert "+49" not in refusal.message


@pytest.fixture
def short_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "STREAM_DEADLINE_MAX_SECONDS", 0.2)


@pytest.fixture
def no_time_for_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "DEADLINE_MAX_SECONDS", 0.0)


@pytest.mark.usefixtures("short_streams")
async def test_a_stream_that_never_ends_is_ended(server: ImportServer) -> None:
    refusal = await refused(server.send(3, ends=False))
    assert (refusal.code, refusal.reason) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
    await asyncio.wait_for(server.servicer.cut_short.wait(), GRACE_SECONDS)


@pytest.mark.usefixtures("no_time_for_messages")
async def test_a_stream_may_take_longer_than_a_single_message(server: ImportServer) -> None:
    assert (await server.send(10)).imported_count == 10


def test_a_method_of_a_kind_that_nothing_guards_is_not_served(server: ImportServer) -> None:
    async def tell(request: bytes, context: object) -> AsyncIterator[bytes]:
        del context
        yield request

    def add(_servicer: object, server: Any) -> None:  # noqa: ANN401
        handlers: dict[str, Any] = {"Tell": grpc.unary_stream_rpc_method_handler(tell)}
        server.add_registered_method_handlers("recurring.test.Unguarded", handlers)

    with pytest.raises(ValueError, match="Unguarded/Tell"):
        server.grpc_server.add(add, None)
