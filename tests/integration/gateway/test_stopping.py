"""No call fails when a replica behind the gateway stops or crashes."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from recurring.catalog.v1 import catalog_pb2, catalog_pb2_grpc

from tests.conftest import ServiceDatabase
from tests.integration.gateway.envoy import Gateway
from tests.integration.runtime.pubsub import until
from tests.integration.runtime.replicas import NAME, Names, Replicas, Traffic
from tests.integration.runtime.test_replicas import calls_answered
from tests.integration.runtime.test_start import SERVING, Process
from tests.manifests.cluster import SERVICES

SETTINGS_FILE = Path(__file__).resolve().parents[3] / "deploy" / "base" / "settings.env"
PRODUCTION = dict(
    line.removeprefix("RECURRING_").split("=", 1)
    for line in SETTINGS_FILE.read_text().splitlines()
    if line.startswith("RECURRING_")
)


@pytest.fixture
async def names() -> AsyncIterator[Names]:
    names = Names()
    yield names
    names.close()


@pytest.fixture
async def replicas(
    tmp_path: Path, nats_url: str, service_database: ServiceDatabase, names: Names
) -> AsyncIterator[Replicas]:
    """Two catalogs that stop as production's do."""
    settings = {
        "GRPC_PLAINTEXT": "false",
        "BEHIND_PROXY": "true",
        "STOP_DELAY_SECONDS": PRODUCTION["STOP_DELAY_SECONDS"],
        "DRAIN_SECONDS": PRODUCTION["DRAIN_SECONDS"],
        # The traffic of all callers has one token.
        "CALLER_CALLS_PER_SECOND": "100000",
        "CALLER_BURST_CALLS": "100000",
    }
    replicas = Replicas(tmp_path, nats_url, service_database("catalog"), names, settings)
    await replicas.start()
    await replicas.start()
    yield replicas
    replicas.close()


@pytest.fixture
async def gateway(tmp_path: Path, replicas: Replicas, names: Names) -> AsyncIterator[Gateway]:
    services = dict.fromkeys(SERVICES, f"{NAME}:{replicas.platforms_port}")
    port = await names.listen()
    folder = tmp_path / "gateway"
    folder.mkdir()
    gateway = Gateway(folder, replicas.keys, services, name_server_port=port)
    try:
        # The name server answers in this thread.
        await asyncio.to_thread(gateway.start)
        yield gateway
    finally:
        gateway.stop()


@pytest.fixture
async def traffic(gateway: Gateway, replicas: Replicas) -> AsyncIterator[Traffic]:
    """Calls of a client that does not retry."""
    authority = replicas.keys.authority.certificate_file.read_bytes()
    token = replicas.keys.token_file("acme", merchant="acme", scope="platform").read_text()
    options = [("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)]
    credentials = grpc.ssl_channel_credentials(authority)
    async with grpc.aio.secure_channel(gateway.address, credentials, options) as channel:
        stub = catalog_pb2_grpc.CatalogServiceStub(channel)
        request = catalog_pb2.ListProductsRequest(parent="merchants/acme")
        metadata = (("authorization", f"Bearer {token}"),)
        async with Traffic(
            lambda: stub.ListProducts(request, metadata=metadata, timeout=10)
        ) as traffic:
            yield traffic


async def until_asked(process: Process) -> None:
    """Wait until a replica answers platforms (again)."""
    before = calls_answered(process, "ListProducts")

    async def is_asked() -> bool:
        return calls_answered(process, "ListProducts") > before + 20

    await until(is_asked, 30)


async def test_a_replica_that_restarts_for_a_changed_secret_costs_no_call(
    replicas: Replicas, traffic: Traffic
) -> None:
    restarting = replicas.processes[0]
    await until_asked(restarting)
    restarting.write_secret("log_level", "DEBUG")
    # It looks each 5 s, answers for 5 more, drains for 20 at most, and starts.
    await restarting.until_said('"level": "DEBUG"', seconds=60)
    await restarting.until_health(SERVING)
    # It has its share again.
    await until_asked(restarting)
    assert traffic.failed == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_replica_that_ends_costs_no_call(
    replicas: Replicas, traffic: Traffic, how: signal.Signals
) -> None:
    await until_asked(replicas.processes[0])
    replicas.end(replicas.processes[0], how)
    await traffic.until_more(300)
    await until_asked(await replicas.start())
    assert traffic.failed == []
