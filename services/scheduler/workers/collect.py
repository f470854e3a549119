"""Collect: at its due time each announced order is priced again, its stock held, its payment asked."""

from collections.abc import Sequence
from functools import partial

from services.runtime.crash_points import CrashPoint
from services.runtime.db import leases
from services.runtime.db.pool import Database
from services.runtime.observability import tracing
from services.runtime.workers.bisection import bisect_failures
from services.runtime.workers.clock import Clock
from services.runtime.workers.loop import Step
from services.scheduler.application import collection
from services.scheduler.application.evaluation.context import Context
from services.scheduler.clients import Clients, is_transient
from services.scheduler.domain.order import Order, OrderState
from services.scheduler.store import order_claims, standing_orders
from services.scheduler.store.gauges import COLLECT
from services.scheduler.workers import lateness

BATCH_ORDERS = 500
_CLAIMED = CrashPoint("scheduler.collect_claimed", "Orders are claimed, and nobody is asked yet.")
_HELD = CrashPoint("scheduler.collect_held", "Stock is held for orders that are not stored as due.")
_COMMITTED = CrashPoint("scheduler.collect_committed", "It is committed that payments are due.")


class Collect:
    """Brings due orders to their payment: announced ones, or those that are held."""

    def __init__(
        self, database: Database, clock: Clock, clients: Clients, state: OrderState
    ) -> None:
        self._database = database
        self._clock = clock
        self._clients = clients
        self._state = state

    async def step(self) -> Step:
        """Collect a batch of orders that are due. One that fails does not hold up the others."""
        now = self._clock.now()
        async with self._database.engine.begin() as tx:
            claimed = await order_claims.claim(tx, self._state, now, BATCH_ORDERS)
            if not claimed:
                # What is due all the same is claimed elsewhere and not done yet.
                first = await order_claims.first_due_time(tx, self._state)
                return Step(wake_at=first, pending=first is not None and first <= now)
            keys = [order.key.standing_order_key for order in claimed]
            by_key = await standing_orders.by_key(tx, keys)
        context = Context(self._database, self._clients, by_key, now)

        async def work(batch: Sequence[Order]) -> None:
            _CLAIMED.reached()
            decided = await collection.decide(context, batch)
            _HELD.reached()
            async with self._database.begin() as tx:
                await collection.store(tx, context, decided, self._state)
            _COMMITTED.reached()

        release = partial(order_claims.release, keys=[order.key for order in claimed])
        span = "held" if self._state is OrderState.HELD else "collect"
        with tracing.working(span, len(claimed), [order.traceparent for order in claimed]):
            async with leases.released_on_failure(self._database, release):
                await bisect_failures(claimed, work, is_transient)
        lateness.record(COLLECT, [order.collect_time for order in claimed], now)
        return Step(worked=len(claimed))
