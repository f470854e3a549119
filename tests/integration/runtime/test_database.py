"""Connections to PostgreSQL are reused, and replaced when the server has closed them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import asyncpg
import pytest

from deploy.embedded.postgres import EmbeddedPostgres
from services.runtime.auth.call_context import ANY_TENANT, Caller, set_caller
from services.runtime.db import pool
from services.runtime.db.pool import Database, Pool, PoolTimeoutError, RolledBackError
from services.runtime.db.statements import Query, scalar
from services.runtime.observability.outages import DATABASE, is_outage, out_of_reach
from tests.conftest import KEYRING, ServiceDatabase
from tests.owner import as_owner

HEARD_SECONDS = 10.0
# Less than a call waits for a connection.
SERVED_SECONDS = 3.0


@pytest.fixture
async def database(service_database: ServiceDatabase) -> AsyncIterator[Database]:
    """With only one connection."""
    database = Database(
        Pool(service_database("scheduler"), application="test", size=1, keyring=KEYRING)
    )
    yield database
    await database.close()


async def driver(database: Database) -> Any:  # noqa: ANN401 - the driver's connection
    async with database.read() as connection:
        return connection.driver


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


async def test_a_statement_that_is_cut_off_leaves_a_connection_for_the_next_transaction(
    database: Database,
) -> None:
    used = await driver(database)

    async def sleep() -> None:
        async with database.begin() as tx:
            await tx.execute("CREATE TEMPORARY TABLE left_over ()")
            await tx.execute("SELECT pg_sleep(60)")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(sleep(), 0.5)
    assert await driver(database) is used
    async with database.begin() as tx:
        assert await tx.driver.fetchval("SELECT to_regclass('left_over')") is None


async def test_a_transaction_that_passes_over_a_failed_statement_does_not_seem_committed(
    database: Database,
) -> None:
    async def divide() -> None:
        async with database.begin() as tx:
            with suppress(asyncpg.PostgresError):
                await tx.execute("SELECT 1 / 0")

    with pytest.raises(RolledBackError):
        await divide()


async def test_a_connection_cannot_be_used_after_its_block(database: Database) -> None:
    async with database.begin() as tx:
        pass
    with pytest.raises(AttributeError):
        await tx.execute("SELECT 1")


async def test_a_call_waits_so_long_for_a_connection_and_is_told_that_the_database_is_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "POOL_TIMEOUT_SECONDS", 0.1)
    async with database.begin():
        with pytest.raises(PoolTimeoutError) as error:
            await driver(database)
    assert out_of_reach(error.value) == DATABASE
    assert await driver(database)


OUTDATED = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
SHELVES: Query[tuple[str, ...]] = Query("SELECT shelf FROM shelves", scalar)


@pytest.fixture
async def shelves(database: Database) -> Database:
    """With a table whose statement the connection has prepared."""
    async with as_owner(database) as tx:
        await tx.execute("CREATE TYPE shelf AS (name text)")
        await tx.execute("CREATE TABLE shelves (shelf shelf)")
        await tx.execute("INSERT INTO shelves VALUES (row('a'))")
        await tx.execute("GRANT SELECT ON shelves TO PUBLIC")
    async with database.begin() as tx:
        assert await SHELVES.all(tx) == [("a",)]
    return database


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("ALTER TYPE shelf ADD ATTRIBUTE height integer", ("a", None)),
        ("ALTER TABLE shelves ALTER shelf TYPE text USING 'a'", "a"),
    ],
)
async def test_a_schema_that_is_migrated_while_code_serves_is_an_outage_of_one_transaction(
    shelves: Database, change: str, found: object
) -> None:
    async with as_owner(shelves) as tx:
        await tx.execute(change)
    with pytest.raises(OUTDATED) as error:
        async with shelves.begin() as tx:
            await SHELVES.all(tx)
    assert is_outage(error.value)
    async with shelves.begin() as tx:
        assert await SHELVES.all(tx) == [found]


async def test_a_server_that_has_become_a_standby_is_an_outage_and_another_is_looked_for(
    database: Database,
) -> None:
    before = await driver(database)
    # As a standby answers.
    await before.execute("SET default_transaction_read_only = on")
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError) as error:
        async with database.begin() as tx:
            await tx.execute("DELETE FROM inbox")
    assert out_of_reach(error.value) == DATABASE
    assert await driver(database) is not before


@pytest.fixture
async def pools(service_database: ServiceDatabase) -> AsyncIterator[Database]:
    """As a process has them, with one connection each."""
    url = service_database("scheduler")
    engines = [Pool(url, application="test", size=1, keyring=KEYRING) for _ in range(3)]
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
    assert [await is_served(pools, purpose) for purpose in (CALL, FOR_CALL, DUE_WORK)] == served
    # Readiness and gauges need neither.
    async with asyncio.timeout(SERVED_SECONDS), pools.check() as connection:
        assert await connection.driver.fetchval("SELECT 1") == 1
    done.set()
    await task
