"""Calls between services: which certificates are accepted, and how certificates are replaced."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from recurring.catalog.v1 import catalog_pb2, catalog_pb2_grpc

from deploy.embedded.certificates import Authority
from deploy.embedded.keys import AUDIENCE, ISSUER, Keys
from deploy.embedded.ports import HOST, free_ports
from services.runtime.auth import tls as runtime_identity
from services.runtime.auth.authenticator import Access, Authenticator
from services.runtime.auth.call_context import ANY_TENANT, Caller, caller, set_caller
from services.runtime.auth.key_sets import KeyFile
from services.runtime.auth.tls import Identity
from services.runtime.rpc.channel import open_channel
from services.runtime.rpc.health import Health
from services.runtime.rpc.limits import RateLimit
from services.runtime.rpc.server import Addresses, Server
from tests.suite import refused

SERVICE = "recurring.catalog.v1.CatalogService"
QUESTION = catalog_pb2.GetProductRequest(name="merchants/acme/products/tea")
TIMEOUT_SECONDS = 10.0
AMPLE = RateLimit(calls_per_second=10_000, burst_calls=10_000, calls_at_once=1000)
HOSTS = (HOST,)


class Servicer(catalog_pb2_grpc.CatalogServiceServicer):
    """Answers with the name of who asked."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.for_call: bool | None = None
        self.let_go = asyncio.Event()

    async def GetProduct(  # noqa: N802
        self, request: catalog_pb2.GetProductRequest, context: object
    ) -> catalog_pb2.Product:
        del request, context
        self.for_call = caller().for_call
        return catalog_pb2.Product(title=caller().subject)

    async def GetStock(  # noqa: N802
        self, request: catalog_pb2.GetStockRequest, context: object
    ) -> catalog_pb2.Stock:
        """Stays until it is let go."""
        del request, context
        self.entered.set()
        await self.let_go.wait()
        return catalog_pb2.Stock(on_hand_units=7)


class CatalogPeer:
    """A catalog in this process, and the folder from which certificates come."""

    def __init__(self, folder: Path) -> None:
        self.keys = Keys(folder)
        own, self.peers, health = (f"{HOST}:{port}" for port in free_ports(3))
        access = {
            f"/{SERVICE}/GetProduct": Access("products:read", services=("scheduler",)),
            f"/{SERVICE}/GetStock": Access(services=("scheduler",)),
        }
        self.servicer = Servicer()  # type: ignore[abstract]
        self.server = Server(
            "catalog",
            Authenticator(KeyFile(self.keys.jwks_file, production=False), ISSUER, AUDIENCE, access),
            Addresses(platforms=own, peers=self.peers),
            Identity(self.keys.certificate_folder("catalog"), production=False),
            Health(health),
            AMPLE,
        )
        self.server.add(catalog_pb2_grpc.add_CatalogServiceServicer_to_server, self.servicer)
        self.own = own

    def ask(self, channel: Any) -> Any:  # noqa: ANN401 - any channel
        stub = catalog_pb2_grpc.CatalogServiceStub(channel)
        return stub.GetProduct(QUESTION, timeout=TIMEOUT_SECONDS)


@pytest.fixture
async def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CatalogPeer]:
    monkeypatch.setattr(runtime_identity, "PROBE_INTERVAL_SECONDS", 0.0)
    catalog = CatalogPeer(tmp_path)
    await catalog.server.start()
    await catalog.server.ready(serving=True)
    yield catalog
    catalog.servicer.let_go.set()
    await catalog.server.stop(0)


def folder_of(catalog: CatalogPeer, service: str) -> Path:
    return catalog.keys.certificate_folder(service)


async def name_told(catalog: CatalogPeer, folder: Path) -> str:
    """As whom the holder of a certificate is known."""
    channel = open_channel(catalog.peers, Identity(folder, production=False))
    try:
        answer: catalog_pb2.Product = await catalog.ask(channel)
        return answer.title
    finally:
        await channel.close()


async def code(
    catalog: CatalogPeer, credentials: grpc.ChannelCredentials, address: str = ""
) -> grpc.StatusCode:
    """How a call fails at the services' own server, or at another."""
    async with grpc.aio.secure_channel(address or catalog.peers, credentials) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await catalog.ask(channel)
    code: grpc.StatusCode = failure.value.code()
    return code


async def test_a_service_is_known_by_its_certificate(catalog: CatalogPeer) -> None:
    assert await name_told(catalog, folder_of(catalog, "scheduler")) == "scheduler"


@pytest.mark.parametrize(
    ("who", "for_call"),
    [(Caller("shop", "acme"), True), (Caller("scheduler", ANY_TENANT), False)],
    ids=["a call", "due work"],
)
async def test_a_service_says_whether_it_asks_to_answer_a_call(
    catalog: CatalogPeer,
    who: Caller,
    for_call: bool,  # noqa: FBT001
) -> None:
    async def ask() -> None:
        set_caller(who)
        await name_told(catalog, folder_of(catalog, "scheduler"))

    await asyncio.create_task(ask())
    assert catalog.servicer.for_call is for_call


async def test_a_service_that_the_method_does_not_name_is_refused(catalog: CatalogPeer) -> None:
    channel = open_channel(catalog.peers, Identity(folder_of(catalog, "notify"), production=False))
    refusal = await refused(catalog.ask(channel))
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "SERVICE_FORBIDDEN")
    await channel.close()


async def test_a_token_does_not_open_the_server_of_the_services(catalog: CatalogPeer) -> None:
    token = catalog.keys.token_file("shop", merchant="acme", scope="platform").read_text()
    identity = Identity(folder_of(catalog, "notify"), production=False)
    async with grpc.aio.secure_channel(catalog.peers, identity.channel_credentials()) as channel:
        stub = catalog_pb2_grpc.CatalogServiceStub(channel)
        call = stub.GetProduct(
            QUESTION, metadata=(("authorization", f"Bearer {token}"),), timeout=TIMEOUT_SECONDS
        )
        assert (await refused(call)).reason == "SERVICE_FORBIDDEN"


async def test_a_certificate_does_not_open_the_server_of_the_platforms(
    catalog: CatalogPeer,
) -> None:
    identity = Identity(folder_of(catalog, "scheduler"), production=False)
    async with grpc.aio.secure_channel(catalog.own, identity.channel_credentials()) as channel:
        assert (await refused(catalog.ask(channel))).reason == "TOKEN_MISSING"


async def test_an_expired_certificate_is_refused(catalog: CatalogPeer, tmp_path: Path) -> None:
    folder = tmp_path / "expired"
    folder.mkdir()
    catalog.keys.authority.issue(folder, "scheduler", HOSTS, validity=timedelta(hours=-1))
    identity = Identity(folder, production=False)
    assert await code(catalog, identity.channel_credentials()) is grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_of_another_authority_is_refused(
    catalog: CatalogPeer, tmp_path: Path
) -> None:
    folder = tmp_path / "foreign"
    foreign = Authority(tmp_path / "another").ensure(folder, "scheduler", HOSTS)
    believed = catalog.keys.authority.certificate_file.read_bytes()
    credentials = grpc.ssl_channel_credentials(
        believed, (foreign / "tls.key").read_bytes(), (foreign / "tls.crt").read_bytes()
    )
    assert await code(catalog, credentials) is grpc.StatusCode.UNAVAILABLE


async def test_nobody_comes_in_without_a_certificate(catalog: CatalogPeer) -> None:
    believed = catalog.keys.authority.certificate_file.read_bytes()
    credentials = grpc.ssl_channel_credentials(believed)
    assert await code(catalog, credentials) is grpc.StatusCode.UNAVAILABLE


async def test_nobody_comes_in_without_tls(catalog: CatalogPeer) -> None:
    for address in (catalog.peers, catalog.own):
        async with grpc.aio.insecure_channel(address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await catalog.ask(channel)
            assert failure.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_client_believes_no_other_server(catalog: CatalogPeer, tmp_path: Path) -> None:
    folder = Authority(tmp_path / "another").ensure(tmp_path / "foreign", "scheduler", HOSTS)
    assert (
        await code(catalog, Identity(folder, production=False).channel_credentials())
        is grpc.StatusCode.UNAVAILABLE
    )


async def test_after_all_these_the_others_are_served(catalog: CatalogPeer) -> None:
    noise = [grpc.aio.insecure_channel(catalog.peers) for _ in range(50)]
    await asyncio.gather(*(catalog.ask(channel) for channel in noise), return_exceptions=True)
    assert await name_told(catalog, folder_of(catalog, "scheduler")) == "scheduler"
    for channel in noise:
        await channel.close()


async def test_a_client_goes_over_to_its_new_certificate_and_ends_what_it_had_begun(
    catalog: CatalogPeer,
) -> None:
    folder = folder_of(catalog, "scheduler")
    channel = open_channel(catalog.peers, Identity(folder, production=False))
    stub = catalog_pb2_grpc.CatalogServiceStub(channel)
    assert (await stub.GetProduct(QUESTION, timeout=TIMEOUT_SECONDS)).title == "scheduler"
    begun = asyncio.ensure_future(
        stub.GetStock(catalog_pb2.GetStockRequest(product=QUESTION.name), timeout=TIMEOUT_SECONDS)
    )
    await asyncio.wait_for(catalog.servicer.entered.wait(), TIMEOUT_SECONDS)
    catalog.keys.authority.issue(folder, "notify", HOSTS)
    # The same stub is another caller now, which the method does not name.
    refusal = await refused(stub.GetProduct(QUESTION, timeout=TIMEOUT_SECONDS))
    assert refusal.reason == "SERVICE_FORBIDDEN"
    catalog.servicer.let_go.set()
    assert (await begun).on_hand_units == 7
    await channel.close()


async def test_a_server_shows_its_new_certificate_without_a_restart(
    catalog: CatalogPeer, tmp_path: Path
) -> None:
    """An authority that only the new certificate comes from is believed from then on."""
    another = Authority(tmp_path / "another")
    client = another.ensure(tmp_path / "client", "scheduler", HOSTS)
    credentials = Identity(client, production=False).channel_credentials()
    assert await code(catalog, credentials) is grpc.StatusCode.UNAVAILABLE
    another.issue(folder_of(catalog, "catalog"), "catalog", HOSTS)
    assert await name_told(catalog, client) == "scheduler"


async def test_in_production_no_authority_for_development_is_ever_believed(
    catalog: CatalogPeer, tmp_path: Path
) -> None:
    believed = Authority(tmp_path / "another", "An authority")
    folder = believed.ensure(tmp_path / "client", "scheduler", HOSTS)
    production, sandbox = (Identity(folder, production=production) for production in (True, False))
    both = believed.certificate_file, catalog.keys.authority.certificate_file
    (folder / "ca.crt").write_bytes(b"".join(file.read_bytes() for file in both))
    # Who believes the server is asked for a token.
    assert (
        await code(catalog, sandbox.channel_credentials(), catalog.own)
        is grpc.StatusCode.UNAUTHENTICATED
    )
    assert (
        await code(catalog, production.channel_credentials(), catalog.own)
        is grpc.StatusCode.UNAVAILABLE
    )


async def test_files_that_do_not_fit_together_are_left_aside(catalog: CatalogPeer) -> None:
    folder = folder_of(catalog, "catalog")
    (folder / "tls.key").write_text((folder_of(catalog, "notify") / "tls.key").read_text())
    assert await name_told(catalog, folder_of(catalog, "scheduler")) == "scheduler"
