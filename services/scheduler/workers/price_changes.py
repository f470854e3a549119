"""Price changes: a walk finds whom each concerns, and then each customer is notified once."""

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter

from services.runtime.crash_points import CrashPoint
from services.runtime.db.due_work import Batch
from services.runtime.db.pool import Database
from services.runtime.observability import tracing
from services.runtime.workers.bisection import Postponed, bisect_failures
from services.scheduler.application import price_changes
from services.scheduler.application.evaluation.context import Context
from services.scheduler.application.price_changes import WALKS_MAX
from services.scheduler.clients import Clients, is_transient
from services.scheduler.domain.ids import CustomerKey
from services.scheduler.domain.price_changes import (
    PriceChange,
    PriceChangeKey,
    Recipient,
    by_customer,
)
from services.scheduler.store import price_changes as store
from services.scheduler.store import standing_orders

BATCH_RECIPIENTS = 500
_WALKED = CrashPoint(
    "scheduler.price_change_walked", "It is committed whom a price change may concern."
)
_DECIDED = CrashPoint(
    "scheduler.price_notices_decided",
    "It is decided who is notified of a price change, and not stored.",
)
_COMMITTED = CrashPoint(
    "scheduler.price_notices_committed", "It is committed who is notified of a price change."
)


class PriceChanges:
    """Walks over the standing orders with a product whose price changes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._postponed: Postponed[PriceChangeKey] = Postponed()

    async def work(self, batch: Batch) -> int:
        """Go on with walks; nobody has to be asked, so one transaction does it."""
        left_out = self._postponed.waiting()
        async with self._database.read() as connection:
            due = await store.due(connection, batch.buckets, batch.now, WALKS_MAX, left_out)
        if not due:
            return 0

        walked = 0

        async def walk(changes: Sequence[PriceChange]) -> None:
            nonlocal walked
            async with self._database.begin() as tx:
                count = await price_changes.walk(tx, changes, batch.now)
            walked += count
            _WALKED.reached()

        await bisect_failures(due, walk, is_transient, self._postponed, attrgetter("key"))
        return walked


class PriceNotices:
    """Has customers notified whose own price changes."""

    def __init__(self, database: Database, clients: Clients) -> None:
        self._database = database
        self._clients = clients
        self._postponed: Postponed[tuple[CustomerKey, str, str]] = Postponed()

    async def work(self, batch: Batch) -> int:
        """Look at a batch: ask the catalog without a transaction, then store all at once."""
        now, left_out = batch.now, self._postponed.waiting()
        async with self._database.read() as connection:
            found = await store.recipients(
                connection, batch.buckets, now, BATCH_RECIPIENTS, left_out
            )
            if not found:
                return 0
            by_key = await standing_orders.by_key(connection, [one.key for one in found])
        context = Context(self._database, self._clients, by_key, now)

        async def work(groups: Sequence[Sequence[Recipient]]) -> None:
            decided = await price_changes.decide(context, list(chain.from_iterable(groups)))
            _DECIDED.reached()
            async with self._database.begin() as tx:
                await price_changes.store_decided(tx, context, decided)
            _COMMITTED.reached()

        with tracing.working("price-notice", len(found)):
            await bisect_failures(
                by_customer(found),
                work,
                is_transient,
                self._postponed,
                lambda group: group[0].customer_key,
            )
        return len(found)
