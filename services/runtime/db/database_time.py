"""The time of the database."""

from datetime import datetime

from services.runtime.db.pool import Database
from services.runtime.db.statements import Query, scalar

_NOW: Query[datetime] = Query("SELECT clock_timestamp()", scalar)


async def now(database: Database) -> datetime:
    """What the database's clock shows, by the connections of readiness."""
    async with database.check() as connection:
        return await _NOW.one(connection)
