"""Prepare: at due less lead, each cycle gets its one order, priced and announced."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from services.runtime.crash_points import CrashPoint
from services.runtime.db import leases
from services.runtime.db.pool import Database
from services.runtime.observability import tracing
from services.runtime.workers.bisection import bisect_failures
from services.runtime.workers.clock import Clock
from services.runtime.workers.loop import Step
from services.scheduler.application import preparation
from services.scheduler.application.evaluation.context import Context
from services.scheduler.clients import Clients, is_transient
from services.scheduler.domain.cycles import open_cycles
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store import standing_order_claims
from services.scheduler.store.gauges import PREPARE
from services.scheduler.workers import lateness

BATCH_STANDING_ORDERS = 500
# While one batch waits for what others answer, another is worked on.
PREPARE_WORKERS = 2
_CLAIMED = CrashPoint("scheduler.prepare_claimed", "Cycles are claimed, and nobody is asked yet.")
_DECIDED = CrashPoint("scheduler.prepare_decided", "Orders are priced and not stored.")
_COMMITTED = CrashPoint("scheduler.prepare_committed", "Orders and their events are committed.")


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
            claimed = await standing_order_claims.claim_due(tx, now, BATCH_STANDING_ORDERS)
            if not claimed:
                first = await standing_order_claims.first_due_time(tx)
                return Step(wake_at=first, pending=first is not None and first <= now)

        _CLAIMED.reached()

        async def work(batch: Sequence[StandingOrder]) -> None:
            await self._prepare(batch, now)

        release = partial(
            standing_order_claims.release, keys=[standing_order.key for standing_order in claimed]
        )
        with tracing.working("prepare", len(claimed)):
            async with leases.released_on_failure(self._database, release):
                await bisect_failures(claimed, work, is_transient)
        lateness.record(PREPARE, [one.prepare_time for one in claimed], now)
        return Step(worked=len(claimed))

    async def _prepare(self, claimed: Sequence[StandingOrder], now: datetime) -> None:
        by_key = {standing_order.key: standing_order for standing_order in claimed}
        new_trace = partial(tracing.new_traceparent, "prepare cycle", alone=len(claimed) == 1)
        openings = {
            key: open_cycles(standing_order, now, new_trace)
            for key, standing_order in by_key.items()
        }
        context = Context(self._database, self._clients, by_key, now)
        decided = await preparation.decide(context, openings)
        _DECIDED.reached()
        async with self._database.begin() as tx:
            await preparation.store(tx, context, openings, decided)
        _COMMITTED.reached()
