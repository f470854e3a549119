"""Promotions that are about to end: their customers are notified."""

from collections.abc import Sequence
from operator import attrgetter

from services.runtime.db.due_work import Batch
from services.runtime.db.pool import Database
from services.runtime.observability import tracing
from services.runtime.workers.bisection import Postponed, bisect_failures
from services.scheduler.application import promotion_endings
from services.scheduler.application.evaluation.context import Context
from services.scheduler.clients import Clients, is_transient
from services.scheduler.domain.ids import StandingOrderKey
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store import promotion_endings as store

BATCH_STANDING_ORDERS = 250


class PromotionEndings:
    """Has customers notified whose promotion is about to end."""

    def __init__(self, database: Database, clients: Clients) -> None:
        self._database = database
        self._clients = clients
        self._postponed: Postponed[StandingOrderKey] = Postponed()

    async def work(self, batch: Batch) -> int:
        """Look at a batch: ask for prices without a transaction, then publish all at once."""
        now, left_out = batch.now, self._postponed.waiting()
        async with self._database.read() as connection:
            found = await store.ending(
                connection, batch.buckets, now, BATCH_STANDING_ORDERS, left_out
            )
        if not found:
            return 0

        async def work(some: Sequence[StandingOrder]) -> None:
            by_key = {standing_order.key: standing_order for standing_order in some}
            context = Context(self._database, self._clients, by_key, now)
            ends = await promotion_endings.find(context, some)
            async with self._database.begin() as tx:
                await promotion_endings.notify(tx, some, ends, now)

        with tracing.working("promotion-ending", len(found)):
            await bisect_failures(found, work, is_transient, self._postponed, attrgetter("key"))
        return len(found)
