"""Migrates a service's database to the schema of its code, and checks whether the code fits a schema.

Code serves on the schema that it was written for, and on a newer one whose migrations say that they
still serve it. So a change that removes a column takes two releases. The first one expands: new columns
beside the old ones, `serves_since = "0001"` in its migration, and code that uses neither alone. The
next one contracts, when no replica of the release before the first one runs any more. Code never serves
on an older schema: it waits for the migration.
"""

import asyncio
import functools
from pathlib import Path
from typing import NamedTuple

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, pool, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from services.runtime.db.pool import Database
from services.runtime.db.statements import Query

SERVICES_FOLDER = Path(__file__).resolve().parents[2]
# One advisory lock a database: a second migration waits, and finds nothing left to do.
MIGRATION_LOCK_KEY = 0x7265637572
LOCK_TIMEOUT_SECONDS = 60

# The runtime's tables in every service's database, first version. Migrations are history: a change of
# these is another constant.
RUNTIME_TABLES_V1 = """
CREATE TABLE outbox (
    partition_key  text        NOT NULL,
    event_id       uuid        NOT NULL,
    position       bigint      GENERATED ALWAYS AS IDENTITY,
    type           text        NOT NULL,
    tenant         text        NOT NULL,
    data           bytea       NOT NULL,
    traceparent    text        NOT NULL,
    occur_time     timestamptz NOT NULL,
    claim_time     timestamptz,
    publish_time   timestamptz,
    PRIMARY KEY (partition_key, event_id)
);
CREATE INDEX outbox_unpublished ON outbox (position) WHERE publish_time IS NULL;
CREATE INDEX outbox_published ON outbox (publish_time) WHERE publish_time IS NOT NULL;

CREATE TABLE inbox (
    partition_key  text        NOT NULL,
    event_id       uuid        NOT NULL,
    handle_time    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (partition_key, event_id)
);
CREATE INDEX inbox_handled ON inbox (handle_time);

CREATE TABLE failed_deliveries (
    partition_key  text        NOT NULL,
    event_id       uuid        NOT NULL,
    failure_count  integer     NOT NULL,
    failure_time   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (partition_key, event_id)
);

CREATE TABLE dead_letters (
    partition_key  text        NOT NULL,
    event_id       uuid        NOT NULL,
    type           text        NOT NULL,
    headers        jsonb       NOT NULL,
    data           bytea       NOT NULL,
    error          text        NOT NULL,
    dead_letter_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (partition_key, event_id)
);

CREATE TABLE requests (
    tenant         text        NOT NULL,
    request_id     uuid        NOT NULL,
    method         text        NOT NULL,
    content_hash   bytea       NOT NULL,
    response       bytea       NOT NULL,
    create_time    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, request_id)
);
CREATE INDEX requests_created ON requests (create_time);

-- The audit. Callers see the position, so it is derived from the time: a count would show each merchant
-- how much the others do.
CREATE TABLE audit_entries (
    tenant         text        NOT NULL,
    position       uuid        NOT NULL DEFAULT uuidv7(),
    subject        text        NOT NULL,
    origin         text        NOT NULL,
    method         text        NOT NULL,
    -- NULL if the method has none.
    request_id     uuid,
    resource       text        NOT NULL,
    state_before   jsonb,
    state_after    jsonb       NOT NULL,
    create_time    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, position)
);
CREATE INDEX audit_entries_of_resource ON audit_entries (tenant, resource, position);

-- Revokes privileges on tables from all roles but the owner.
CREATE FUNCTION revoke_privileges(privileges text, VARIADIC relations regclass[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    held record;
BEGIN
    FOR held IN
        SELECT DISTINCT pg_class.oid::regclass AS relation, granted.grantee::regrole AS grantee
        FROM pg_class, aclexplode(relacl) AS granted
        WHERE pg_class.oid = ANY (relations) AND granted.grantee NOT IN (0, relowner)
    LOOP
        EXECUTE format('REVOKE %s ON %s FROM %s', privileges, held.relation, held.grantee);
    END LOOP;
END $$;

-- Lets callers see only the rows of their tenant, by the column.
CREATE FUNCTION enable_tenant_rls(tenant_column name, VARIADIC relations regclass[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    relation regclass;
BEGIN
    FOREACH relation IN ARRAY relations LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation);
        EXECUTE format(
            'CREATE POLICY tenant ON %s USING (%I = current_setting(''recurring.tenant'', true))',
            relation, tenant_column);
    END LOOP;
END $$;
SELECT enable_tenant_rls('tenant', 'outbox', 'requests', 'audit_entries');

-- Keeps a row in its final state, whatever arrives late, twice or out of order.
CREATE FUNCTION refuse_regress() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a row of % is % for good', TG_TABLE_NAME, OLD.state
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE FUNCTION keep_final_states(relation regclass, VARIADIC states text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'CREATE TRIGGER %I BEFORE UPDATE OF state ON %s FOR EACH ROW'
        ' WHEN (OLD.state IN (%s) AND NEW.state <> OLD.state) EXECUTE FUNCTION refuse_regress()',
        relation || '_final', relation,
        (SELECT string_agg(quote_literal(state), ', ') FROM unnest(states) AS state));
END $$;
SELECT revoke_privileges('UPDATE, DELETE', 'audit_entries');
-- Without a policy: callers see no events of other services.
ALTER TABLE inbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE failed_deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE dead_letters ENABLE ROW LEVEL SECURITY;

-- The revisions of the code that may serve on this schema; each migration replaces them.
CREATE TABLE served_revisions (
    revision       text        NOT NULL PRIMARY KEY
);
SELECT revoke_privileges('INSERT, UPDATE, DELETE', 'served_revisions', 'alembic_version');

-- What proofs read (docs/audit-views.md): a contract, unlike the tables. A view shows the rows of every
-- merchant, since its owner, who owns the tables, is not subject to their policies. Services have no
-- access to the schema.
CREATE SCHEMA IF NOT EXISTS audit_v1;
CREATE VIEW audit_v1.backlog AS
    SELECT (SELECT count(*) FROM outbox WHERE publish_time IS NULL) AS unpublished_count,
           (SELECT min(occur_time) FROM outbox WHERE publish_time IS NULL) AS oldest_unpublished_time,
           (SELECT count(*) FROM dead_letters) AS dead_letter_count;
-- Where a snapshot of this database stands.
CREATE VIEW audit_v1.position AS
    SELECT now() AS read_time, pg_current_snapshot()::text AS snapshot,
           (SELECT coalesce(max(position), 0) FROM outbox) AS event_position;
CREATE VIEW audit_v1.events_published AS
    SELECT event_id, type, tenant AS merchant, partition_key, position, occur_time, claim_time,
           publish_time
    FROM outbox;
CREATE VIEW audit_v1.events_received AS
    SELECT event_id, partition_key, handle_time FROM inbox;
CREATE VIEW audit_v1.dead_letters AS
    SELECT event_id, type, split_part(partition_key, '/', 2) AS merchant, partition_key,
           dead_letter_time
    FROM dead_letters;
"""


class _Schema(NamedTuple):
    serves_head: bool
    revision: str


_SCHEMA = Query(
    """
    SELECT EXISTS (SELECT FROM served_revisions WHERE revision = :head) AS serves_head,
           version_num AS revision
    FROM alembic_version
    """,
    _Schema,
)


class SchemaMisfitError(Exception):
    """The code must not serve on the schema that the database has; the message says why."""


def statements(script: str) -> list[str]:
    """The statements of a script, each of which ends with a semicolon at the end of a line.

    The driver executes one statement at a time. The body of a function between $$ and $$ is not split.
    """
    found = [""]
    for piece in script.split(";\n"):
        if found[-1].count("$$") % 2:
            found[-1] += f";\n{piece}"
        else:
            found.append(piece)
    return [statement for statement in found if statement.strip()]


def head(service: str) -> str:
    """The revision of the schema that the code of a service was written for."""
    return str(_script(service).get_current_head())


async def check(database: Database, service: str) -> None:
    """Raise SchemaMisfitError unless the code of a service may serve on the database's schema."""
    wanted = head(service)
    try:
        async with database.check() as connection:
            schema = await _SCHEMA.one_or_none(connection, head=wanted)
    except DBAPIError as error:
        if not isinstance(error.driver_exception, asyncpg.UndefinedTableError):
            raise
        schema = None
    if schema is None:
        raise SchemaMisfitError(f"the database has no schema; this code needs {wanted}: migrate it")
    if schema.serves_head:
        return
    if schema.revision in _revisions(service):
        raise SchemaMisfitError(
            f"the schema is {schema.revision}, older than this code, which needs {wanted}: migrate it"
        )
    raise SchemaMisfitError(
        f"the schema is {schema.revision}, newer than this code ({wanted}), and does not serve it: "
        "run newer code"
    )


async def ensure(database: Database, service: str, migration_url: str) -> None:
    """Upgrade the schema by that URL, if one is given, then check that the code may serve on it."""
    if migration_url:
        await upgrade_async(service, migration_url)
    await check(database, service)


def upgrade(service: str, database_url: str) -> None:
    """Run the missing migrations. Must not be called from a running event loop.

    Raises errors of PostgreSQL and alembic; a failed migration leaves the schema as it was.
    """
    asyncio.run(upgrade_async(service, database_url))


async def upgrade_async(service: str, database_url: str) -> None:
    """As `upgrade`, from inside an event loop."""
    engine = create_async_engine(database_url, poolclass=pool.NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK_KEY}
            )
            await connection.run_sync(_upgrade, service)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, service: str) -> None:
    found = MigrationContext.configure(connection).get_current_revision()
    if found is not None and found not in _revisions(service):
        # Newer code has migrated the database; `check` decides whether this code may serve.
        return
    config = _config(service)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    connection.execute(text("DELETE FROM served_revisions"))
    connection.execute(
        text("INSERT INTO served_revisions SELECT unnest(CAST(:served AS text[]))"),
        {"served": served(service)},
    )


def served(service: str) -> list[str]:
    """The revisions of the code that may serve on the newest schema of a service.

    A migration serves the code of its own revision, and if it has `serves_since`, the code since that.
    """
    scripts = list(_script(service).walk_revisions())
    names = [script.revision for script in scripts]
    # The index of the oldest code that all migrations so far serve, the newest migration first.
    oldest = len(names)
    for index, script in enumerate(scripts):
        if index > oldest:
            return names[:index]
        since = getattr(script.module, "serves_since", script.revision)
        oldest = min(oldest, names.index(since))
    return names


@functools.cache
def _script(service: str) -> ScriptDirectory:
    return ScriptDirectory.from_config(_config(service))


def _revisions(service: str) -> set[str]:
    return {script.revision for script in _script(service).walk_revisions()}


def _config(service: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(SERVICES_FOLDER / service / "migrations"))
    return config
