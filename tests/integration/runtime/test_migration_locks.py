"""A migration beside services that go on, on a table that somebody reads for long."""

import asyncio
import time
from pathlib import Path

import asyncpg
import pytest

from services.runtime.db import revisions
from services.runtime.db.migrations import upgrade_async
from services.runtime.db.pool import LOCK_TIMEOUT_SECONDS
from tests.conftest import ServiceDatabase
from tests.integration.runtime.pubsub import until

# The service's own, which has been run, and one that needs the table for itself.
FIRST = """
revision = "0001"
down_revision = None
"""
SECOND = """
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    op.execute("ALTER TABLE orders ADD COLUMN remark text")
"""
ENVIRONMENT = """
from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
"""
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass"


@pytest.fixture
def migrator(service_database: ServiceDatabase) -> str:
    """The address at which migrations change a database with the scheduler's schema."""
    role, rest = service_database("scheduler").removeprefix("postgresql://").split(":", 1)
    return f"postgresql://{role}_migrator:{rest}"


@pytest.fixture
def service(migrator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a service with that schema and one more migration."""
    assert migrator
    monkeypatch.setattr(revisions, "SERVICES_FOLDER", tmp_path)
    folder = tmp_path / tmp_path.name / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(ENVIRONMENT)
    (folder / "versions" / "0001_first.py").write_text(FIRST)
    (folder / "versions" / "0002_second.py").write_text(SECOND)
    return tmp_path.name


async def test_a_migration_that_waits_for_a_table_keeps_nobody_waiting_for_long(
    migrator: str, service: str
) -> None:
    reader, other = await asyncpg.connect(migrator), await asyncpg.connect(migrator)
    # As a proof or a dump reads.
    reading = reader.transaction()
    await reading.start()
    await reader.execute("LOCK TABLE orders IN ACCESS SHARE MODE")
    migration = asyncio.create_task(upgrade_async(service, migrator))
    try:

        async def waits() -> bool:
            return bool(await other.fetchval(WAITING))

        await until(waits)
        started = time.monotonic()
        # A service gives up after this.
        await other.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
        await other.fetchval("SELECT count(*) FROM orders")
        assert time.monotonic() - started < LOCK_TIMEOUT_SECONDS
        assert not migration.done()
    finally:
        await reading.rollback()
        await reader.close()
        await migration
    assert await other.fetchval("SELECT count(remark) FROM orders") == 0
    await other.close()
