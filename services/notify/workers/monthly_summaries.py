"""Months of customers that are over."""

from services.notify.application import monthly_summaries
from services.runtime.crash_points import CrashPoint
from services.runtime.db.due_work import Batch
from services.runtime.db.pool import Database

BATCH_SUMMARIES = 100
_SUMMED_UP = CrashPoint("notify.months_summed_up", "Summaries of months are made and committed.")


class MonthlySummaries:
    """Sums up months, for customers of merchants that want it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def work(self, batch: Batch) -> int:
        """Sum up a batch of the months that are due."""
        async with self._database.begin() as tx:
            summed_up = await monthly_summaries.make_due(
                tx, batch.buckets, batch.now, BATCH_SUMMARIES
            )
        if summed_up:
            _SUMMED_UP.reached()
        return summed_up
