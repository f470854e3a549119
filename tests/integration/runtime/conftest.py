from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from services.runtime.db.pool import Database, connect
from services.runtime.messaging.broker import Broker
from tests.conftest import KEYRING, ServiceDatabase
from tests.integration.runtime.door import Door
from tests.integration.runtime.postbox import SERVICE, Listener, Teller

OpenDatabase = Callable[[], Database]


@pytest.fixture
async def open_database(service_database: ServiceDatabase) -> AsyncIterator[OpenDatabase]:
    """Opens a fresh database with the tables of the runtime."""
    opened: list[Database] = []

    def open_one() -> Database:
        engine = connect(
            service_database(SERVICE), application="test", pool_size=5, keyring=KEYRING
        )
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
async def teller(open_database: OpenDatabase, broker: Broker) -> Teller:
    teller = Teller(open_database(), broker)
    await teller.relay().ensure_streams()
    return teller


@pytest.fixture
async def listener(open_database: OpenDatabase, broker: Broker) -> Listener:
    listener = Listener(open_database(), broker)
    await listener.prepare()
    return listener


@pytest.fixture
async def closed_door(tmp_path: Path) -> AsyncIterator[Door]:
    """A server that is still starting."""
    async with Door(tmp_path).running(serving=False) as door:
        yield door


@pytest.fixture
async def door(closed_door: Door) -> Door:
    await closed_door.server.ready(serving=True)
    return closed_door
