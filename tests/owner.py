"""Statements as the owner of a database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from services.runtime.db.pool import Connection, Database


def address_of(database: Database, role_suffix: str) -> str:
    """A test's database for the role of its service with this suffix."""
    return database.pool.url.replace(":only", f"{role_suffix}:only")


@asynccontextmanager
async def as_owner(database: Database) -> AsyncIterator[Connection]:
    """A transaction of the role that migrations run as, in a test's database."""
    driver = await asyncpg.connect(address_of(database, "_migrator"))
    try:
        async with driver.transaction():
            yield Connection(driver, database.keyring)
    finally:
        await driver.close()
