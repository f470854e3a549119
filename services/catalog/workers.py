"""The catalog's due work: holds and bookings that nobody settled in time, and units that are owed."""

from services.catalog.application import bookings, stock
from services.runtime.crash_points import CrashPoint
from services.runtime.db.due_work import Batch
from services.runtime.db.pool import Database

EXPIRE_BATCH_HOLDS = 500
EXPIRE_BATCH_BOOKINGS = 500
BACKORDER_BATCH = 500

_HOLDS_EXPIRED = CrashPoint("catalog.holds_expired", "Holds that ran out are ended and committed.")
_BACKORDERS_SERVED = CrashPoint(
    "catalog.backorders_served", "It is committed which orders got the units that they are owed."
)
_BOOKINGS_EXPIRED = CrashPoint(
    "catalog.bookings_expired", "Bookings that ran out are ended and committed."
)


class HoldExpiry:
    """Gives back stock whose hold has run out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def work(self, batch: Batch) -> int:
        """Release a batch of holds that are due."""
        async with self._database.begin() as tx:
            expired = await stock.expire_holds(tx, batch.buckets, batch.now, EXPIRE_BATCH_HOLDS)
        if expired:
            _HOLDS_EXPIRED.reached()
        return expired


class Backorders:
    """Gives paid orders the units that they are owed, once these have come."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def work(self, batch: Batch) -> int:
        """Serve a batch of orders that are owed units."""
        async with self._database.begin() as tx:
            served = await stock.serve_backorders(tx, batch.buckets, batch.now, BACKORDER_BATCH)
        if served:
            _BACKORDERS_SERVED.reached()
        return served


class BookingExpiry:
    """Frees slots whose booking has run out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def work(self, batch: Batch) -> int:
        """Release a batch of bookings that are due."""
        async with self._database.begin() as tx:
            expired = await bookings.expire(tx, batch.buckets, batch.now, EXPIRE_BATCH_BOOKINGS)
        if expired:
            _BOOKINGS_EXPIRED.reached()
        return expired
