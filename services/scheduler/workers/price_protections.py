"""Price protections that are about to end: their customers are notified."""

from collections.abc import Sequence

from services.runtime.crash_points import CrashPoint
from services.runtime.db.pool import Database
from services.scheduler.application import price_protections
from services.scheduler.application.evaluation.context import Context
from services.scheduler.clients import Clients
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store import due
from services.scheduler.workers.due_standing_orders import DueStandingOrders

BATCH_STANDING_ORDERS = 500
_COMMITTED = CrashPoint(
    "scheduler.protection_endings_committed",
    "It is committed whose price protection is about to end.",
)


def protections_ending(database: Database, clients: Clients) -> DueStandingOrders:
    """Has customers notified whose price protection is about to end."""
    return DueStandingOrders(
        database,
        clients,
        "protection-ending",
        BATCH_STANDING_ORDERS,
        due.protections_ending,
        _notify,
    )


async def _notify(context: Context, found: Sequence[StandingOrder]) -> None:
    async with context.database.begin() as tx:
        await price_protections.notify_endings(tx, found, context.now)
    _COMMITTED.reached()
