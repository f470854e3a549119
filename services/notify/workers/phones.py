"""Phones that have waited long enough, and those that have been silent for too long."""

from services.notify.application import phones
from services.runtime.db.due_work import Batch
from services.runtime.db.pool import Database

BATCH_CHANGES = 100


class PhoneSilence:
    """Takes phones for proved no more at which nothing has arrived for long."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def work(self, batch: Batch) -> int:
        """Work on a batch of what is due."""
        async with self._database.begin() as tx:
            return await phones.lapse_silent(tx, batch.buckets, batch.now, BATCH_CHANGES)


class PhoneChanges:
    """Binds phones that were proved, once the owners of the ones before have had time to object."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def work(self, batch: Batch) -> int:
        """Bind a batch of what is due."""
        async with self._database.begin() as tx:
            return await phones.apply_due_changes(tx, batch.buckets, batch.now, BATCH_CHANGES)
