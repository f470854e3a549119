"""Statements as the owner of a database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from services.runtime.db.pool import Database


@asynccontextmanager
async def as_owner(database: Database) -> AsyncIterator[AsyncConnection]:
    """A transaction of the role that migrations run as, in a test's database."""
    url = database.engine.url
    engine = create_async_engine(url.set(username=f"{url.username}_migrator"))
    try:
        async with engine.begin() as tx:
            yield tx
    finally:
        await engine.dispose()
