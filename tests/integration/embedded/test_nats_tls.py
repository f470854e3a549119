"""A broker with TLS, as in production: services and platforms trust it by its authority alone."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from recurring.catalog.v1 import events_pb2
from recurring_client import subscribe

from deploy.embedded.certificates import Authority
from deploy.embedded.keys import Keys
from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.ports import HOST, free_ports
from services.runtime.auth import tls
from services.runtime.messaging import streams
from services.runtime.messaging.batches import binary_events, in_batches
from services.runtime.messaging.broker import Broker
from services.runtime.messaging.events import OutboxEvent
from tests.integration.runtime.pubsub import until

USERS = ("catalog", "scheduler", "payments", "notify", "streams", "merchant-demo", "developer")
PASSWORD = "only-for-tests-on-this-machine"
PRODUCT = "merchants/demo/products/tea"
HEARD_SECONDS = 10.0
NOTHING_SECONDS = 2.0


class TlsNats(EmbeddedNats):
    """The same server with a certificate, as deploy/components/nats-ha has it."""

    def __init__(self, folder: Path, port: int, tls_folder: Path) -> None:
        super().__init__(folder, port, folder / "log", dict.fromkeys(USERS, PASSWORD))
        self._tls_folder = tls_folder

    def prepare(self) -> None:
        super().prepare()
        files = f'cert_file: "{self._tls_folder}/tls.crt", key_file: "{self._tls_folder}/tls.key"'
        configuration = self.folder / "nats.conf"
        configuration.write_text(f"{configuration.read_text()}\ntls {{ {files} }}\n")

    def url_of(self, user: str) -> str:
        return f"tls://{user}:{PASSWORD}@{HOST}:{self.port}"


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys")


@pytest.fixture
async def server(tmp_path: Path, keys: Keys) -> AsyncIterator[TlsNats]:
    """A server with an event of the merchant `demo`, which the catalog has published."""
    [port] = free_ports(1)
    server = TlsNats(tmp_path / "nats", port, keys.certificate_folder("nats"))
    server.start()
    trust = tls.Identity(keys.certificate_folder("catalog"), production=False).trust
    durables = streams.durables("catalog", {}, ["demo"])
    await streams.make_at(server.url_of("streams"), "catalog", trust, 1, durables)
    broker = await Broker.connect(server.url_of("catalog"), "catalog", trust)
    event = events_pb2.ProductDiscontinued(product=PRODUCT)
    told = OutboxEvent(PRODUCT, event, "demo", PRODUCT, datetime.now(UTC))
    [batch] = in_batches([told])
    [(_, head, body)] = binary_events(batch.data, frozenset({"demo"}))
    await broker.publish(f"merchants.demo.{told.type}", body, head, HEARD_SECONDS)
    await broker.close()
    yield server
    server.destroy()


async def first_heard(server: TlsNats, tls: ssl.SSLContext, seconds: float) -> str:
    events = subscribe(server.url_of("merchant-demo"), merchant="demo", tls=tls)
    try:
        event = await asyncio.wait_for(anext(events), seconds)
        return str(event.message.product)
    finally:
        await events.aclose()


async def test_a_platform_connects_to_a_broker_that_its_authority_vouches_for(
    server: TlsNats, keys: Keys
) -> None:
    trust = ssl.create_default_context(cafile=keys.authority.certificate_file)
    assert await first_heard(server, trust, HEARD_SECONDS) == PRODUCT


async def test_a_platform_receives_nothing_of_a_broker_that_nobody_vouches_for(
    server: TlsNats,
) -> None:
    with pytest.raises(TimeoutError):
        await first_heard(server, ssl.create_default_context(), NOTHING_SECONDS)


async def test_a_service_comes_back_to_a_broker_whose_authority_was_replaced(
    server: TlsNats, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "PROBE_INTERVAL_SECONDS", 0.0)
    folder = keys.certificate_folder("catalog")
    trust = tls.Identity(folder, production=False).trust
    broker = await Broker.connect(server.url_of("catalog"), "catalog", trust)
    another = Authority(tmp_path / "another", "Another authority")
    with (folder / "ca.crt").open("ab") as authorities:
        authorities.write(another.certificate_file.read_bytes())
    another.issue(keys.certificate_folder("nats"), "nats", (HOST,))
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)

    async def is_back() -> bool:
        return broker.connected and broker.connections > 0

    await until(is_back)
    await broker.close()
