"""Phones that have waited long enough, and those that have been silent for too long."""

from services.notify.application import phones
from services.runtime.crash_points import CrashPoint
from services.runtime.db.due_work import Batch
from services.runtime.db.pool import Database

BATCH_CHANGES = 100

_SILENT_LAPSED = CrashPoint(
    "notify.silent_phones_lapsed", "It is committed which silent phones are not proved any more."
)
_CHANGED = CrashPoint(
    "notify.phones_changed", "It is committed which phones have waited long enough."
)


class PhoneSilence:
    """Takes phones for proved no more at which nothing has arrived for long."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def work(self, batch: Batch) -> int:
        """Work on a batch of what is due."""
        async with self._database.begin() as tx:
            lapsed = await phones.lapse_silent(tx, batch.buckets, batch.now, BATCH_CHANGES)
        if lapsed:
            _SILENT_LAPSED.reached()
        return lapsed


class PhoneChanges:
    """Binds phones that were proved, once the owners of the ones before have had time to object."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def work(self, batch: Batch) -> int:
        """Bind a batch of what is due."""
        async with self._database.begin() as tx:
            changed = await phones.apply_due_changes(tx, batch.buckets, batch.now, BATCH_CHANGES)
        if changed:
            _CHANGED.reached()
        return changed
