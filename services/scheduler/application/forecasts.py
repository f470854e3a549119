"""What a merchant's standing orders will want, day by day."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

import grpc

from services.runtime.db.pool import Database
from services.runtime.errors import FieldViolation, Problem
from services.scheduler.application.evaluation.context import Context
from services.scheduler.application.evaluation.evaluation import plan_announced
from services.scheduler.application.evaluation.pricing import cart_of
from services.scheduler.application.evaluation.projection import project
from services.scheduler.clients import Clients
from services.scheduler.clients.questions import BATCH_MAX_ENTRIES, PlannedCharges
from services.scheduler.domain.forecast import Forecast, coming_orders
from services.scheduler.domain.ids import MerchantId, StandingOrderKey
from services.scheduler.domain.order import (
    OPEN_STATES,
    Line,
    Order,
    OrderState,
    Quote,
    awaits_confirmation,
)
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store import orders, standing_orders
from services.scheduler.store.order_rows import order_of

# What one call may cost the scheduler and the catalog.
FORECAST_MAX_STANDING_ORDERS = 50_000
FORECAST_MAX_CYCLES = 50_000
# A forecast takes some 60 MiB at the worst.
FORECASTS_AT_ONCE_MAX = 2
FORECASTS_OF_MERCHANT_MAX = 1
# So many fit into one message.
FORECAST_MAX_ROWS = 20_000
PAGE_ROWS = 500
# A local date begins up to 14 hours before the same date in UTC, and ends up to 12 hours after it.
ZONE_MARGIN = timedelta(days=1)
# How long before a span cycles count against the ceilings of mandates: a month, in any zone.
PERIOD_LOOKBACK = timedelta(days=31) + ZONE_MARGIN


# Takes what one order will bring: its lines, and their currency.
Add = Callable[[Order, str, Sequence[Line]], None]


@dataclass(frozen=True, slots=True)
class Span:
    """Whose demand is forecast, from a date to another, both included."""

    merchant: MerchantId
    first: date
    last: date

    @property
    def from_time(self) -> datetime:
        """No zone has the first date before this instant."""
        return datetime.combine(self.first, time(), UTC) - ZONE_MARGIN

    @property
    def before_time(self) -> datetime:
        """No zone has the last date at this instant or later."""
        return datetime.combine(self.last, time(), UTC) + 2 * ZONE_MARGIN


async def forecast(database: Database, clients: Clients, span: Span, now: datetime) -> Forecast:
    """Sum up what the cycles to come will bring, page by page of the standing orders.

    Raises INVALID_ARGUMENT FORECAST_TOO_LARGE.
    """
    sums = Forecast()

    def add(order: Order, currency: str, lines: Sequence[Line]) -> None:
        sums.add(order.local_date, currency, lines)
        require_at_most(len(sums), FORECAST_MAX_ROWS, "forecasts")

    await walk(database, clients, span, now, add)
    return sums


async def walk(database: Database, clients: Clients, span: Span, now: datetime, add: Add) -> None:
    """Give what each open order and each cycle to come will bring to `add`.

    Raises INVALID_ARGUMENT FORECAST_TOO_LARGE.
    """
    tally = Tally(database, clients, span, now, add)
    async for page in _open_orders(database, span):
        await tally.add_open(page)
    count = 0
    async for standing_order in _live_standing_orders(database, span):
        count += 1
        require_at_most(count, FORECAST_MAX_STANDING_ORDERS, "standing orders")
        await tally.add_coming(standing_order)
    await tally.finish()


async def _open_orders(database: Database, span: Span) -> AsyncIterator[list[Order]]:
    """Orders that are announced, held or to be paid, in pages."""
    wanted = orders.OrderFilter(
        span.merchant,
        states=OPEN_STATES,
        due_from=span.from_time,
        due_before=span.before_time,
    )
    after = ("", 0)
    while True:
        async with database.read() as connection:
            page = await orders.list_of_merchant(connection, wanted, after, PAGE_ROWS)
        yield [order_of(row) for row in page]
        if len(page) < PAGE_ROWS:
            return
        after = (page[-1].standing_order, page[-1].cycle)


async def _live_standing_orders(database: Database, span: Span) -> AsyncIterator[StandingOrder]:
    """Standing orders that may have a cycle in the span."""
    after = ""
    while True:
        async with database.read() as connection:
            page = await standing_orders.coming(
                connection, span.merchant, span.before_time, after, PAGE_ROWS
            )
        for standing_order in page:
            yield standing_order
        if len(page) < PAGE_ROWS:
            return
        after = page[-1].standing_order


@dataclass(slots=True)
class Tally:
    """Sums up orders; those yet to come wait until there is a batch to ask about."""

    database: Database
    clients: Clients
    span: Span
    now: datetime
    add: Add
    _coming: list[Order] = field(default_factory=list)
    _standing_orders: dict[StandingOrderKey, StandingOrder] = field(default_factory=dict)
    _planned: PlannedCharges = field(default_factory=dict)
    _cycles: int = 0

    async def add_open(self, orders: Sequence[Order]) -> None:
        """Count orders as they were announced, but for those that wait for a confirmation."""
        to_charge: list[Order] = []
        for order in orders:
            self._count_cycle()
            if order.state is OrderState.AWAITING_PAYMENT:
                self._sum_up(order, order.currency, order.lines)
            elif not awaits_confirmation(order):
                to_charge.append(order)
        to_charge = await self._priced(to_charge)
        planned, refusals = await plan_announced(self.clients, to_charge)
        for mandate, charges in planned.items():
            self._planned.setdefault(mandate, []).extend(charges)
        for order, reasons in zip(to_charge, refusals, strict=True):
            if not reasons:
                self._sum_up(order, order.currency, order.lines)

    async def add_coming(self, standing_order: StandingOrder) -> None:
        """Count the cycles of a standing order that have no order, all of them together."""
        first = self._first_date(standing_order)
        for order in coming_orders(standing_order, first, self.span.last, self.now):
            self._count_cycle()
            self._coming.append(order)
            self._standing_orders[standing_order.key] = standing_order
        if len(self._coming) >= BATCH_MAX_ENTRIES:
            await self.finish()

    async def require_room(self, standing_orders: Sequence[StandingOrder]) -> None:
        """Raise INVALID_ARGUMENT FORECAST_TOO_LARGE before cycles are priced that are too many."""
        count = self._cycles
        for standing_order in standing_orders:
            first = self._first_date(standing_order)
            count += sum(1 for _ in coming_orders(standing_order, first, self.span.last, self.now))
            require_at_most(count, FORECAST_MAX_CYCLES, "cycles")
            # A page has many: others have their turn.
            await asyncio.sleep(0)

    def _first_date(self, standing_order: StandingOrder) -> date:
        """The first date whose cycle matters to those of the span."""
        if standing_order.conditions:
            # What conditions say of a cycle depends on those before it.
            return date.min
        if standing_order.mandate:
            # So does what is left of the ceiling of a mandate's period.
            return self.span.first - PERIOD_LOOKBACK
        return self.span.first

    async def _priced(self, orders: Sequence[Order]) -> list[Order]:
        """Orders as announced, or else as they would be; one without a price is left out."""
        priceless = [order for order in orders if not order.lines]
        if not priceless:
            return list(orders)
        keys = [order.key.standing_order_key for order in priceless]
        async with self.database.read() as connection:
            known = await standing_orders.by_key(connection, keys)
        carts = [
            cart_of(order, known[order.key.standing_order_key], self.now) for order in priceless
        ]
        answers = await self.clients.quote(carts)
        priced = [
            order._replace(
                lines=answer.lines,
                currency=answer.currency,
                notified_minor=answer.amount_minor,
            )
            for order, answer in zip(priceless, answers, strict=True)
            if isinstance(answer, Quote)
        ]
        return [order for order in orders if order.lines] + priced

    async def finish(self) -> None:
        """Price what waits, and sum it up."""
        coming, self._coming = self._coming, []
        standing_orders, self._standing_orders = self._standing_orders, {}
        context = Context(self.database, self.clients, standing_orders, self.now)
        for projection in await project(context, coming, self._planned, demand_only=True):
            if (demand := projection.demand) is not None:
                self._sum_up(projection.order, demand.currency, demand.lines)

    def _count_cycle(self) -> None:
        self._cycles += 1
        require_at_most(self._cycles, FORECAST_MAX_CYCLES, "cycles")

    def _sum_up(self, order: Order, currency: str, lines: Sequence[Line]) -> None:
        if self.span.first <= order.local_date <= self.span.last:
            self.add(order, currency, lines)


def require_at_most(number: int, most: int, what: str) -> None:
    """Raise INVALID_ARGUMENT FORECAST_TOO_LARGE if there is more than one call may ask about."""
    if number > most:
        description = f"must be sooner: over {most} {what} are more than one call gives"
        raise Problem(
            grpc.StatusCode.INVALID_ARGUMENT,
            "FORECAST_TOO_LARGE",
            f"the forecast is of over {most} {what}; ask for fewer days at once",
            (FieldViolation("end_date", "FORECAST_TOO_LARGE", description),),
        )
