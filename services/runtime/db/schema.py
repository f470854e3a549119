"""Whether the code fits the schema of its database.

Code serves on the schema that it was written for, and on a newer one whose migrations say that they
still serve it. So a change that removes a column takes two releases. The first one expands: new columns
beside the old ones, `serves_since = "0001"` in its migration, and code that uses neither alone. The
next one contracts, when no replica of the release before the first one runs any more. Code never serves
on an older schema: it waits for the migration, which runs in a process of its own (`migrations`).
"""

import asyncio
import os
import subprocess
import sys
from typing import NamedTuple

import asyncpg

from services.runtime.db import revisions
from services.runtime.db.pool import Database
from services.runtime.db.statements import Query

MIGRATIONS_MODULE = "services.runtime.db.migrations"
# A migration that a service runs itself is of a database for development.
MIGRATION_TIMEOUT_SECONDS = 300.0


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


async def check(database: Database, service: str) -> None:
    """Raise SchemaMisfitError unless the code of a service may serve on the database's schema."""
    wanted = revisions.head(service)
    try:
        async with database.check() as connection:
            schema = await _SCHEMA.one_or_none(connection, head=wanted)
    except asyncpg.UndefinedTableError:
        schema = None
    if schema is None:
        raise SchemaMisfitError(f"the database has no schema; this code needs {wanted}: migrate it")
    if schema.serves_head:
        return
    if schema.revision in revisions.known(service):
        raise SchemaMisfitError(
            f"the schema is {schema.revision}, older than this code, which needs {wanted}: migrate it"
        )
    raise SchemaMisfitError(
        f"the schema is {schema.revision}, newer than this code ({wanted}), and does not serve it: "
        "run newer code"
    )


async def ensure(database: Database, service: str, migration_url: str) -> None:
    """As `check`, after a migration by that URL if one is given and needed."""
    try:
        await check(database, service)
    except SchemaMisfitError:
        if not migration_url:
            raise
        await _migrate(service, migration_url)
        await check(database, service)


async def _migrate(service: str, migration_url: str) -> None:
    # Not asyncio's subprocess: a supervisor has blocked SIGCHLD, by which that learns of an end.
    try:
        migration = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", MIGRATIONS_MODULE, service],
            env={**os.environ, revisions.url_variable(service): migration_url},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=MIGRATION_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as expired:
        raise SchemaMisfitError(
            f"the migration took longer than {expired.timeout:g} s, and was ended"
        ) from expired
    if migration.returncode:
        raise SchemaMisfitError(f"the migration failed: {migration.stderr.strip()}")
