"""Several replicas behind one name: all get calls, and none fails when one stops."""

import signal
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
from recurring.catalog.v1 import catalog_pb2, catalog_pb2_grpc

from deploy.embedded.ports import HOST
from services.runtime.auth.tls import Identity
from services.runtime.rpc.channel import open_channel
from tests.conftest import ServiceDatabase
from tests.integration.runtime.pubsub import until
from tests.integration.runtime.replicas import NAME, Names, Replicas, Traffic
from tests.integration.runtime.test_start import Process

QUESTION = catalog_pb2.BatchCheckStockRequest(
    checks=[
        catalog_pb2.StockCheck(
            merchant="merchants/acme",
            items=[catalog_pb2.Item(product="merchants/acme/products/tea", quantity=1)],
        )
    ]
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
    replicas = Replicas(tmp_path, nats_url, service_database("catalog"), names)
    await replicas.start()
    await replicas.start()
    yield replicas
    replicas.close()


@pytest.fixture
async def channel(replicas: Replicas, names: Names) -> AsyncIterator[grpc.aio.Channel]:
    """The scheduler's channel to the catalog, as the scheduler opens it."""
    port = await names.listen()
    certificate = replicas.keys.authority.ensure(
        replicas.keys.folder / "scheduler", "scheduler", (HOST,)
    )
    target = f"dns://{HOST}:{port}/{NAME}:{replicas.port}"
    async with open_channel(target, Identity(certificate, production=False)) as channel:
        yield channel


def traffic_on(channel: grpc.aio.Channel) -> Traffic:
    stub = catalog_pb2_grpc.CatalogServiceStub(channel)
    return Traffic(lambda: stub.BatchCheckStock(QUESTION))


def calls_answered(process: Process, method: str = "BatchCheckStock") -> int:
    """How many calls of a method a process has counted."""
    url = f"http://{process.settings['METRICS_ADDRESS']}/metrics"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as response:
        lines = response.read().decode().splitlines()
    wanted: Callable[[str], bool] = lambda line: (  # noqa: E731
        line.startswith("rpc_server_call_duration_seconds_count") and method in line
    )
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if wanted(line))


async def test_both_replicas_are_asked(replicas: Replicas, channel: grpc.aio.Channel) -> None:
    async with traffic_on(channel) as traffic:
        await traffic.until_more(200)
    shares = [calls_answered(process) for process in replicas.processes]
    assert traffic.failed == []
    # Round robin: neither is asked much more often than the other.
    assert min(shares) > sum(shares) / 4


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_replica_that_ends_costs_no_call(
    replicas: Replicas, channel: grpc.aio.Channel, how: signal.Signals
) -> None:
    async with traffic_on(channel) as traffic:
        await traffic.until_more(100)
        replicas.end(replicas.processes[0], how)
        await traffic.until_more(300)
        replacement = await replicas.start()
        # The other one goes as well: all that is asked now, the new one answers.
        replicas.end(replicas.processes[1], signal.SIGTERM)
        before = calls_answered(replacement)

        async def is_asked() -> bool:
            return calls_answered(replacement) > before + 100

        await until(is_asked, 30)
    assert traffic.failed == []
