"""Connections to PostgreSQL are reused, and replaced when the server has closed them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from deploy.embedded.postgres import EmbeddedPostgres
from services.runtime.auth.call_context import ANY_TENANT, Caller, set_caller
from services.runtime.db.pool import Database, connect
from tests.conftest import KEYRING, ServiceDatabase

HEARD_SECONDS = 10.0
# Less than a call waits for a connection.
SERVED_SECONDS = 3.0


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
    assert await driver(database) is not ended


@pytest.fixture
async def pools(service_database: ServiceDatabase) -> AsyncIterator[Database]:
    """As a process has them, with one connection each."""
    url = service_database("scheduler")
    engines = [connect(url, application="test", pool_size=1, keyring=KEYRING) for _ in range(3)]
    database = Database(*engines)
    yield database
    await database.close()


CALL = Caller("shop", "acme")
FOR_CALL = Caller("scheduler", ANY_TENANT, for_call=True)
DUE_WORK = Caller("scheduler", ANY_TENANT)


async def is_served(database: Database, who: Caller) -> bool:
    """Whether somebody gets a connection soon."""

    async def ask() -> None:
        set_caller(who)
        await driver(database)

    try:
        await asyncio.wait_for(asyncio.create_task(ask()), SERVED_SECONDS)
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(
    ("who", "served"),
    [
        (CALL, [False, False, True]),
        (FOR_CALL, [False, False, True]),
        (DUE_WORK, [True, True, False]),
    ],
    ids=["a call", "a call of a service for a call", "due work"],
)
async def test_calls_and_due_work_wait_for_no_connection_of_the_other(
    pools: Database, who: Caller, served: list[bool]
) -> None:
    holding, done = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        set_caller(who)
        async with pools.begin():
            holding.set()
            await done.wait()

    task = asyncio.create_task(hold())
    await holding.wait()
    assert [await is_served(pools, one) for one in (CALL, FOR_CALL, DUE_WORK)] == served
    # Readiness and gauges need neither.
    async with asyncio.timeout(SERVED_SECONDS), pools.check() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    done.set()
    await task
