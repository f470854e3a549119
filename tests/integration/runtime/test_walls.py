"""PostgreSQL's own walls: between merchants, and around what a service may do in its database."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime.access import ANY_TENANT, Caller, set_caller
from services.runtime.database import Database, connect, copy
from tests.conftest import KEYRING, ServiceDatabase

SERVICES = ("catalog", "scheduler", "payments", "notify")
MERCHANTS = ("acme", "other")
INSERT = text("INSERT INTO purchases VALUES (:merchant, 'ann', 'tea', now())")
COUNT = text("SELECT array_agg(merchant ORDER BY merchant) FROM purchases")
# Of no merchant, and nothing that a caller could not know.
COMMON = {"alembic_version", "served_revisions"}


def act_for(merchant: str) -> None:
    set_caller(Caller("test", merchant))


@pytest.fixture
async def database(service_database: ServiceDatabase) -> AsyncIterator[Database]:
    """The scheduler's, with a purchase of each merchant and only one connection."""
    database = Database(
        connect(service_database("scheduler"), application="test", pool_size=1, keyring=KEYRING)
    )
    async with database.begin() as tx:
        for merchant in MERCHANTS:
            await tx.execute(INSERT, {"merchant": merchant})
    yield database
    await database.close()


async def seen(database: Database) -> list[str] | None:
    """The merchants whose rows a query finds that asks for all."""
    async with database.read() as connection:
        found: list[str] | None = await connection.scalar(COUNT)
    return found


async def test_a_query_that_forgets_the_merchant_shows_the_callers_rows_alone(
    database: Database,
) -> None:
    for merchant in MERCHANTS * 2:
        act_for(merchant)
        assert await seen(database) == [merchant]


async def test_a_transaction_shows_the_callers_rows_alone(database: Database) -> None:
    act_for("acme")
    async with database.begin() as tx:
        assert await tx.scalar(COUNT) == ["acme"]


async def test_without_a_caller_nothing_is_seen(database: Database) -> None:
    act_for("")
    assert await seen(database) is None


async def test_a_transaction_that_failed_leaves_the_wall_standing(database: Database) -> None:
    act_for("acme")
    with pytest.raises(DBAPIError):
        async with database.begin() as tx:
            await tx.execute(text("SELECT 1 / 0"))
    assert await seen(database) == ["acme"]
    act_for(ANY_TENANT)
    assert await seen(database) == list(MERCHANTS)
    act_for("other")
    assert await seen(database) == ["other"]


async def test_no_row_can_be_given_to_another_merchant(database: Database) -> None:
    act_for("acme")
    for statement in (
        text("INSERT INTO purchases VALUES ('other', 'bob', 'tea', now())"),
        text("UPDATE purchases SET merchant = 'other'"),
    ):
        with pytest.raises(DBAPIError, match="row-level security"):
            async with database.begin() as tx:
                await tx.execute(statement)


async def test_another_merchants_row_cannot_be_changed(database: Database) -> None:
    act_for("acme")
    async with database.begin() as tx:
        deleted = await tx.execute(text("DELETE FROM purchases WHERE merchant = 'other'"))
    assert deleted.rowcount == 0


@pytest.mark.parametrize("merchant", ["acme", ANY_TENANT])
async def test_rows_are_stored_in_bulk_for_one_merchant_and_for_all(
    database: Database, merchant: str
) -> None:
    act_for(merchant)
    async with database.begin() as tx:
        now = await tx.scalar(text("SELECT now()"))
        names = ("merchant", "customer", "product", "purchase_time")
        await copy(tx, "purchases", names, [("acme", f"c{n}", "tea", now) for n in range(3)])
        assert await tx.scalar(text("SELECT count(*) FROM purchases WHERE customer ~ '^c'")) == 3


@pytest.mark.parametrize("service", SERVICES)
async def test_every_table_is_behind_the_wall(
    service: str, service_database: ServiceDatabase
) -> None:
    database = Database(
        connect(service_database(service), application="test", pool_size=1, keyring=KEYRING)
    )
    async with database.read() as connection:
        found = await _tables(connection)
    await database.close()
    assert {name for name, walled in found.items() if not walled} == COMMON


async def _tables(connection: AsyncConnection) -> dict[str, bool]:
    rows = await connection.execute(
        text("""
            SELECT relname, relrowsecurity FROM pg_class
            WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
        """)
    )
    return {row.relname: row.relrowsecurity for row in rows}


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id text)",
        "ALTER TABLE purchases ADD COLUMN extra text",
        "DROP TABLE purchases",
        "TRUNCATE purchases",
        "ALTER TABLE purchases DISABLE ROW LEVEL SECURITY",
        "UPDATE alembic_version SET version_num = '9999'",
        "INSERT INTO served_revisions VALUES ('9999')",
        "CREATE ROLE mine",
    ],
)
@pytest.mark.parametrize("merchant", ["acme", ANY_TENANT])
async def test_a_service_cannot_change_its_schema(
    database: Database, merchant: str, statement: str
) -> None:
    act_for(merchant)
    with pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
        async with database.begin() as tx:
            await tx.execute(text(statement))


async def test_operators_read_every_merchant_and_change_nothing(
    service_database: ServiceDatabase,
) -> None:
    act_for("nobody")
    owned = connect(service_database("scheduler"), application="test", pool_size=1, keyring=KEYRING)
    url = owned.url.set(username=f"{owned.url.username}_readonly")
    act_for(ANY_TENANT)
    await owned.dispose()
    reader = connect(
        url.render_as_string(hide_password=False), application="test", pool_size=1, keyring=KEYRING
    )
    act_for("nobody")
    async with reader.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM purchases")) == 0
    with pytest.raises(DBAPIError, match="read-only transaction"):
        async with reader.begin() as tx:
            await tx.execute(INSERT, {"merchant": "acme"})
    await reader.dispose()
