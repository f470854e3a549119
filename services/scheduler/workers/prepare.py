"""Prepare: at due less lead, each cycle gets its one order, priced and announced."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from operator import attrgetter

from services.runtime.crash_points import CrashPoint
from services.runtime.db.due_work import Batch
from services.runtime.db.pool import Database
from services.runtime.observability import tracing
from services.runtime.workers.bisection import Postponed, bisect_failures
from services.scheduler.application import preparation
from services.scheduler.application.evaluation.context import Context
from services.scheduler.clients import Clients, is_transient
from services.scheduler.domain.cycles import open_cycles
from services.scheduler.domain.ids import StandingOrderKey
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store import due
from services.scheduler.store.gauges import PREPARE
from services.scheduler.workers import lateness

BATCH_STANDING_ORDERS = 500
# While one batch waits for what others answer, another is worked on.
PREPARE_WORKERS = 2
_READ = CrashPoint("scheduler.prepare_read", "Due cycles are read; no service is called yet.")
_DECIDED = CrashPoint("scheduler.prepare_decided", "Orders are priced and not stored.")
_COMMITTED = CrashPoint("scheduler.prepare_committed", "Orders and their events are committed.")


class Prepare:
    """Opens the cycles whose time has come."""

    def __init__(self, database: Database, clients: Clients) -> None:
        self._database = database
        self._clients = clients
        self._postponed: Postponed[StandingOrderKey] = Postponed()

    async def work(self, batch: Batch) -> int:
        """Prepare a batch: ask the others without a transaction, then store all at once."""
        now, left_out = batch.now, self._postponed.waiting()
        async with self._database.read() as connection:
            found = await due.to_prepare(
                connection, batch.buckets, now, BATCH_STANDING_ORDERS, left_out
            )
        if not found:
            return 0
        _READ.reached()

        async def work(some: Sequence[StandingOrder]) -> None:
            await self._prepare(some, now)

        with tracing.working("prepare", len(found)):
            await bisect_failures(found, work, is_transient, self._postponed, attrgetter("key"))
        lateness.record(PREPARE, [one.prepare_time for one in found], now)
        return len(found)

    async def _prepare(self, found: Sequence[StandingOrder], now: datetime) -> None:
        by_key = {standing_order.key: standing_order for standing_order in found}
        new_trace = partial(tracing.new_traceparent, "prepare cycle", alone=len(found) == 1)
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
