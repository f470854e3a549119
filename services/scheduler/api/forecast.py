"""What a merchant's standing orders will want, day by day."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta

import grpc
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.auth.call_context import caller
from services.runtime.db.pool import Database
from services.runtime.errors import FieldViolation, Problem, Violations
from services.runtime.rpc.conversions import to_date, to_money
from services.runtime.rpc.limits import ConcurrencyLimiter
from services.runtime.workers.clock import Clock
from services.scheduler import names
from services.scheduler.api.schedules import read_calendar_date
from services.scheduler.application.evaluation.evaluation import plan_announced
from services.scheduler.application.evaluation.projection import project
from services.scheduler.clients import BATCH_MAX_ENTRIES, Cart, Clients, PlannedCharges
from services.scheduler.domain.forecast import Demand, DemandKey, Forecast, coming_orders
from services.scheduler.domain.ids import MerchantId, StandingOrderKey
from services.scheduler.domain.order import Line, Order, OrderState, Quote, asks
from services.scheduler.domain.schedule import LAST_DATE
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store import forecasts

FORECAST_DEFAULT_DAYS = 30
FORECAST_MAX_DAYS = 366
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


@dataclass(frozen=True, slots=True)
class Span:
    """Whose demand is asked for, from a date to another, both included."""

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


class ForecastMethods:
    """The methods of recurring.scheduler.v1.SchedulerService about demand."""

    database: Database
    _clock: Clock
    _clients: Clients
    _forecasting: ConcurrencyLimiter

    async def ForecastDemand(
        self, request: scheduler_pb2.ForecastDemandRequest, _context: object
    ) -> scheduler_pb2.ForecastDemandResponse:
        """Sum up what the cycles to come will bring, page by page of the standing orders."""
        now = self._clock.now()
        span = _read_span(request, now)
        async with self._forecasting.of(span.merchant):
            return await self._forecast(span, now)

    async def _forecast(self, span: Span, now: datetime) -> scheduler_pb2.ForecastDemandResponse:
        tally = _Tally(self.database, self._clients, span, now)
        async for order in self._open_orders(span):
            await tally.add_open(order)
        seen = 0
        async for template in self._live_standing_orders(span):
            seen += 1
            _require_at_most(seen, FORECAST_MAX_STANDING_ORDERS, "standing orders")
            await tally.add_coming(template)
        await tally.finish()
        return scheduler_pb2.ForecastDemandResponse(
            forecasts=[_message(key, demand) for key, demand in tally.forecast.demands.items()]
        )

    async def _open_orders(self, span: Span) -> AsyncIterator[Order]:
        """Orders that are announced, held or to be paid."""
        after = ("", 0)
        while True:
            async with self.database.read() as connection:
                page = await forecasts.open_orders(
                    connection, span.merchant, span.from_time, span.before_time, after, PAGE_ROWS
                )
            for order in page:
                yield order
            if len(page) < PAGE_ROWS:
                return
            after = (page[-1].key.standing_order, page[-1].key.cycle)

    async def _live_standing_orders(self, span: Span) -> AsyncIterator[StandingOrder]:
        """Standing orders that may have a cycle in the span."""
        after = ""
        while True:
            async with self.database.read() as connection:
                page = await forecasts.live_standing_orders(
                    connection, span.merchant, span.before_time, after, PAGE_ROWS
                )
            for template in page:
                yield template
            if len(page) < PAGE_ROWS:
                return
            after = page[-1].standing_order


@dataclass(slots=True)
class _Tally:
    """Sums up orders; those without a price wait until there is a batch to ask about."""

    database: Database
    clients: Clients
    span: Span
    now: datetime
    forecast: Forecast = field(default_factory=Forecast)
    _open: list[Order] = field(default_factory=list)
    _coming: list[Order] = field(default_factory=list)
    _templates: dict[StandingOrderKey, StandingOrder] = field(default_factory=dict)
    _planned: PlannedCharges = field(default_factory=dict)
    _cycles: int = 0

    async def add_open(self, order: Order) -> None:
        """Count an order as it was announced, but for one that waits for the customer's yes."""
        self._count_cycle()
        if asks(order):
            return
        if order.state is OrderState.AWAITING_PAYMENT:
            self._sum_up(order, order.currency, order.lines)
            return
        self._open.append(order)
        if len(self._open) == BATCH_MAX_ENTRIES:
            await self.finish()

    async def add_coming(self, template: StandingOrder) -> None:
        """Count the cycles of a standing order that have no order, all of them together."""
        first = self._first_date(template)
        for order in coming_orders(template, first, self.span.last, self.now):
            self._count_cycle()
            self._coming.append(order)
            self._templates[template.key] = template
        if len(self._coming) >= BATCH_MAX_ENTRIES:
            await self.finish()

    def _first_date(self, template: StandingOrder) -> date:
        """The first date whose cycle matters to those of the span."""
        if template.conditions:
            # What conditions say of a cycle depends on those before it.
            return date.min
        if template.mandate:
            # So does what is left of a mandate's ceiling in its month (UTC).
            return self.span.first.replace(day=1) - ZONE_MARGIN
        return self.span.first

    async def _finish_open(self) -> None:
        opened, self._open = await self._priced_open(), []
        planned, refusals = await plan_announced(self.clients, opened)
        for month, amount_minor in planned.items():
            self._planned[month] = self._planned.get(month, 0) + amount_minor
        for order, reasons in zip(opened, refusals, strict=True):
            if not reasons:
                self._sum_up(order, order.currency, order.lines)

    async def _priced_open(self) -> list[Order]:
        """Open orders as announced, or else as they would be; one without a price is left out."""
        priceless = [order for order in self._open if not order.lines]
        carts = [Cart(order.key, order.items, order.due_time) for order in priceless]
        answers = await self.clients.quote(carts)
        priced = [
            replace(
                order,
                lines=answer.lines,
                currency=answer.currency,
                notified_minor=answer.amount_minor,
            )
            for order, answer in zip(priceless, answers, strict=True)
            if isinstance(answer, Quote)
        ]
        return [order for order in self._open if order.lines] + priced

    async def finish(self) -> None:
        """Price what waits, and sum it up."""
        await self._finish_open()
        coming, self._coming = self._coming, []
        templates, self._templates = self._templates, {}
        for one in await project(
            self.database,
            self.clients,
            coming,
            templates,
            self._planned,
            self.now,
            demand_only=True,
        ):
            if (demand := one.demand) is not None:
                self._sum_up(one.order, demand.currency, demand.lines)
        _require_at_most(len(self.forecast), FORECAST_MAX_ROWS, "forecasts")

    def _count_cycle(self) -> None:
        self._cycles += 1
        _require_at_most(self._cycles, FORECAST_MAX_CYCLES, "cycles")

    def _sum_up(self, order: Order, currency: str, lines: Sequence[Line]) -> None:
        if self.span.first <= order.local_date <= self.span.last:
            self.forecast.add(order.local_date, currency, lines)


def _read_span(request: scheduler_pb2.ForecastDemandRequest, now: datetime) -> Span:
    violations = Violations()
    merchant = names.read_merchant(violations, "parent", request.parent)
    first = today = now.astimezone(UTC).date()
    if request.HasField("start_date"):
        first = read_calendar_date(violations, "start_date", request.start_date)
        violations.check()
        violations.require("start_date", "must not be past", met=first >= today)
    last = min(first + timedelta(days=FORECAST_DEFAULT_DAYS), LAST_DATE)
    if request.HasField("end_date"):
        last = read_calendar_date(violations, "end_date", request.end_date)
        violations.require(
            "end_date",
            f"must be 0 to {FORECAST_MAX_DAYS} days after start_date",
            met=0 <= (last - first).days <= FORECAST_MAX_DAYS,
        )
    violations.check()
    caller().check(merchant)
    return Span(merchant, first, last)


def _require_at_most(number: int, most: int, what: str) -> None:
    if number > most:
        description = f"must be sooner: over {most} {what} are more than one call gives"
        raise Problem(
            grpc.StatusCode.INVALID_ARGUMENT,
            "FORECAST_TOO_LARGE",
            f"the forecast is of over {most} {what}; ask for fewer days at once",
            (FieldViolation("end_date", "FORECAST_TOO_LARGE", description),),
        )


def _message(key: DemandKey, demand: Demand) -> scheduler_pb2.DemandForecast:
    return scheduler_pb2.DemandForecast(
        date=to_date(key.local_date),
        product=key.product,
        units=demand.units,
        revenue=to_money(demand.revenue_minor, key.currency),
        list_revenue=to_money(demand.list_revenue_minor, key.currency),
    )
