"""Transactions that wait for one another."""

import asyncio

from services.runtime.db.pool import Database

_WAIT_SECONDS = 60
_WAITING = """
    SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE NOT granted AND datname = current_database()
"""


async def wait_for_locks(database: Database, count: int = 1) -> None:
    """Return once so many transactions of a database wait for locks of others."""
    async with asyncio.timeout(_WAIT_SECONDS):
        while await _waiting(database) < count:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)


async def _waiting(database: Database) -> int:
    async with database.read() as connection:
        [[count]] = await connection.fetch(_WAITING)
        return int(count)
