"""The catalog's due work: holds and bookings that nobody settled in time, and units that are owed."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Generic, TypeVar

from services.catalog.application import bookings, stock
from services.catalog.domain.bookings import Booking
from services.catalog.domain.stock import Hold
from services.catalog.store import bookings as booking_store
from services.catalog.store import holds as hold_store
from services.runtime.crash_points import CrashPoint
from services.runtime.db.due_work import Batch
from services.runtime.db.pool import Connection, Database
from services.runtime.observability.outages import is_outage
from services.runtime.workers.bisection import Postponed, bisect_failures

BATCH_ORDERS = 500

_HOLDS_EXPIRED = CrashPoint("catalog.holds_expired", "Holds that ran out are ended and committed.")
_BACKORDERS_SERVED = CrashPoint(
    "catalog.backorders_served", "It is committed which orders got the units that they are owed."
)
_BOOKINGS_EXPIRED = CrashPoint(
    "catalog.bookings_expired", "Bookings that ran out are ended and committed."
)

T = TypeVar("T", Hold, Booking)
# From a connection: so many of some buckets, due by an instant, by their orders' names, but for some.
Read = Callable[
    [Connection, Sequence[int], datetime, int, Sequence[str]], Awaitable[Mapping[str, T]]
]
Step = Callable[[Connection, Mapping[str, T], datetime], Awaitable[None]]


class DueOrders(Generic[T]):
    """Works on what there is of orders, in one transaction; those that fail alone wait."""

    def __init__(
        self, database: Database, read: Read[T], step: Step[T], committed: CrashPoint
    ) -> None:
        self._database = database
        self._read: Read[T] = read
        self._step: Step[T] = step
        self._committed = committed
        self._postponed: Postponed[str] = Postponed()

    async def work(self, batch: Batch) -> int:
        """Work on a batch; returns of how many orders it is."""
        left_out = self._postponed.waiting()
        async with self._database.read() as connection:
            due = await self._read(connection, batch.buckets, batch.now, BATCH_ORDERS, left_out)
        if not due:
            return 0

        async def work(orders: Sequence[str]) -> None:
            async with self._database.begin() as tx:
                await self._step(tx, {order: due[order] for order in orders}, batch.now)
            self._committed.reached()

        await bisect_failures(list(due), work, is_outage, self._postponed, str)
        return len(due)


def hold_expiry(database: Database) -> DueOrders[Hold]:
    """Gives back stock whose hold has run out."""
    return DueOrders(database, hold_store.expiring, stock.expire_holds, _HOLDS_EXPIRED)


def backorders(database: Database) -> DueOrders[Hold]:
    """Gives paid orders the units that they are owed, once these have come."""
    return DueOrders(
        database, hold_store.due_backorders, stock.serve_backorders, _BACKORDERS_SERVED
    )


def booking_expiry(database: Database) -> DueOrders[Booking]:
    """Frees slots whose booking has run out."""
    return DueOrders(database, booking_store.expiring, bookings.expire, _BOOKINGS_EXPIRED)
