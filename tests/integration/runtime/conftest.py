from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from services.runtime.db.pool import Database, Pool
from services.runtime.messaging import failed_events
from services.runtime.messaging.broker import Broker
from tests.conftest import KEYRING, ServiceDatabase
from tests.integration.runtime.catalog_server import CatalogServer
from tests.integration.runtime.pubsub import RETRY_SECONDS, SERVICE, Publisher, Subscriber

OpenDatabase = Callable[[], Database]


@pytest.fixture
async def open_database(service_database: ServiceDatabase) -> AsyncIterator[OpenDatabase]:
    """Opens a fresh database with the tables of the runtime."""
    opened: list[Database] = []

    def open_one() -> Database:
        engine = Pool(service_database(SERVICE), application="test", size=5, keyring=KEYRING)
        opened.append(Database(engine))
        return opened[-1]

    yield open_one
    for database in opened:
        await database.close()


@pytest.fixture
async def database(open_database: OpenDatabase) -> Database:
    return open_database()


@pytest.fixture
async def broker(nats_url: str) -> AsyncIterator[Broker]:
    broker = await Broker.connect(nats_url, "test")
    yield broker
    await broker.close()


@pytest.fixture
async def publisher(open_database: OpenDatabase, broker: Broker) -> Publisher:
    publisher = Publisher(open_database(), broker)
    await publisher.relay().ensure_streams()
    return publisher


@pytest.fixture
async def subscriber(
    open_database: OpenDatabase, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> Subscriber:
    monkeypatch.setattr(failed_events, "UNKNOWN_TYPE_SECONDS", RETRY_SECONDS)
    subscriber = Subscriber(open_database(), broker)
    await subscriber.prepare()
    return subscriber


@pytest.fixture
async def starting_server(tmp_path: Path) -> AsyncIterator[CatalogServer]:
    """A server that is still starting."""
    async with CatalogServer(tmp_path).running(serving=False) as server:
        yield server


@pytest.fixture
async def server(starting_server: CatalogServer) -> CatalogServer:
    await starting_server.grpc_server.ready(serving=True)
    return starting_server
