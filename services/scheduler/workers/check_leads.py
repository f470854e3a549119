"""Check leads: what a mandate is charged by has changed, and may have to be announced earlier."""

from collections.abc import Sequence

from services.runtime.crash_points import CrashPoint
from services.runtime.db.pool import Database
from services.scheduler.application import notice_leads
from services.scheduler.application.evaluation.context import Context
from services.scheduler.clients import Clients
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store import due
from services.scheduler.workers.due_standing_orders import DueStandingOrders

BATCH_STANDING_ORDERS = 500
_FOUND = CrashPoint("scheduler.leads_found", "Leads of notices are found and not stored.")
_COMMITTED = CrashPoint("scheduler.leads_committed", "Leads of notices are committed.")


def check_leads(database: Database, clients: Clients) -> DueStandingOrders:
    """Finds how early charges are announced, and announces again what was announced too late."""
    return DueStandingOrders(
        database, clients, "lead-check", BATCH_STANDING_ORDERS, due.leads_to_check, _check
    )


async def _check(context: Context, found: Sequence[StandingOrder]) -> None:
    leads = await notice_leads.find(context, found)
    _FOUND.reached()
    async with context.database.begin() as tx:
        await notice_leads.apply(tx, context, leads)
    _COMMITTED.reached()
