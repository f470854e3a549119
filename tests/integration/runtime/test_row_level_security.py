"""Row-level security between merchants, and the rights of a service in its database."""

import json
from collections.abc import AsyncIterator, Sequence
from urllib.parse import urlsplit

import asyncpg
import pytest

from deploy.embedded.postgres import EmbeddedPostgres
from services.runtime.auth.call_context import ANY_TENANT, Caller, set_caller
from services.runtime.db.pool import (
    IDLE_IN_TRANSACTION_TIMEOUT_SECONDS,
    LOCK_TIMEOUT_SECONDS,
    STATEMENT_TIMEOUT_SECONDS,
    Connection,
    Database,
    Pool,
    copy,
)
from tests.conftest import KEYRING, ServiceDatabase
from tests.owner import address_of

SERVICES = ("catalog", "scheduler", "payments", "notify")
MERCHANTS = ("acme", "other")
INSERT = "INSERT INTO purchases VALUES ($1, 'ann', 'tea', now())"
COUNT = "SELECT array_agg(merchant ORDER BY merchant) FROM purchases"
# Of no merchant, and nothing that a caller could not know.
COMMON = {"alembic_version", "served_revisions"}
# Of no merchant, and nothing that can be read without a key.
COMMON_OF = {"notify": {"code_limits"}, "payments": {"ledger_closing", "balance_reading"}}
# Of no merchant, and nothing for a caller: no policy shows a row of it.
SHOWN_TO_NOBODY_OF_PAYMENTS = {
    "webhook_events", "provider_payouts", "dispute_lookups", "dispute_lists",
}  # fmt: skip
SHOWN_TO_NOBODY = {
    "inbox", "failed_events", "outbox_cursor", *(f"outbox_{n}" for n in range(8)),
    "bucket_leases", "lease_holders",
    "proof_digests", "proof_digest_progress",
}  # fmt: skip
_CUSTOMER = "( SELECT current_setting('recurring.customer'::text, true) AS current_setting)"
OF_ONE_CUSTOMER = f" CASE {_CUSTOMER} WHEN ''::text THEN true ELSE (customer = {_CUSTOMER}) END"

CALLERS_OF_WHAT_ACTS_AS_THE_OWNER = r"""
    SELECT DISTINCT rolname FROM pg_proc, pg_roles
    WHERE prosecdef AND NOT rolsuper AND rolname LIKE current_user || '%'
      AND rolname !~ '_(owner|migrator)$'
      AND has_function_privilege(rolname, pg_proc.oid, 'EXECUTE')
"""


def act_for(merchant: str, customer: str = "") -> None:
    set_caller(Caller("test", merchant, customer=customer))


@pytest.fixture
async def database(service_database: ServiceDatabase) -> AsyncIterator[Database]:
    """The scheduler's, with a purchase of each merchant and only one connection."""
    database = Database(
        Pool(service_database("scheduler"), application="test", size=1, keyring=KEYRING)
    )
    async with database.begin() as tx:
        for merchant in MERCHANTS:
            await tx.execute(INSERT, merchant)
    yield database
    await database.close()


async def seen(database: Database) -> list[str] | None:
    """The merchants whose rows a query finds that asks for all."""
    async with database.read() as connection:
        merchants: list[str] | None = await connection.driver.fetchval(COUNT)
    return merchants


async def test_a_query_that_forgets_the_merchant_shows_the_callers_rows_alone(
    database: Database,
) -> None:
    for merchant in MERCHANTS * 2:
        act_for(merchant)
        assert await seen(database) == [merchant]


async def test_a_transaction_shows_the_callers_rows_alone(database: Database) -> None:
    act_for("acme")
    async with database.begin() as tx:
        assert await tx.driver.fetchval(COUNT) == ["acme"]


async def test_a_customer_sees_their_own_rows_alone(database: Database) -> None:
    act_for("acme")
    async with database.begin() as tx:
        await tx.execute(INSERT.replace("ann", "bob"), "acme")
    act_for("acme", "ann")
    async with database.read() as connection:
        customers = "SELECT array_agg(customer) FROM purchases"
        assert await connection.driver.fetchval(customers) == ["ann"]
    act_for("acme")
    assert await seen(database) == ["acme", "acme"]


async def test_a_customer_gives_no_row_to_another(database: Database) -> None:
    act_for("acme", "bob")
    for statement in ("UPDATE purchases SET product = 'tar'", "DELETE FROM purchases"):
        async with database.begin() as tx:
            assert await tx.execute(statement) == 0
    with pytest.raises(asyncpg.PostgresError, match="row-level security"):
        async with database.begin() as tx:
            await tx.execute(INSERT, "acme")


async def test_without_a_caller_nothing_is_seen(database: Database) -> None:
    act_for("")
    assert await seen(database) is None


async def test_a_transaction_that_failed_leaves_row_level_security_in_force(
    database: Database,
) -> None:
    act_for("acme")
    with pytest.raises(asyncpg.PostgresError):
        async with database.begin() as tx:
            await tx.execute("SELECT 1 / 0")
    assert await seen(database) == ["acme"]
    act_for(ANY_TENANT)
    assert await seen(database) == list(MERCHANTS)
    act_for("other")
    assert await seen(database) == ["other"]


async def test_no_row_can_be_given_to_another_merchant(database: Database) -> None:
    act_for("acme")
    for statement in (
        "INSERT INTO purchases VALUES ('other', 'bob', 'tea', now())",
        "UPDATE purchases SET merchant = 'other'",
    ):
        with pytest.raises(asyncpg.PostgresError, match="row-level security"):
            async with database.begin() as tx:
                await tx.execute(statement)


async def test_another_merchants_row_cannot_be_changed(database: Database) -> None:
    act_for("acme")
    async with database.begin() as tx:
        deleted = await tx.execute("DELETE FROM purchases WHERE merchant = 'other'")
    assert deleted == 0


@pytest.mark.parametrize("merchant", ["acme", ANY_TENANT])
async def test_rows_are_stored_in_bulk_for_one_merchant_and_for_all(
    database: Database, merchant: str
) -> None:
    act_for(merchant)
    async with database.begin() as tx:
        now = await tx.driver.fetchval("SELECT now()")
        names = ("merchant", "customer", "product", "purchase_time")
        await copy(tx, "purchases", names, [("acme", f"c{n}", "tea", now) for n in range(3)])
        assert await tx.driver.fetchval("SELECT count(*) FROM purchases WHERE customer ~ '^c'") == 3


@pytest.mark.parametrize("service", SERVICES)
async def test_every_table_has_row_level_security(
    service: str, service_database: ServiceDatabase
) -> None:
    database = Database(
        Pool(service_database(service), application="test", size=1, keyring=KEYRING)
    )
    async with database.read() as connection:
        tables = await _tables(connection)
    await database.close()
    common = COMMON | COMMON_OF.get(service, set())
    assert {table["relname"] for table in tables if not table["relrowsecurity"]} == common
    to_nobody = SHOWN_TO_NOBODY | (SHOWN_TO_NOBODY_OF_PAYMENTS if service == "payments" else set())
    policies_of = {table["relname"]: table["permissive"] for table in tables}
    hidden = {name: policies_of.pop(name) for name in to_nobody}
    assert hidden == {name: [] for name in to_nobody}
    shown_to = "(%s = current_setting('recurring.tenant'::text, true))"
    wanted = [[shown_to % column] for column in ("merchant", "tenant")]
    assert {
        name: policies
        for name, policies in policies_of.items()
        if policies not in wanted and name not in common
    } == {}
    assert {
        table["relname"]: table["restrictive"]
        for table in tables
        if table["relname"] not in to_nobody
        and table["restrictive"] != [OF_ONE_CUSTOMER] * table["of_customers"]
    } == {}


async def _tables(connection: Connection) -> Sequence[asyncpg.Record]:
    """Each table, whether its rows are shown by its policies alone, those policies, and whether it says
    of which customer its rows are.

    Permissive policies add up, so one that is too wide would be one too many.
    """
    return await connection.fetch(
        r"""
            SELECT relname, relrowsecurity, array(
                SELECT pg_get_expr(polqual, polrelid) FROM pg_policy
                WHERE polrelid = pg_class.oid AND polpermissive
            ) AS permissive, array(
                SELECT regexp_replace(pg_get_expr(polqual, polrelid), '\s+', ' ', 'g') FROM pg_policy
                WHERE polrelid = pg_class.oid AND NOT polpermissive
            ) AS restrictive, EXISTS (
                SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'customer'
            ) AS of_customers
            FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
        """
    )


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("merchant", ["acme", ANY_TENANT])
async def test_what_was_audited_cannot_be_changed(
    service: str, merchant: str, service_database: ServiceDatabase
) -> None:
    act_for(merchant)
    database = Database(
        Pool(service_database(service), application="test", size=1, keyring=KEYRING)
    )
    for statement in ("UPDATE audit_entries SET subject = 'bob'", "DELETE FROM audit_entries"):
        with pytest.raises(asyncpg.PostgresError, match="permission denied"):
            async with database.begin() as tx:
                await tx.execute(statement)
    await database.close()


LIMITS = """
    SELECT jsonb_object_agg(name, setting::int / 1000) FROM pg_settings
    WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')
"""
LIMITS_SECONDS = {
    "statement_timeout": STATEMENT_TIMEOUT_SECONDS,
    "lock_timeout": LOCK_TIMEOUT_SECONDS,
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT_SECONDS,
}


async def test_a_service_s_statements_locks_and_idle_transactions_are_limited(
    postgres: EmbeddedPostgres, service_database: ServiceDatabase
) -> None:
    act_for("acme")
    admin, database = postgres.databases.url, service_database("scheduler").rpartition("/")[2]
    # Of a role that has no limits, so that they are the service's own.
    unlimited = urlsplit(admin)._replace(path=f"/{database}").geturl()
    pool = Pool(unlimited, application="test", size=1, keyring=KEYRING)
    async with pool.autocommit() as connection:
        assert await connection.driver.fetchval(LIMITS) == LIMITS_SECONDS
    await pool.close()


@pytest.mark.parametrize("suffix", ["", "_readonly"])
async def test_whoever_logs_in_with_a_password_begins_with_the_same_limits(
    service_database: ServiceDatabase, suffix: str
) -> None:
    url = service_database("scheduler")
    connection = await asyncpg.connect(url, user=f"{urlsplit(url).username}{suffix}")
    assert json.loads(await connection.fetchval(LIMITS)) == LIMITS_SECONDS
    await connection.close()


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
    with pytest.raises(asyncpg.PostgresError, match=r"permission denied|must be owner"):
        async with database.begin() as tx:
            await tx.execute(statement)


async def test_operators_read_every_merchant_and_change_nothing(database: Database) -> None:
    reader = await asyncpg.connect(address_of(database, "_readonly"))
    assert await reader.fetchval(COUNT) == list(MERCHANTS)
    with pytest.raises(asyncpg.PostgresError, match="read-only transaction"):
        await reader.execute(INSERT, "acme")
    # Not even one who says that the transaction is to write.
    await reader.execute("SET default_transaction_read_only = off")
    with pytest.raises(asyncpg.PostgresError, match="permission denied"):
        await reader.execute(INSERT, "acme")
    with pytest.raises(asyncpg.PostgresError, match="permission denied"):
        await reader.execute("SELECT truncate_outbox(0)")
    await reader.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_what_acts_as_the_owner_is_called_by_nobody_who_only_reads(
    service: str, service_database: ServiceDatabase
) -> None:
    connection = await asyncpg.connect(service_database(service))
    callers = await connection.fetch(CALLERS_OF_WHAT_ACTS_AS_THE_OWNER)
    await connection.close()
    role = f"recurring_{service}"
    assert {caller["rolname"] for caller in callers} == {role, f"{role}_workers"}
