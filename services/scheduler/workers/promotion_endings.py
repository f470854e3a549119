"""Promotions that are about to end: their customers are notified."""

from collections.abc import Sequence

from services.runtime.crash_points import CrashPoint
from services.runtime.db.pool import Database
from services.scheduler.application import promotion_endings
from services.scheduler.application.evaluation.context import Context
from services.scheduler.clients import Clients
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store import due
from services.scheduler.workers.due_standing_orders import DueStandingOrders

BATCH_STANDING_ORDERS = 250
_FOUND = CrashPoint(
    "scheduler.promotion_endings_found", "Ends of promotions are found, and nobody is notified."
)
_COMMITTED = CrashPoint(
    "scheduler.promotion_endings_committed", "It is committed whose promotion is about to end."
)


def promotions_ending(database: Database, clients: Clients) -> DueStandingOrders:
    """Has customers notified whose promotion is about to end."""
    return DueStandingOrders(
        database, clients, "promotion-ending", BATCH_STANDING_ORDERS, due.promotions_ending, _notify
    )


async def _notify(context: Context, found: Sequence[StandingOrder]) -> None:
    ends = await promotion_endings.find(context, found)
    _FOUND.reached()
    async with context.database.begin() as tx:
        await promotion_endings.notify(tx, found, ends, context.now)
    _COMMITTED.reached()
