"""Brings a service's database to the schema of its code; safe to run from many places at once."""

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

SERVICES_FOLDER = Path(__file__).resolve().parent.parent
# One advisory lock a database: whoever comes second waits, and finds nothing left to do.
MIGRATION_LOCK_KEY = 0x7265637572
LOCK_TIMEOUT_SECONDS = 60

# The tables that the runtime needs in every service's database, first version. Migrations are history:
# a change of these comes as another constant.
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

CREATE TABLE dead_letters (
    partition_key  text        NOT NULL,
    event_id       uuid        NOT NULL,
    type           text        NOT NULL,
    headers        jsonb       NOT NULL,
    data           bytea       NOT NULL,
    error          text        NOT NULL,
    bury_time      timestamptz NOT NULL DEFAULT now(),
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
"""


def statements(script: str) -> list[str]:
    """The statements of a script, which each end with a semicolon at the end of a line.

    The driver takes one statement at a time. A function's body between $$ and $$ is not cut.
    """
    found: list[str] = []
    begun = ""
    for piece in script.split(";\n"):
        begun += piece
        if begun.count("$$") % 2:
            begun += ";\n"
            continue
        if begun.strip():
            found.append(begun)
        begun = ""
    if begun.strip():
        # A function's body that does not end: PostgreSQL says so.
        found.append(begun)
    return found


def upgrade(service: str, database_url: str) -> None:
    """Run the migrations that the database lacks. Must not be called from a running event loop.

    Raises what PostgreSQL or alembic raise; a failed migration leaves the schema as it was.
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
    config = Config()
    config.set_main_option("script_location", str(SERVICES_FOLDER / service / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
