from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from services.payments.clients.stripe import StripeProvider
from services.runtime.db.pool import Database, Pool
from services.runtime.http_client import HttpClient
from tests.conftest import KEYRING, ServiceDatabase
from tests.integration.payments.suite import NOW, ManualClock, Payments
from tests.integration.sandbox.process import PROVIDER_API_KEY, Sandbox


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with aiohttp.ClientSession() as http:
        # Nobody reports to its clock, so a test moves it alone.
        process = Sandbox(
            tmp_path / "record.sqlite3", http, environment={"SANDBOX_EXPECTED_SERVICES": ","}
        )
        await process.start()
        try:
            yield process
        finally:
            await process.close()


@pytest.fixture
async def payments(service_database: ServiceDatabase, sandbox: Sandbox) -> AsyncIterator[Payments]:
    database = Database(
        Pool(service_database("payments"), application="test", size=6, keyring=KEYRING)
    )
    async with HttpClient(connections_max=20, timeout_seconds=10) as http:
        provider = StripeProvider(http, sandbox.url, PROVIDER_API_KEY)
        payments = Payments(database, ManualClock(NOW), sandbox, provider)
        async with payments.renderer:
            yield payments
    await database.close()
