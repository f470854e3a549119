"""Prepare: at due less lead, each cycle gets its one order, priced and announced."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from services.runtime.db.pool import Database
from services.runtime.messaging import outbox
from services.runtime.observability import tracing
from services.runtime.workers.bisection import bisect_failures
from services.runtime.workers.clock import Clock
from services.runtime.workers.loop import Step
from services.scheduler.application import settlement
from services.scheduler.application.evaluation.evaluation import prepare
from services.scheduler.application.evaluation.pricing import Templates, template_of
from services.scheduler.clients import Clients, is_transient
from services.scheduler.domain.cycles import open_cycles
from services.scheduler.domain.ids import StandingOrderKey
from services.scheduler.domain.order import Order, OrderState
from services.scheduler.domain.standing_order import Opening, StandingOrder, State
from services.scheduler.publishers import order_events
from services.scheduler.store import orders, standing_orders
from services.scheduler.workers import lateness

BATCH_STANDING_ORDERS = 500
# While one batch waits for what others answer, another is worked on.
PREPARE_LANES = 2


class Prepare:
    """Opens the cycles whose time has come."""

    def __init__(self, database: Database, clock: Clock, clients: Clients) -> None:
        self._database = database
        self._clock = clock
        self._clients = clients

    async def step(self) -> Step:
        """Prepare a batch: claim, ask the others without a transaction, then store all at once."""
        now = self._clock.now()
        async with self._database.engine.begin() as tx:
            claimed = await standing_orders.claim_due(tx, now, BATCH_STANDING_ORDERS)
            if not claimed:
                first = await standing_orders.first_due(tx)
                return Step(wake_at=first, pending=first is not None and first <= now)

        async def work(batch: Sequence[StandingOrder]) -> None:
            await self._prepare(batch, now)

        with tracing.working("prepare", len(claimed)):
            await bisect_failures(claimed, work, is_transient)
        lateness.record_prepared([one.prepare_time for one in claimed], now)
        return Step(worked=len(claimed))

    async def _prepare(self, claimed: Sequence[StandingOrder], now: datetime) -> None:
        templates = {one.key: one for one in claimed}
        new_trace = partial(tracing.new_traceparent, "prepare cycle", alone=len(claimed) == 1)
        openings = {key: open_cycles(one, now, new_trace) for key, one in templates.items()}
        try:
            decided = await self._decide(list(openings.values()), templates, now)
        except Exception as error:
            if is_transient(error):
                await self._release(claimed)
            raise
        await self._store(openings, decided, templates, now)

    async def _decide(
        self, openings: Sequence[Opening], templates: Templates, now: datetime
    ) -> list[Order]:
        """The orders of all openings, priced, or held for what is in the way."""
        orders_all = [order for opening in openings for order in opening.orders]
        to_prepare = [order for order in orders_all if order.state is OrderState.UPCOMING]
        done = [order for order in orders_all if order.state is not OrderState.UPCOMING]
        return done + await prepare(self._database, self._clients, to_prepare, templates, now)

    async def _store(
        self,
        openings: Mapping[StandingOrderKey, Opening],
        decided: Sequence[Order],
        templates: Templates,
        now: datetime,
    ) -> None:
        async with self._database.begin() as tx:
            advanced = await standing_orders.advance(tx, list(openings.values()), State.ACTIVE, now)
            stored = [o for o in decided if o.key.template in advanced]
            await orders.insert(tx, stored, now)
            await outbox.put(
                tx,
                [
                    fact
                    for order in stored
                    for fact in order_events(order, template_of(order, templates), now)
                ],
            )
            await settlement.pause_gone(tx, stored, now)
            ended = [key for key in advanced if openings[key].place.next_cycle is None]
            await settlement.end_finished(tx, ended, now)
            changed_since = [key for key in templates if key not in advanced]
            if changed_since:
                await standing_orders.release(tx, changed_since)

    async def _release(self, claimed: Sequence[StandingOrder]) -> None:
        async with self._database.engine.begin() as tx:
            await standing_orders.release(tx, [one.key for one in claimed])
