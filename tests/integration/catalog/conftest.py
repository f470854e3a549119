from collections.abc import AsyncIterator

import pytest

from bench.provider_table import ProviderTable
from services.catalog import api
from services.runtime.db.pool import Database, Pool
from tests.conftest import KEYRING, ServiceDatabase
from tests.integration.catalog.shop import ManualClock, Shop


@pytest.fixture
async def shop(service_database: ServiceDatabase) -> AsyncIterator[Shop]:
    database = Database(
        Pool(service_database("catalog"), application="test", size=8, keyring=KEYRING)
    )
    clock = ManualClock()
    yield Shop(database, clock, api.Servicer(database, clock, ProviderTable()))
    await database.close()
