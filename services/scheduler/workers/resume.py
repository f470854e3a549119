"""Resume: a pause that had an end is over, or has swallowed the last cycle."""

from services.runtime.crash_points import CrashPoint
from services.runtime.db.due_work import Batch
from services.runtime.db.pool import Database
from services.runtime.observability import tracing
from services.scheduler.application import pauses
from services.scheduler.store import due

BATCH_STANDING_ORDERS = 500
_COMMITTED = CrashPoint("scheduler.pauses_ended", "Ends of pauses are committed.")


class Resume:
    """Lets standing orders go on whose pause is over, and ends those that it has outlasted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def work(self, batch: Batch) -> int:
        """Resume a batch; nobody has to be asked, so one transaction does it."""
        async with self._database.begin() as tx:
            found = await due.to_resume(tx, batch.buckets, batch.now, BATCH_STANDING_ORDERS)
            with tracing.working("resume", len(found)):
                await pauses.resume(tx, found, batch.now)
        if found:
            _COMMITTED.reached()
        return len(found)
