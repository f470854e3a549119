"""A catalog server in this process, and clients of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from recurring.catalog.v1 import catalog_pb2, catalog_pb2_grpc

from deploy.embedded.keys import AUDIENCE, ISSUER, Keys
from deploy.embedded.ports import HOST, free_ports
from services.runtime.auth.authenticator import Access, Authenticator
from services.runtime.auth.call_context import caller, origin
from services.runtime.auth.key_sets import KeyFile
from services.runtime.auth.tls import Identity
from services.runtime.observability import tracing
from services.runtime.rpc.health import Health
from services.runtime.rpc.limits import RateLimit
from services.runtime.rpc.server import Addresses, Server

GRACE_SECONDS = 10.0
AMPLE = RateLimit(calls_per_second=10_000, burst_calls=10_000, calls_at_once=1000)
SERVICE = "recurring.catalog.v1.CatalogService"
NAME = "merchants/acme/products/tea"
Metadata = tuple[tuple[str, str], ...]


class Servicer(catalog_pb2_grpc.CatalogServiceServicer):
    """Does what its test wants."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.let_go = asyncio.Event()
        self.cut_short = asyncio.Event()
        self.failure: Exception | None = None
        self.traceparent = ""
        self.origin = ""
        self.next_page_token = "done"

    async def GetProduct(  # noqa: N802
        self, request: catalog_pb2.GetProductRequest, context: object
    ) -> catalog_pb2.Product:
        del context
        self.traceparent = tracing.current_traceparent()
        self.origin = origin()
        caller().check("acme")
        if self.failure is not None:
            raise self.failure
        return catalog_pb2.Product(name=request.name)

    async def ListProducts(  # noqa: N802
        self, request: catalog_pb2.ListProductsRequest, context: object
    ) -> catalog_pb2.ListProductsResponse:
        """Stays until it is let go."""
        del request, context
        self.entered.set()
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cut_short.set()
            raise
        return catalog_pb2.ListProductsResponse(next_page_token=self.next_page_token)

    async def ListPrices(self, request: Any, context: object) -> Any:  # noqa: ANN401, N802
        """Is in no table of scopes."""


class CatalogServer:
    """A server in this process, and a client of it."""

    def __init__(
        self,
        folder: Path,
        rate_limit: RateLimit = AMPLE,
        *,
        plaintext: bool = True,
        behind_proxy: bool = False,
    ) -> None:
        own, peer, self.health_address = (f"{HOST}:{port}" for port in free_ports(3))
        self.addresses = Addresses(
            platforms=own, peers=peer, plaintext=plaintext, behind_proxy=behind_proxy
        )
        self.keys = Keys(folder)
        # What a test does not ask for is not there.
        self.servicer = Servicer()  # type: ignore[abstract]
        access = {
            f"/{SERVICE}/GetProduct": Access("products:read", services=("scheduler",)),
            f"/{SERVICE}/ListProducts": Access("products:read", services=("scheduler",)),
        }
        authenticator = Authenticator(
            KeyFile(self.keys.jwks_file, production=False), ISSUER, AUDIENCE, access
        )
        identity = Identity(self.keys.certificate_folder("catalog"), production=False)
        self.grpc_server = Server(
            "catalog",
            authenticator,
            self.addresses,
            identity,
            Health(self.health_address),
            rate_limit,
        )
        self.grpc_server.add(catalog_pb2_grpc.add_CatalogServiceServicer_to_server, self.servicer)
        self.grpc_server.reflect([SERVICE])
        self.channel = grpc.aio.insecure_channel(
            own,
            options=[("grpc.enable_http_proxy", 0), ("grpc.max_send_message_length", -1)],
        )
        self.stub = catalog_pb2_grpc.CatalogServiceStub(self.channel)

    @asynccontextmanager
    async def running(self, *, serving: bool = True) -> AsyncIterator["CatalogServer"]:
        """Have it listen, and answer unless it is still starting."""
        await self.grpc_server.start()
        if serving:
            await self.grpc_server.ready(serving=True)
        yield self
        await self.channel.close()
        await self.grpc_server.stop(0)

    def unread(self, channel: grpc.aio.Channel, count: int, timeout_seconds: float) -> list[Any]:
        """Lists that are asked for over a channel and not read, unless somebody does."""
        request = catalog_pb2.ListProductsRequest(parent="merchants/acme").SerializeToString()
        # Who takes one answer for many reads them one by one.
        method: Any = channel.unary_stream(f"/{SERVICE}/ListProducts")
        return [
            method(request, metadata=self.token(), timeout=timeout_seconds) for _ in range(count)
        ]

    def token(self, merchant: str = "acme", scope: str = "platform") -> Metadata:
        file = self.keys.token_file(f"{merchant}-{scope}", merchant=merchant, scope=scope)
        return (("authorization", f"Bearer {file.read_text()}"),)

    def get(self, metadata: Metadata | None = None, name: str = NAME) -> Any:  # noqa: ANN401
        request = catalog_pb2.GetProductRequest(name=name)
        return self.stub.GetProduct(request, metadata=metadata or self.token(), timeout=5)

    def stay(self, timeout_seconds: float = GRACE_SECONDS, page_size: int = 0) -> Any:  # noqa: ANN401
        request = catalog_pb2.ListProductsRequest(parent="merchants/acme", page_size=page_size)
        return self.stub.ListProducts(request, metadata=self.token(), timeout=timeout_seconds)

    async def health(self, address: str = "", service: str = "") -> str:
        options = [("grpc.enable_http_proxy", 0)]
        async with grpc.aio.insecure_channel(address or self.health_address, options) as channel:
            check: Any = health_pb2_grpc.HealthStub(channel)
            question = health_pb2.HealthCheckRequest(service=service)
            answer = await check.Check(question, timeout=GRACE_SECONDS)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


async def how_it_ends(call: Any) -> grpc.StatusCode:  # noqa: ANN401
    """The code of a call that is refused, whoever refuses it: the transport gives no more."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    code: grpc.StatusCode = refusal.value.code()
    return code
