"""Row-level security between merchants, and the rights of a service in its database."""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Row, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from deploy.embedded.postgres import EmbeddedPostgres
from services.runtime.auth.call_context import ANY_TENANT, Caller, set_caller
from services.runtime.db.pool import (
    IDLE_IN_TRANSACTION_TIMEOUT_SECONDS,
    LOCK_TIMEOUT_SECONDS,
    STATEMENT_TIMEOUT_SECONDS,
    Database,
    connect,
    copy,
)
from tests.conftest import KEYRING, ServiceDatabase

SERVICES = ("catalog", "scheduler", "payments", "notify")
MERCHANTS = ("acme", "other")
INSERT = text("INSERT INTO purchases VALUES (:merchant, 'ann', 'tea', now())")
COUNT = text("SELECT array_agg(merchant ORDER BY merchant) FROM purchases")
# Of no merchant, and nothing that a caller could not know.
COMMON = {"alembic_version", "served_revisions"}
# Of no merchant, and nothing that can be read without a key.
COMMON_OF_NOTIFY = {"code_limits"}
# Of no merchant, and nothing for a caller: no policy shows a row of it.
SHOWN_TO_NOBODY = {"inbox", "failed_deliveries", "dead_letters"}


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


async def test_a_transaction_that_failed_leaves_row_level_security_in_force(
    database: Database,
) -> None:
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
async def test_every_table_has_row_level_security(
    service: str, service_database: ServiceDatabase
) -> None:
    database = Database(
        connect(service_database(service), application="test", pool_size=1, keyring=KEYRING)
    )
    async with database.read() as connection:
        tables = await _tables(connection)
    await database.close()
    common = COMMON | COMMON_OF_NOTIFY if service == "notify" else COMMON
    assert {table.relname for table in tables if not table.relrowsecurity} == common
    walled = {
        table.relname: table.policies
        for table in tables
        if table.relname not in common | SHOWN_TO_NOBODY
    }
    shown_to = "(%s = current_setting('recurring.tenant'::text, true))"
    wanted = [[shown_to % column] for column in ("merchant", "tenant")]
    assert {name: found for name, found in walled.items() if found not in wanted} == {}
    hidden = {table.relname: table.policies for table in tables if table.relname in SHOWN_TO_NOBODY}
    assert hidden == {name: [] for name in SHOWN_TO_NOBODY}


async def _tables(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Each table, whether its rows are shown by its policies alone, and those policies.

    Policies add up, so one that is too wide would be one too many.
    """
    rows = await connection.execute(
        text("""
            SELECT relname, relrowsecurity, array(
                SELECT pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polrelid = pg_class.oid
            ) AS policies
            FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
        """)
    )
    return rows.all()


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("merchant", ["acme", ANY_TENANT])
async def test_what_was_audited_cannot_be_changed(
    service: str, merchant: str, service_database: ServiceDatabase
) -> None:
    act_for(merchant)
    database = Database(
        connect(service_database(service), application="test", pool_size=1, keyring=KEYRING)
    )
    for statement in ("UPDATE audit_entries SET subject = 'bob'", "DELETE FROM audit_entries"):
        with pytest.raises(DBAPIError, match="permission denied"):
            async with database.begin() as tx:
                await tx.execute(text(statement))
    await database.close()


LIMITS = text("""
    SELECT jsonb_object_agg(name, setting::int / 1000) FROM pg_settings
    WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')
""")
LIMITS_SECONDS = {
    "statement_timeout": STATEMENT_TIMEOUT_SECONDS,
    "lock_timeout": LOCK_TIMEOUT_SECONDS,
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT_SECONDS,
}


async def limits(engine: AsyncEngine) -> dict[str, int]:
    async with engine.connect() as connection:
        found: dict[str, int] = await connection.scalar(LIMITS)
    await engine.dispose()
    return found


async def test_a_service_s_statements_locks_and_idle_transactions_are_limited(
    postgres: EmbeddedPostgres, service_database: ServiceDatabase
) -> None:
    act_for("acme")
    app, admin = make_url(service_database("scheduler")), urlsplit(postgres.databases.url)
    # Of a role that has no limits, so that they are the service's own.
    unlimited = app.set(username=admin.username, password=admin.password)
    assert (
        await limits(
            connect(
                unlimited.render_as_string(hide_password=False),
                application="test",
                pool_size=1,
                keyring=KEYRING,
            )
        )
        == LIMITS_SECONDS
    )


@pytest.mark.parametrize("suffix", ["", "_readonly"])
async def test_whoever_logs_in_with_a_password_begins_with_the_same_limits(
    service_database: ServiceDatabase, suffix: str
) -> None:
    app = make_url(service_database("scheduler"))
    assert await limits(create_async_engine(app.set(username=f"{app.username}{suffix}"))) == (
        LIMITS_SECONDS
    )


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


async def test_operators_read_every_merchant_and_change_nothing(database: Database) -> None:
    app = database.engine.url
    reader = Database(create_async_engine(app.set(username=f"{app.username}_readonly")))
    assert await seen(reader) == list(MERCHANTS)
    with pytest.raises(DBAPIError, match="read-only transaction"):
        async with reader.begin() as tx:
            await tx.execute(INSERT, {"merchant": "acme"})
    # Not even one who says that the transaction is to write.
    async with reader.begin() as tx:
        await tx.execute(text("SET TRANSACTION READ WRITE"))
        with pytest.raises(DBAPIError, match="permission denied"):
            await tx.execute(INSERT, {"merchant": "acme"})
    await reader.close()
