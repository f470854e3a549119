"""Price protections that are about to end: their customers are notified."""

from services.runtime.crash_points import CrashPoint
from services.runtime.db.due_work import Batch
from services.runtime.db.pool import Database
from services.runtime.observability import tracing
from services.scheduler.application import price_protections
from services.scheduler.store import price_protections as store

BATCH_STANDING_ORDERS = 500
_COMMITTED = CrashPoint(
    "scheduler.protection_endings_committed",
    "It is committed whose price protection is about to end.",
)


class ProtectionEnding:
    """Has customers notified whose protection is about to end."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def work(self, batch: Batch) -> int:
        """Publish a batch; nobody has to be asked, so one transaction does it."""
        async with self._database.begin() as tx:
            found = await store.ending(tx, batch.buckets, batch.now, BATCH_STANDING_ORDERS)
            with tracing.working("protection-ending", len(found)):
                await price_protections.notify_endings(tx, found, batch.now)
        if found:
            _COMMITTED.reached()
        return len(found)
