"""What is to come of standing orders: dates, amounts, and what would be left out."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.errors import Violations
from services.runtime.rpc.conversions import to_date, to_money, to_timestamp
from services.runtime.rpc.limits import ConcurrencyLimiter
from services.scheduler import publishers
from services.scheduler.api.cycles import CycleMethods
from services.scheduler.api.lookups import existing
from services.scheduler.api.requests import read_name
from services.scheduler.application.evaluation.evaluation import plan_announced
from services.scheduler.application.evaluation.projection import Projection, project
from services.scheduler.domain.calendar import CycleDate
from services.scheduler.domain.conditions import has_expression
from services.scheduler.domain.cycles import new_order, reason_against
from services.scheduler.domain.ids import OrderKey
from services.scheduler.domain.order import OrderState, mandate_reasons
from services.scheduler.domain.rulings import words
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store import orders

PREVIEW_DEFAULT_CYCLES = 12
PREVIEW_MAX_CYCLES = 100
# What takes long for one merchant leaves time for the others, and for what is due.
LONG_PREVIEWS_AT_ONCE_MAX = 2
LONG_PREVIEWS_OF_MERCHANT_MAX = 1


class PreviewMethods(CycleMethods):
    """The methods of recurring.scheduler.v1.SchedulerService that show cycles to come."""

    _previewing: ConcurrencyLimiter

    async def PreviewCycles(
        self, request: scheduler_pb2.PreviewCyclesRequest, _context: object
    ) -> scheduler_pb2.PreviewCyclesResponse:
        """Show the coming cycles, priced as they would be."""
        count = _read_count(request.cycle_count)
        merchant, standing_order = read_name(request.name)
        async with self.database.read() as connection:
            template = await existing(connection, merchant, standing_order)
        return scheduler_pb2.PreviewCyclesResponse(cycles=await self._previews(template, count))

    async def PreviewStandingOrderUpdate(
        self, request: scheduler_pb2.PreviewStandingOrderUpdateRequest, _context: object
    ) -> scheduler_pb2.PreviewStandingOrderUpdateResponse:
        """Show the coming cycles as they are and as a change would make them."""
        count = _read_count(request.cycle_count)
        opening = await self._updated(request.standing_order, request.update_mask)
        wanted = opening.standing_order
        async with self.database.read() as connection:
            template = await existing(connection, wanted.merchant, wanted.standing_order)
        return scheduler_pb2.PreviewStandingOrderUpdateResponse(
            before=await self._previews(template, count), after=await self._previews(wanted, count)
        )

    async def _previews(
        self, template: StandingOrder, count: int
    ) -> list[scheduler_pb2.CyclePreview]:
        if count <= PREVIEW_DEFAULT_CYCLES and not has_expression(template.conditions):
            (previews,) = await self._previews_of([template], count)
            return previews
        async with self._previewing.of(template.merchant):
            (previews,) = await self._previews_of([template], count)
            return previews

    async def _previews_of(
        self, templates: Sequence[StandingOrder], count: int
    ) -> list[list[scheduler_pb2.CyclePreview]]:
        """The coming cycles of many standing orders, in their order, priced at once."""
        now = self._clock.now()
        dates = [list(_coming(template, count)) for template in templates]
        wanted = [
            new_order(template, cycle, found, now)
            for template, coming in zip(templates, dates, strict=True)
            for cycle, found in coming
            if reason_against(template, cycle, found, now) is None
        ]
        by_key = {one.key: one for one in templates}
        async with self.database.read() as connection:
            announced = await orders.announced(connection, list(by_key))
        planned, _ = await plan_announced(self._clients, announced)
        looked_at = await project(self.database, self._clients, wanted, by_key, planned, now)
        projections = {one.order.key: one for one in looked_at}
        return [
            [
                _preview(template, cycle, found, projections.get(_key(template, cycle)), now)
                for cycle, found in coming
            ]
            for template, coming in zip(templates, dates, strict=True)
        ]


def _coming(template: StandingOrder, count: int) -> Iterator[tuple[int, CycleDate]]:
    """The next cycles without an order, at most so many, and their dates."""
    first = template.next_cycle
    for cycle in range(first, first + count) if first is not None else ():
        found = template.date(cycle)
        if found is None:
            return
        yield cycle, found


def _preview(
    template: StandingOrder,
    cycle: int,
    found: CycleDate,
    projection: Projection | None,
    now: datetime,
) -> scheduler_pb2.CyclePreview:
    message = scheduler_pb2.CyclePreview(cycle=cycle)
    local_date, due_time = found.local_date or found.nominal_date, found.due_at
    reason = reason_against(template, cycle, found, now)
    if projection is not None:
        order = projection.order
        local_date, due_time = order.local_date, order.due_time
        message.unmet_conditions.extend(words(projection.ruling))
        if order.state is OrderState.SKIPPED:
            (reason,) = order.reasons
        else:
            message.problems.extend(map(scheduler_pb2.OrderReason.Value, order.reasons))
            message.mandate_reasons.extend(
                map(payments_pb2.RefusalReason.Value, mandate_reasons(order))
            )
        if projection.quote is not None:
            quote = projection.quote
            message.amount.CopyFrom(to_money(quote.amount_minor, quote.currency))
            message.lines.extend(publishers.line_messages(quote.lines, quote.currency))
    if reason is not None:
        message.skip_reason = scheduler_pb2.OrderReason.Value(reason)
    message.local_date.CopyFrom(to_date(local_date))
    message.due_time.CopyFrom(to_timestamp(due_time))
    message.notice_time.CopyFrom(to_timestamp(max(template.prepare_at(cycle, due_time), now)))
    return message


def _key(template: StandingOrder, cycle: int) -> OrderKey:
    return OrderKey(template.merchant, template.standing_order, cycle)


def _read_count(cycle_count: int) -> int:
    violations = Violations()
    count = cycle_count or PREVIEW_DEFAULT_CYCLES
    violations.require_range("cycle_count", count, 1, PREVIEW_MAX_CYCLES)
    violations.check()
    return count
