"""What is to come of standing orders: dates, amounts, and what would be left out."""

from collections.abc import Sequence
from datetime import datetime

from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.errors import Violations
from services.runtime.wire import to_date, to_money, to_timestamp
from services.scheduler import events
from services.scheduler.api.cycles import CycleMethods
from services.scheduler.api.lookups import (
    existing,
    read_name,
)
from services.scheduler.domain.order import (
    Order,
    OrderKey,
    OrderReason,
    OrderState,
    Quote,
    Stage,
)
from services.scheduler.domain.purchases import RepurchaseAction, keys_of, repeated
from services.scheduler.domain.rulings import stopped, words
from services.scheduler.domain.standing_order import (
    StandingOrder,
    new_order,
    skip_reason,
)
from services.scheduler.loops.pricing import EXPECTED, Priced, Templates, pasts, price, template_of
from services.scheduler.store import purchases

PREVIEW_DEFAULT_CYCLES = 12
PREVIEW_MAX_CYCLES = 100


class PreviewMethods(CycleMethods):
    """The methods of recurring.scheduler.v1.SchedulerService that show cycles to come."""

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
        wanted = await self._updated(request.standing_order, request.update_mask)
        async with self.database.read() as connection:
            template = await existing(connection, wanted.merchant, wanted.standing_order)
        return scheduler_pb2.PreviewStandingOrderUpdateResponse(
            before=await self._previews(template, count), after=await self._previews(wanted, count)
        )

    async def _previews(
        self, template: StandingOrder, count: int
    ) -> list[scheduler_pb2.CyclePreview]:
        (previews,) = await self._previews_of([template], count)
        return previews

    async def _previews_of(
        self, templates: Sequence[StandingOrder], count: int
    ) -> list[list[scheduler_pb2.CyclePreview]]:
        """The coming cycles of many standing orders, in their order, priced at once."""
        now = self._clock.now()
        wanted = [
            new_order(template, cycle, found, now)
            for template in templates
            for cycle in _coming(template, count)
            if (found := template.date(cycle)) and not skip_reason(template, cycle, found)
        ]
        by_key = {(one.merchant, one.standing_order): one for one in templates}
        again = await self._repeated(templates, wanted)
        going_on = [o for o in wanted if not (o.key in again and _left_out(o, by_key))]
        known = await pasts(self.database, going_on, by_key, EXPECTED)
        priced = await price(self._peers, going_on, by_key, known, now, in_turn=True)
        found_out = {one.order.key: one for one in priced}
        return [
            [
                preview
                for cycle in _coming(template, count)
                for key in (OrderKey(template.merchant, template.standing_order, cycle),)
                if (
                    preview := self._preview(
                        template, cycle, found_out.get(key), repeats=key in again
                    )
                )
            ]
            for template in templates
        ]

    async def _repeated(
        self, templates: Sequence[StandingOrder], wanted: Sequence[Order]
    ) -> set[OrderKey]:
        """The orders that would repeat what their customers have bought elsewhere by now."""
        rules = {(each.merchant, each.standing_order): each.repurchase for each in templates}
        asked = [
            (order, rule)
            for order in wanted
            if (rule := rules[order.key.merchant, order.key.standing_order])
        ]
        if not asked:
            return set()
        async with self.database.read() as connection:
            bought = await purchases.last(connection, [k for o, _ in asked for k in keys_of(o)])
        return {order.key for order, rule in asked if repeated(order, rule, bought)}

    def _preview(
        self, template: StandingOrder, cycle: int, priced: Priced | None, *, repeats: bool
    ) -> scheduler_pb2.CyclePreview | None:
        found = template.date(cycle)
        if found is None:
            return None
        message = scheduler_pb2.CyclePreview(
            cycle=cycle, local_date=to_date(found.local_date or found.nominal_date)
        )
        due_time = found.due_at
        reason = skip_reason(template, cycle, found)
        if repeats and template.repurchase is not None:
            if template.repurchase.action is RepurchaseAction.SKIP:
                reason = OrderReason.PURCHASED_ELSEWHERE
            else:
                message.problems.append(scheduler_pb2.PURCHASED_ELSEWHERE)
        if reason is not None:
            message.skip_reason = scheduler_pb2.OrderReason.Value(reason)
        elif priced is not None and isinstance(priced.answer, Quote):
            due_time = self._preview_priced(template, priced, priced.answer, message)
        elif priced is not None and not isinstance(priced.answer, Quote):
            message.problems.extend(scheduler_pb2.OrderReason.Value(one) for one in priced.answer)
        message.due_time.CopyFrom(to_timestamp(due_time))
        begins = template.prepare_at(cycle, due_time)
        message.notice_time.CopyFrom(to_timestamp(max(begins, self._clock.now())))
        return message

    def _preview_priced(
        self,
        template: StandingOrder,
        priced: Priced,
        quote: Quote,
        message: scheduler_pb2.CyclePreview,
    ) -> datetime:
        """Show what a cycle costs and what its conditions say; returns when it would be due."""
        order = priced.order
        message.unmet_conditions.extend(words(priced.ruling))
        if priced.ruling.action is not None:
            order = stopped(order, priced.ruling, template, Stage.PREPARE, self._clock.now())
            if order.state is OrderState.SKIPPED:
                message.skip_reason = scheduler_pb2.CONDITION_NOT_MET
                return order.due_time
            message.problems.append(scheduler_pb2.CONDITION_NOT_MET)
            message.local_date.CopyFrom(to_date(order.local_date))
        message.amount.CopyFrom(to_money(quote.amount_minor, quote.currency))
        message.lines.extend(events.line_messages(quote.lines, quote.currency))
        return order.due_time


def _left_out(order: Order, templates: Templates) -> bool:
    """Whether an order is left out if it repeats a purchase."""
    rule = template_of(order, templates).repurchase
    return rule is not None and rule.action is RepurchaseAction.SKIP


def _coming(template: StandingOrder, count: int) -> range:
    first = template.next_cycle
    return range(first, first + count) if first is not None else range(0)


def _read_count(cycle_count: int) -> int:
    violations = Violations()
    count = cycle_count or PREVIEW_DEFAULT_CYCLES
    violations.require_range("cycle_count", count, 1, PREVIEW_MAX_CYCLES)
    violations.check()
    return count
