"""Resume: a pause that had an end is over, or has swallowed the last cycle."""

from collections.abc import Sequence

from services.runtime.crash_points import CrashPoint
from services.runtime.db.pool import Database
from services.scheduler.application import pauses
from services.scheduler.application.evaluation.context import Context
from services.scheduler.clients import Clients
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store import due
from services.scheduler.workers.due_standing_orders import DueStandingOrders

BATCH_STANDING_ORDERS = 500
_COMMITTED = CrashPoint("scheduler.pauses_ended", "Ends of pauses are committed.")


def resume(database: Database, clients: Clients) -> DueStandingOrders:
    """Lets standing orders go on whose pause is over, and ends those that it has outlasted."""
    return DueStandingOrders(
        database, clients, "resume", BATCH_STANDING_ORDERS, due.to_resume, _resume
    )


async def _resume(context: Context, found: Sequence[StandingOrder]) -> None:
    async with context.database.begin() as tx:
        await pauses.resume(tx, found, context.now)
    _COMMITTED.reached()
