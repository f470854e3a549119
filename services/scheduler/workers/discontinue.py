"""Discontinue: customers are notified that a product is gone, by pages of standing orders."""

from services.runtime.crash_points import CrashPoint
from services.runtime.db.due_work import Batch
from services.runtime.db.pool import Database
from services.runtime.observability import tracing
from services.scheduler.application import discontinuations
from services.scheduler.application.evaluation.context import Context
from services.scheduler.clients import Clients
from services.scheduler.store import products

PAGE_STANDING_ORDERS = 500
_DECIDED = CrashPoint(
    "scheduler.discontinuation_decided",
    "It is decided who is notified of a discontinued product, and not stored.",
)
_COMMITTED = CrashPoint(
    "scheduler.discontinuation_committed",
    "It is committed who is notified of a discontinued product.",
)


class Discontinue:
    """Notifies the customers of a product that went off sale, and pauses what cannot go on."""

    def __init__(self, database: Database, clients: Clients) -> None:
        self._database = database
        self._clients = clients

    async def work(self, batch: Batch) -> int:
        """One page of one product."""
        async with self._database.read() as connection:
            product = await products.first_discontinued(connection, batch.buckets, batch.now)
            if product is None:
                return 0
            page = await products.standing_orders_with(connection, product, PAGE_STANDING_ORDERS)
        by_key = {standing_order.key: standing_order for standing_order in page}
        context = Context(self._database, self._clients, by_key, batch.now)
        with tracing.working("discontinue", len(page)):
            decided = await discontinuations.decide(context, product, page)
            _DECIDED.reached()
            is_done = len(page) < PAGE_STANDING_ORDERS
            async with self._database.begin() as tx:
                await discontinuations.store(tx, product, page, decided, batch.now, is_done=is_done)
            _COMMITTED.reached()
        return max(len(page), 1)
