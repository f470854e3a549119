"""Collect: at its due time each announced order is priced again, its stock held, its payment asked."""

from collections.abc import Sequence
from operator import attrgetter

from services.runtime.crash_points import CrashPoint
from services.runtime.db.due_work import Batch
from services.runtime.db.pool import Database
from services.runtime.observability import tracing
from services.runtime.workers.bisection import Postponed, bisect_failures
from services.scheduler.application import collection
from services.scheduler.application.evaluation.context import Context
from services.scheduler.clients import Clients, is_transient
from services.scheduler.domain.ids import OrderKey
from services.scheduler.domain.order import Order, OrderState
from services.scheduler.store import due, standing_orders
from services.scheduler.store.gauges import COLLECT
from services.scheduler.workers import lateness

BATCH_ORDERS = 500
_READ = CrashPoint("scheduler.collect_read", "Due orders are read; no service is called yet.")
_HELD = CrashPoint("scheduler.collect_held", "Stock is held for orders that are not stored as due.")
_COMMITTED = CrashPoint("scheduler.collect_committed", "It is committed that payments are due.")


class Collect:
    """Brings due orders to their payment: announced ones, or those that are held."""

    def __init__(self, database: Database, clients: Clients, state: OrderState) -> None:
        self._database = database
        self._clients = clients
        self._state = state
        self._postponed: Postponed[OrderKey] = Postponed()

    async def work(self, batch: Batch) -> int:
        """Collect a batch of orders that are due. One that fails does not hold up the others."""
        now, left_out = batch.now, self._postponed.waiting()
        async with self._database.read() as connection:
            found = await due.orders(
                connection, self._state, batch.buckets, now, BATCH_ORDERS, left_out
            )
            if not found:
                return 0
            keys = [order.key.standing_order_key for order in found]
            by_key = await standing_orders.by_key(connection, keys)
        context = Context(self._database, self._clients, by_key, now)

        async def work(some: Sequence[Order]) -> None:
            _READ.reached()
            decided = await collection.decide(context, some)
            _HELD.reached()
            async with self._database.begin() as tx:
                await collection.store(tx, context, decided, self._state)
            _COMMITTED.reached()

        span = "held" if self._state is OrderState.HELD else "collect"
        with tracing.working(span, len(found), [order.traceparent for order in found]):
            await bisect_failures(found, work, is_transient, self._postponed, attrgetter("key"))
        lateness.record(COLLECT, [order.collect_time for order in found], now)
        return len(found)
