"""Prepare: at due less lead, each cycle gets its one order, priced and announced."""

from collections.abc import Sequence
from functools import partial

from services.runtime.crash_points import CrashPoint
from services.runtime.db.pool import Database
from services.runtime.observability import tracing
from services.scheduler.application import preparation
from services.scheduler.application.evaluation.context import Context
from services.scheduler.clients import Clients
from services.scheduler.domain.cycles import open_cycles
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store import due
from services.scheduler.store.gauges import PREPARE
from services.scheduler.workers import lateness
from services.scheduler.workers.due_standing_orders import DueStandingOrders

BATCH_STANDING_ORDERS = 500
# While one batch waits for what others answer, another is worked on.
PREPARE_WORKERS = 2
_READ = CrashPoint("scheduler.prepare_read", "Due cycles are read; no service is called yet.")
_DECIDED = CrashPoint("scheduler.prepare_decided", "Orders are priced and not stored.")
_COMMITTED = CrashPoint("scheduler.prepare_committed", "Orders and their events are committed.")


def prepare(database: Database, clients: Clients) -> DueStandingOrders:
    """Opens the cycles whose time has come."""
    return DueStandingOrders(
        database, clients, "prepare", BATCH_STANDING_ORDERS, due.to_prepare, _prepare
    )


async def _prepare(context: Context, found: Sequence[StandingOrder]) -> None:
    _READ.reached()
    new_trace = partial(tracing.new_traceparent, "prepare cycle", alone=len(found) == 1)
    openings = {
        standing_order.key: open_cycles(standing_order, context.now, new_trace)
        for standing_order in found
    }
    decided = await preparation.decide(context, openings)
    _DECIDED.reached()
    async with context.database.begin() as tx:
        await preparation.store(tx, context, openings, decided)
    _COMMITTED.reached()
    lateness.record(PREPARE, [one.prepare_time for one in found], context.now)
