"""Several replicas behind one name: all are asked, and none is missed when it goes."""

import asyncio
import signal
import socket
import struct
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import grpc
import pytest
from recurring.catalog.v1 import catalog_pb2, catalog_pb2_grpc

from deploy.embedded.keys import Keys
from deploy.embedded.ports import HOST, free_ports
from services.runtime.channel import open_channel
from services.runtime.identity import Identity
from tests.conftest import ServiceDatabase
from tests.integration.runtime.postbox import until
from tests.integration.runtime.test_start import SERVING, Process

NAME = "catalog.recurring.test"
CALLERS = 8
QUESTION = catalog_pb2.BatchCheckStockRequest(
    checks=[
        catalog_pb2.StockCheck(
            merchant="merchants/acme",
            items=[catalog_pb2.Item(product="merchants/acme/products/tea", quantity=1)],
        )
    ]
)


class Names(asyncio.DatagramProtocol):
    """A name server, in the place of a cluster's: one name, with the address of every replica."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self._transport: asyncio.DatagramTransport | None = None

    async def listen(self) -> int:
        """Listen; returns the port."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(HOST, 0))
        self._transport = transport
        return int(transport.get_extra_info("sockname")[1])

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        # RFC 1035: the header, and one question, which ends with its type and class.
        end = data.index(b"\0", 12) + 5
        kind = struct.unpack(">H", data[end - 4 : end - 2])[0]
        found = self.addresses if kind == 1 else []
        answers = b"".join(
            # The name is the question's own; type A, class IN, of which nothing is to be kept.
            struct.pack(">HHHIH", 0xC00C, 1, 1, 0, 4) + socket.inet_aton(address)
            for address in found
        )
        header = data[:2] + struct.pack(">HHHHH", 0x8580, 1, len(found), 0, 0)
        assert self._transport is not None
        self._transport.sendto(header + data[12:end] + answers, addr)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


class Replicas:
    """Catalogs on one port of addresses of their own, as pods have them."""

    def __init__(self, folder: Path, nats_url: str, database_url: str, names: Names) -> None:
        self._folder, self._nats_url, self._database_url = folder, nats_url, database_url
        self._names = names
        self.keys = Keys(folder / "keys")
        self.port = free_ports(1)[0]
        self.processes: list[Process] = []

    async def start(self) -> Process:
        """Start one more, and let it be found once it serves."""
        number = len(self.processes) + 1
        folder = self._folder / str(number)
        folder.mkdir()
        process = Process(folder, self._nats_url)
        tls = self.keys.authority.ensure(folder / "tls", "catalog", (NAME,))
        address = f"127.0.0.{number}"
        process.settings |= {
            "PEER_ADDRESS": f"{address}:{self.port}",
            "TLS_FOLDER": str(tls),
            "STOP_DELAY_SECONDS": "1",
            "DRAIN_SECONDS": "5",
        }
        process.write_secret("database_url", self._database_url)
        self.processes.append(process)
        process.start()
        await process.until_health(SERVING)
        self._names.addresses.append(address)
        return process

    def end(self, process: Process, how: signal.Signals) -> None:
        """End one, and let it be found no more."""
        assert process.process is not None
        process.process.send_signal(how)
        self._names.addresses.remove(f"127.0.0.{self.processes.index(process) + 1}")

    def close(self) -> None:
        for each in self.processes:
            if each.process is not None:
                with suppress(ProcessLookupError):
                    each.process.kill()
                each.process.wait()


class Traffic:
    """Calls without a pause, and how they ended."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = catalog_pb2_grpc.CatalogServiceStub(channel)
        self.answered = 0
        self.failed: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._call()) for _ in range(CALLERS)]
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _call(self) -> None:
        while True:
            try:
                await self._stub.BatchCheckStock(QUESTION)
                self.answered += 1
            except grpc.aio.AioRpcError as error:
                self.failed.append(f"{error.code().name}: {error.details()}")

    async def until_more(self, count: int) -> None:
        """Wait until so many more calls were answered."""
        wanted = self.answered + count

        async def so() -> bool:
            assert self.failed == []
            return self.answered >= wanted

        await until(so, 30)


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


def calls_answered(process: Process) -> int:
    """How many calls a process has counted."""
    url = f"http://{process.settings['METRICS_ADDRESS']}/metrics"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as response:
        lines = response.read().decode().splitlines()
    wanted: Callable[[str], bool] = lambda line: (  # noqa: E731
        line.startswith("rpc_server_call_duration_seconds_count") and "BatchCheckStock" in line
    )
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if wanted(line))


async def test_both_replicas_are_asked(replicas: Replicas, channel: grpc.aio.Channel) -> None:
    async with Traffic(channel) as traffic:
        await traffic.until_more(200)
    shares = [calls_answered(process) for process in replicas.processes]
    assert traffic.failed == []
    # Round robin: neither is asked much more often than the other.
    assert min(shares) > sum(shares) / 4


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_replica_that_ends_costs_no_call(
    replicas: Replicas, channel: grpc.aio.Channel, how: signal.Signals
) -> None:
    async with Traffic(channel) as traffic:
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
