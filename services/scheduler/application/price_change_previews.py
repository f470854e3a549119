"""Whom a price version would touch: by the code that walks over price changes, and by the forecast.

The standing orders of a product are read as a walk reads them, page by page. With each page come all
standing orders of its customers, since a mandate covers what is left of its ceiling.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime

from services.runtime.db.pool import Database
from services.scheduler.application.evaluation.pricing import cart_of
from services.scheduler.application.forecasts import (
    FORECAST_MAX_STANDING_ORDERS,
    PAGE_ROWS,
    Span,
    Tally,
    require_at_most,
)
from services.scheduler.application.price_changes import Concern, assess
from services.scheduler.clients import Clients
from services.scheduler.clients.questions import PriceVersion
from services.scheduler.domain.ids import CustomerId, OrderKey, StandingOrderKey
from services.scheduler.domain.order import Line, Order, OrderState
from services.scheduler.domain.price_change_previews import PriceChangePreview, Timings
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.names import product_name
from services.scheduler.store import orders, price_changes, standing_orders

_BEFORE_ALL = (datetime.fromtimestamp(0, UTC), "")


async def preview(
    database: Database, clients: Clients, version: PriceVersion, span: Span, now: datetime
) -> PriceChangePreview:
    """Sum up whom a price version would touch, page by page of those who repeat its product.

    Raises INVALID_ARGUMENT FORECAST_TOO_LARGE.
    """
    sums = PriceChangePreview()
    page = _Page(database, clients, version, span, now, sums)
    async for customers in _customers(database, version):
        await page.add(customers)
    return sums


async def _customers(
    database: Database, version: PriceVersion
) -> AsyncIterator[Sequence[CustomerId]]:
    """Those who repeat the product, each once, in pages."""
    known: set[CustomerId] = set()
    after = _BEFORE_ALL
    while True:
        async with database.read() as connection:
            page = await price_changes.repeating(
                connection, version.merchant, version.product, after, PAGE_ROWS
            )
        if new := sorted({row.customer for row in page} - known):
            yield new
            known.update(new)
        if len(page) < PAGE_ROWS:
            return
        after = (page[-1].add_time, page[-1].standing_order)


class _Page:
    """Counts the standing orders of customers, with one call a step for all of a page."""

    def __init__(
        self,
        database: Database,
        clients: Clients,
        version: PriceVersion,
        span: Span,
        now: datetime,
        sums: PriceChangePreview,
    ) -> None:
        self._database = database
        self._clients = clients
        self._version = version
        self._product = product_name(version.merchant, version.product)
        self._span = span
        self._now = now
        self._sums = sums
        self._tally = Tally(database, clients, span, now, self._add_order)
        self._left = FORECAST_MAX_STANDING_ORDERS
        # Orders of the page that will be charged for the product, and what they come to.
        self._orders: list[tuple[Order, int]] = []

    async def add(self, customers: Sequence[CustomerId]) -> None:
        """Count the standing orders of customers."""
        async with self._database.read() as connection:
            live = await standing_orders.live_of_customers(
                connection, self._version.merchant, customers, self._left + 1
            )
            self._require_left(len(live))
            open_orders = await orders.open_due(
                connection,
                [standing_order.key for standing_order in live],
                self._span.from_time,
                self._span.before_time,
            )
        repeating = [
            standing_order
            for standing_order in live
            if any(item.product == self._version.product for item in standing_order.items)
        ]
        await self._tally.require_room(live)
        timings = await self._assess(repeating)
        await self._tally.add_open(open_orders)
        for standing_order in live:
            await self._tally.add_coming(standing_order)
        await self._tally.finish()
        announced = {order.key for order in open_orders}
        await self._add_amounts({one.key: one for one in repeating}, timings, announced)

    def _require_left(self, count: int) -> None:
        used = FORECAST_MAX_STANDING_ORDERS - self._left + count
        require_at_most(used, FORECAST_MAX_STANDING_ORDERS, "standing orders")
        self._left -= count

    async def _assess(self, repeating: Sequence[StandingOrder]) -> Timings:
        version = self._version
        concerns = [
            Concern(standing_order, version.product, version.effective_time, version.version)
            for standing_order in repeating
        ]
        assessments = await assess(self._clients, concerns, self._now)
        return {
            standing_order.key: self._sums.add(standing_order, assessment)
            for standing_order, assessment in zip(repeating, assessments, strict=True)
        }

    def _add_order(self, order: Order, currency: str, lines: Sequence[Line]) -> None:
        own = [line.gross_minor for line in lines if line.product == self._product]
        if own and currency == self._version.currency:
            self._orders.append((order, sum(own)))

    async def _add_amounts(
        self,
        standing_orders: Mapping[StandingOrderKey, StandingOrder],
        timings: Timings,
        announced: AbstractSet[OrderKey],
    ) -> None:
        """Count what the orders that wait come to with the version, and without it."""
        waiting = [
            (order, charged_minor)
            for order, charged_minor in self._orders
            # What repeats the product for a single cycle is not notified of its price.
            if order.key.standing_order_key in timings
        ]
        self._orders.clear()
        carts = [
            cart_of(order, standing_orders[order.key.standing_order_key], self._now)
            for order, _ in waiting
        ]
        versions = [self._version.version] * len(carts)
        effects = await self._clients.quote_price_changes(carts, versions, self._now)
        for (order, charged_minor), effect in zip(waiting, effects, strict=True):
            if effect is None:
                continue
            group = self._sums.groups[timings[order.key.standing_order_key]]
            if order.state is OrderState.AWAITING_PAYMENT:
                group.add_cycle(charged_minor, charged_minor)
            elif order.key in announced:
                # What was announced does not rise.
                lower_minor = min(effect.amount_minor, effect.previous_minor)
                group.add_cycle(lower_minor, effect.previous_minor)
            else:
                group.add_cycle(effect.amount_minor, effect.previous_minor)
