"""Check leads: what a mandate is charged by has changed, and may have to be announced earlier."""

from collections.abc import Sequence
from operator import attrgetter

from services.runtime.crash_points import CrashPoint
from services.runtime.db.due_work import Batch
from services.runtime.db.pool import Database
from services.runtime.observability import tracing
from services.runtime.workers.bisection import Postponed, bisect_failures
from services.scheduler.application import notice_leads
from services.scheduler.application.evaluation.context import Context
from services.scheduler.clients import Clients, is_transient
from services.scheduler.domain.ids import StandingOrderKey
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store import notice_leads as store

BATCH_STANDING_ORDERS = 500
_FOUND = CrashPoint("scheduler.leads_found", "Leads of notices are found and not stored.")
_COMMITTED = CrashPoint("scheduler.leads_committed", "Leads of notices are committed.")


class CheckLeads:
    """Finds how early charges are announced, and announces again what was announced too late."""

    def __init__(self, database: Database, clients: Clients) -> None:
        self._database = database
        self._clients = clients
        self._postponed: Postponed[StandingOrderKey] = Postponed()

    async def work(self, batch: Batch) -> int:
        """Check a batch: ask the others without a transaction, then store all at once."""
        now, left_out = batch.now, self._postponed.waiting()
        async with self._database.read() as connection:
            found = await store.to_check(
                connection, batch.buckets, now, BATCH_STANDING_ORDERS, left_out
            )
        if not found:
            return 0

        async def work(some: Sequence[StandingOrder]) -> None:
            by_key = {standing_order.key: standing_order for standing_order in some}
            context = Context(self._database, self._clients, by_key, now)
            leads = await notice_leads.find(context, some)
            _FOUND.reached()
            async with self._database.begin() as tx:
                await notice_leads.apply(tx, context, leads)
            _COMMITTED.reached()

        with tracing.working("lead-check", len(found)):
            await bisect_failures(found, work, is_transient, self._postponed, attrgetter("key"))
        return len(found)
