"""Discontinue: customers are notified that a product is gone, by pages of standing orders."""

import logging
from collections.abc import Sequence

from services.runtime.crash_points import CrashPoint
from services.runtime.db.due_work import Batch
from services.runtime.db.pool import Database
from services.runtime.observability import tracing
from services.runtime.workers.bisection import Postponed, bisect_set
from services.scheduler.application import discontinuations
from services.scheduler.application.discontinuations import Decided
from services.scheduler.application.evaluation.context import Context
from services.scheduler.clients import Clients, is_transient
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.domain.substitution import DiscontinuedProduct
from services.scheduler.store import products

log = logging.getLogger(__name__)

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
        self._postponed: Postponed[tuple[str, str, str]] = Postponed()

    async def work(self, batch: Batch) -> int:
        """One page of one product. What fails alone is passed over, and tried again later."""
        left_out = self._postponed.waiting()
        async with self._database.read() as connection:
            product = await products.first_discontinued(
                connection, batch.buckets, batch.now, left_out
            )
            if product is None:
                return 0
            page = await products.standing_orders_with(connection, product, PAGE_STANDING_ORDERS)
        with tracing.working("discontinue", len(page)):
            await self._work(product, page, batch)
        return max(len(page), 1)

    async def _work(
        self, product: DiscontinuedProduct, page: Sequence[StandingOrder], batch: Batch
    ) -> None:
        by_key = {standing_order.key: standing_order for standing_order in page}
        context = Context(self._database, self._clients, by_key, batch.now)
        is_last = len(page) < PAGE_STANDING_ORDERS
        failed: list[StandingOrder] = []
        at = product

        async def store(reached: str, decided: Decided, *, is_done: bool) -> None:
            nonlocal at
            async with self._database.begin() as tx:
                await discontinuations.store(
                    tx, at, reached, decided, failed, batch.now, is_done=is_done
                )
            _COMMITTED.reached()
            at = at._replace(after=reached)
            failed.clear()

        async def work(some: Sequence[StandingOrder]) -> None:
            decided = await discontinuations.decide(context, product, some)
            _DECIDED.reached()
            is_done = is_last and some[-1] is page[-1]
            await store(some[-1].standing_order, decided, is_done=is_done)

        def fail(standing_order: StandingOrder, error: Exception) -> None:
            log.error("left out what cannot be worked on", exc_info=error)
            failed.append(standing_order)

        if page:
            await bisect_set(page, work, is_transient, fail)
        if failed and product.only:
            self._postponed.fail(product.walk)
        elif failed or not page:
            # The last one has failed, or there is none.
            reached = page[-1].standing_order if page else product.after
            await store(reached, Decided([], []), is_done=is_last)
