"""When the next work is due."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from services.runtime.db.pool import Connection, Database
from services.runtime.workers.loop import Step

BATCH_ROWS = 500


async def not_due(
    database: Database,
    next_due: Callable[[Connection], Awaitable[datetime | None]],
    now: datetime,
) -> Step | None:
    """A step that found nothing to do, and when there will be; None if something is due."""
    async with database.read() as connection:
        due = await next_due(connection)
    return Step(wake_at=due) if due is None or due > now else None
