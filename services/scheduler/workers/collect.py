"""Collect: at its due time each announced order is priced again, its stock held, its payment asked."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from services.runtime.crash_points import CrashPoint
from services.runtime.db import leases
from services.runtime.db.pool import Connection, Database
from services.runtime.observability import tracing
from services.runtime.workers.bisection import bisect_failures
from services.runtime.workers.clock import Clock
from services.runtime.workers.loop import Step
from services.scheduler.application import collection
from services.scheduler.application.evaluation.pricing import (
    Templates,
)
from services.scheduler.clients import Clients, is_transient
from services.scheduler.domain.order import Order, OrderState
from services.scheduler.store import order_claims, standing_orders
from services.scheduler.workers import lateness

BATCH_ORDERS = 500
_CLAIMED = CrashPoint("scheduler.collect_claimed", "Orders are claimed, and nobody is asked yet.")
_HELD = CrashPoint("scheduler.collect_held", "Stock is held for orders that are not stored as due.")
_COMMITTED = CrashPoint("scheduler.collect_committed", "It is committed that payments are due.")


class Collect:
    """Brings due orders to their payment, and looks again at those that are held."""

    def __init__(self, database: Database, clock: Clock, clients: Clients) -> None:
        self._database = database
        self._clock = clock
        self._clients = clients

    async def collect_step(self) -> Step:
        """Collect a batch of announced orders that are due."""
        now = self._clock.now()
        async with self._database.engine.begin() as tx:
            claimed = await order_claims.claim_to_collect(tx, now, BATCH_ORDERS)
            if not claimed:
                return _idle(await order_claims.first_to_collect(tx), now)
            templates = await _templates(tx, claimed)
        with tracing.working("collect", len(claimed), [order.traceparent for order in claimed]):
            await self._work_surely(claimed, OrderState.UPCOMING, templates, now)
        lateness.record_collected([order.collect_time for order in claimed], now)
        return Step(worked=len(claimed))

    async def held_step(self) -> Step:
        """Look again at a batch of held orders."""
        now = self._clock.now()
        async with self._database.engine.begin() as tx:
            claimed = await order_claims.claim_held(tx, now, BATCH_ORDERS)
            if not claimed:
                return _idle(await order_claims.first_held(tx), now)
            templates = await _templates(tx, claimed)
        with tracing.working("held", len(claimed), [order.traceparent for order in claimed]):
            await self._work_surely(claimed, OrderState.HELD, templates, now)
        return Step(worked=len(claimed))

    async def _work_surely(
        self, claimed: Sequence[Order], state: OrderState, templates: Templates, now: datetime
    ) -> None:
        """Work on a batch; an order that cannot be worked on does not hold up the others."""

        async def work(batch: Sequence[Order]) -> None:
            await self._work(batch, state, templates, now)

        release = partial(order_claims.release, keys=[order.key for order in claimed])
        async with leases.released_on_failure(self._database, release):
            await bisect_failures(claimed, work, is_transient)

    async def _work(
        self, claimed: Sequence[Order], state: OrderState, templates: Templates, now: datetime
    ) -> None:
        _CLAIMED.reached()
        decided = await collection.decide(self._database, self._clients, claimed, templates, now)
        _HELD.reached()
        async with self._database.begin() as tx:
            await collection.store(tx, decided, state, templates, now)
        _COMMITTED.reached()


async def _templates(tx: Connection, claimed: Sequence[Order]) -> Templates:
    return await standing_orders.by_key(tx, [order.key.standing_order_key for order in claimed])


def _idle(first: datetime | None, now: datetime) -> Step:
    """Nothing could be claimed; what is due all the same is claimed elsewhere and not done yet."""
    return Step(wake_at=first, pending=first is not None and first <= now)
