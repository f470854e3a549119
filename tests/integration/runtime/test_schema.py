"""The schema that a service makes itself, where it may."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from deploy.embedded.databases import Passwords
from deploy.embedded.postgres import EmbeddedPostgres
from services.runtime.db import schema
from services.runtime.db.migrations import MIGRATION_LOCK_KEY
from services.runtime.db.pool import Database, Pool
from services.runtime.db.schema import SchemaMisfitError
from tests.conftest import KEYRING, PASSWORD

NAME = "slow_schema"


@pytest.fixture
async def database(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """Without a schema."""
    postgres.databases.ensure(NAME, Passwords(*[PASSWORD] * 4))
    url = postgres.databases.address(NAME, PASSWORD, NAME)
    database = Database(Pool(url, application="test", size=1, keyring=KEYRING))
    yield database
    await database.close()


async def test_a_migration_that_takes_too_long_is_ended_and_tried_again(
    database: Database, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrator = postgres.databases.address(f"{NAME}_migrator", PASSWORD, NAME)
    other = await asyncpg.connect(migrator)
    try:
        await other.fetchval("SELECT pg_advisory_lock($1)", MIGRATION_LOCK_KEY)
        with monkeypatch.context() as shortly:
            shortly.setattr(schema, "MIGRATION_TIMEOUT_SECONDS", 2.0)
            with pytest.raises(SchemaMisfitError, match="longer than 2 s, and was ended"):
                await schema.ensure(database, "catalog", migrator)
    finally:
        await other.close()
    await schema.ensure(database, "catalog", migrator)
