"""Connections to PostgreSQL: kept for the next work, replaced when the server has ended them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from deploy.embedded.postgres import EmbeddedPostgres
from services.runtime.database import Database, connect
from tests.conftest import KEYRING, ServiceDatabase

HEARD_SECONDS = 10.0


@pytest.fixture
async def database(service_database: ServiceDatabase) -> AsyncIterator[Database]:
    """With only one connection."""
    database = Database(
        connect(service_database("scheduler"), application="test", pool_size=1, keyring=KEYRING)
    )
    yield database
    await database.close()


async def driver(database: Database) -> Any:  # noqa: ANN401 - the driver's connection
    async with database.read() as connection:
        return (await connection.get_raw_connection()).driver_connection


async def test_a_connection_is_used_again(database: Database) -> None:
    assert await driver(database) is await driver(database)


async def test_a_connection_that_the_server_has_ended_is_replaced(
    database: Database, postgres: EmbeddedPostgres
) -> None:
    ended, heard = await driver(database), asyncio.Event()
    ended.add_termination_listener(lambda _: heard.set())
    postgres.databases.execute(f"SELECT pg_terminate_backend({ended.get_server_pid()})")
    await asyncio.wait_for(heard.wait(), HEARD_SECONDS)
    await database.ping()
    assert await driver(database) is not ended
