"""Single coming cycles: leave out, change, restore, bring forward; and what is to come."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import grpc
from recurring.scheduler.v1 import scheduler_pb2
from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime import outbox
from services.runtime.clock import Clock
from services.runtime.database import Database
from services.runtime.errors import FieldViolation, Problem, Violations, wrong_state
from services.runtime.requests import mutation
from services.runtime.wire import read_date, to_date, to_money, to_timestamp
from services.scheduler import events
from services.scheduler.api.lookups import (
    LIVE_STATES,
    cycle_out_of_range,
    existing,
    locked,
    read_name,
    refuse_items,
)
from services.scheduler.api.messages import standing_order_message
from services.scheduler.api.reading import read_items, read_ship_to
from services.scheduler.api.templates import TemplateMethods
from services.scheduler.domain import calendar
from services.scheduler.domain.order import (
    WITHDRAWABLE_STATES,
    Order,
    OrderKey,
    OrderReason,
    OrderState,
    Quote,
    Stage,
    brought_forward,
    skipped,
)
from services.scheduler.domain.purchases import RepurchaseAction, keys_of, repeated
from services.scheduler.domain.standing_order import (
    CHANGE_AHEAD_MAX_CYCLES,
    CycleChange,
    StandingOrder,
    State,
    new_order,
    skip_reason,
    with_change,
)
from services.scheduler.peers import Cart, Peers, QuoteAnswer
from services.scheduler.store import orders, purchases, standing_orders

PREVIEW_DEFAULT_CYCLES = 12
PREVIEW_MAX_CYCLES = 100

StandingOrderMessage = scheduler_pb2.StandingOrder


class CycleMethods(TemplateMethods):
    """The methods of recurring.scheduler.v1.SchedulerService about single cycles to come."""

    database: Database
    _clock: Clock
    _peers: Peers

    @mutation(StandingOrderMessage)
    async def SkipCycle(
        self, request: scheduler_pb2.SkipCycleRequest, tx: AsyncConnection
    ) -> StandingOrderMessage:
        """Leave out one cycle, opened or yet to come."""
        _require_cycle(request.cycle, least=0)
        template = await locked(tx, request.name, request.etag, LIVE_STATES)
        found = await orders.open_orders(tx, template.merchant, template.standing_order)
        cycle = request.cycle or _next_to_skip(template, found)
        if template.next_cycle is not None and cycle >= template.next_cycle:
            _require_coming(template, cycle)
            return await self._store_change(
                tx, template, cycle, replace(template.change(cycle), skip=True)
            )
        return await self._skip_opened(tx, template, cycle, request.name)

    async def _skip_opened(
        self, tx: AsyncConnection, template: StandingOrder, cycle: int, name: str
    ) -> StandingOrderMessage:
        now = self._clock.now()
        key = OrderKey(template.merchant, template.standing_order, cycle)
        order = (await orders.by_key(tx, [key])).get(key)
        if order is None:
            raise cycle_out_of_range()
        if order.state is OrderState.SKIPPED:
            return standing_order_message(template)
        if order.state not in WITHDRAWABLE_STATES:
            raise wrong_state(
                "ORDER_STATE", f"cycle {cycle} of {name} is {order.state}, too late to leave it out"
            )
        left_out = skipped(order, OrderReason.SKIPPED_BY_CUSTOMER, now)
        await orders.update(tx, [left_out], order.state, now)
        await outbox.put(tx, events.order_facts(left_out, template, now))
        # It may have been the last one.
        key_pair = (template.merchant, template.standing_order)
        completed = await standing_orders.complete(tx, [key_pair], now)
        await outbox.put(tx, [events.standing_order_ended(one, now) for one in completed])
        return standing_order_message(completed[0] if completed else template)

    @mutation(StandingOrderMessage)
    async def RestoreCycle(
        self, request: scheduler_pb2.RestoreCycleRequest, tx: AsyncConnection
    ) -> StandingOrderMessage:
        """Take back what was changed for one coming cycle."""
        _require_cycle(request.cycle, least=1)
        template = await locked(tx, request.name, request.etag, LIVE_STATES)
        _require_coming(template, request.cycle)
        return await self._store_change(tx, template, request.cycle, CycleChange())

    async def ChangeCycle(
        self, request: scheduler_pb2.ChangeCycleRequest, context: object
    ) -> StandingOrderMessage:
        """Change one coming cycle and no other."""
        if request.change.items:
            await self._check_items(request)
        return await self._change_cycle(request, context)

    async def _check_items(self, request: scheduler_pb2.ChangeCycleRequest) -> None:
        """Refuse products that cannot be priced for that cycle, before anything is stored."""
        merchant, standing_order = read_name(request.name)
        violations = Violations()
        items = read_items(violations, "change.items", merchant, request.change.items)
        violations.check()
        async with self.database.read() as connection:
            template = await existing(connection, merchant, standing_order)
        cycle = request.change.cycle
        found = template.date(cycle)
        if found is None:
            raise cycle_out_of_range()
        key = OrderKey(merchant, standing_order, cycle)
        quote = await self._peers.first_quote(Cart(key, items, found.due_at))
        if not isinstance(quote, Quote):
            refuse_items(merchant, "change.items", items, quote)

    @mutation(StandingOrderMessage)
    async def _change_cycle(
        self, request: scheduler_pb2.ChangeCycleRequest, tx: AsyncConnection
    ) -> StandingOrderMessage:
        _require_cycle(request.change.cycle, least=1, field="change.cycle")
        template = await locked(tx, request.name, request.etag, LIVE_STATES)
        cycle = request.change.cycle
        _require_coming(template, cycle)
        change = _read_change(template, request.change)
        if change.local_date is not None:
            last_date = await orders.last_date(tx, template.merchant, template.standing_order)
            self._require_free_date(template, cycle, change.local_date, last_date)
        return await self._store_change(tx, template, cycle, change)

    def _require_free_date(
        self, template: StandingOrder, cycle: int, day: date, last_date: date | None
    ) -> None:
        """Refuse a date that is past, or that meets or passes the cycle before or after."""
        zone = template.schedule.time_zone
        due_at = calendar.local_to_utc(day, template.schedule.local_time, zone)
        before = template.date(cycle - 1)
        after = template.date(cycle + 1)
        earlier = before.local_date if before else None
        if cycle == template.next_cycle:
            earlier = last_date
        free = (
            due_at > self._clock.now()
            and (earlier is None or day > earlier)
            and (after is None or day < (after.local_date or after.nominal_date))
        )
        if not free:
            violations = Violations()
            violations.add(
                "change.local_date",
                "must be to come, after the cycle before and before the cycle after",
                "DATE_OUT_OF_RANGE",
            )
            violations.check()

    @mutation(StandingOrderMessage)
    async def OrderNow(
        self, request: scheduler_pb2.OrderNowRequest, tx: AsyncConnection
    ) -> StandingOrderMessage:
        """Bring the next cycle forward to now."""
        now = self._clock.now()
        template = await locked(tx, request.name, request.etag, (State.ACTIVE,))
        today = calendar.utc_to_local_date(now, template.schedule.time_zone)
        found = await orders.open_orders(tx, template.merchant, template.standing_order)
        for order in found:
            waits = order.state is OrderState.UPCOMING or order.held_stage is Stage.PREPARE
            if waits and order.due_time > now:
                # It is announced already: it is announced anew, for now.
                sooner = brought_forward(order, today, now)
                await orders.update(tx, [sooner], order.state, now)
                return standing_order_message(template)
        if template.next_cycle is None:
            raise cycle_out_of_range()
        change = replace(
            template.change(template.next_cycle), skip=False, local_date=None, order_now_time=now
        )
        return await self._store_change(tx, template, template.next_cycle, change)

    async def _store_change(
        self, tx: AsyncConnection, template: StandingOrder, cycle: int, change: CycleChange
    ) -> StandingOrderMessage:
        if change == template.change(cycle):
            return standing_order_message(template)
        now = self._clock.now()
        changed = await standing_orders.change(tx, with_change(template, cycle, change), now)
        await outbox.put(tx, [events.standing_order_changed(changed, "UPDATED", now)])
        return standing_order_message(changed)

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
        carts = [Cart(order.key, order.items, order.due_time) for order in wanted]
        answers = await self._peers.quote(carts)
        quotes = {cart.key: answer for cart, answer in zip(carts, answers, strict=True)}
        again = await self._repeated(templates, wanted)
        return [
            [
                preview
                for cycle in _coming(template, count)
                for key in (OrderKey(template.merchant, template.standing_order, cycle),)
                if (
                    preview := self._preview(template, cycle, quotes.get(key), repeats=key in again)
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
        self, template: StandingOrder, cycle: int, answer: QuoteAnswer | None, *, repeats: bool
    ) -> scheduler_pb2.CyclePreview | None:
        found = template.date(cycle)
        if found is None:
            return None
        begins = template.prepare_at(cycle, found.due_at)
        message = scheduler_pb2.CyclePreview(
            cycle=cycle,
            local_date=to_date(found.local_date or found.nominal_date),
            due_time=to_timestamp(found.due_at),
            notice_time=to_timestamp(max(begins, self._clock.now())),
        )
        reason = skip_reason(template, cycle, found)
        if repeats and template.repurchase is not None:
            if template.repurchase.action is RepurchaseAction.SKIP:
                reason = OrderReason.PURCHASED_ELSEWHERE
            else:
                message.problems.append(scheduler_pb2.PURCHASED_ELSEWHERE)
        if reason is not None:
            message.skip_reason = scheduler_pb2.OrderReason.Value(reason)
        elif isinstance(answer, Quote):
            message.amount.CopyFrom(to_money(answer.amount_minor, answer.currency))
            message.lines.extend(events.line_messages(answer.lines, answer.currency))
        elif answer is not None:
            message.problems.extend(scheduler_pb2.OrderReason.Value(one) for one in answer)
        return message


def _coming(template: StandingOrder, count: int) -> range:
    first = template.next_cycle
    return range(first, first + count) if first is not None else range(0)


def _require_cycle(cycle: int, *, least: int, field: str = "cycle") -> None:
    violations = Violations()
    violations.require(field, f"must be at least {least}", met=cycle >= least)
    violations.check()


def _require_coming(template: StandingOrder, cycle: int) -> None:
    """Refuse a cycle that has its order already, that does not exist, or that is too far ahead."""
    if template.next_cycle is None or cycle < template.next_cycle:
        raise Problem(
            grpc.StatusCode.FAILED_PRECONDITION,
            "CYCLE_CUT_OFF",
            "the cycle has its order already; it can only be left out",
            (FieldViolation("cycle", "CYCLE_CUT_OFF", "must have no order yet"),),
        )
    if cycle - template.next_cycle > CHANGE_AHEAD_MAX_CYCLES or template.date(cycle) is None:
        raise cycle_out_of_range()


def _read_change(template: StandingOrder, message: scheduler_pb2.CycleChange) -> CycleChange:
    """The cycle's change with what the message adds to it."""
    violations = Violations()
    change = template.change(message.cycle)
    if message.HasField("local_date"):
        day = read_date(violations, "change.local_date", message.local_date)
        change = replace(change, local_date=day)
    if message.items:
        items = read_items(violations, "change.items", template.merchant, message.items)
        change = replace(change, items=items)
    if message.HasField("ship_to"):
        change = replace(change, ship_to=read_ship_to(violations, "change.ship_to", message))
    named = message.HasField("local_date") or message.items or message.HasField("ship_to")
    violations.require("change", "must change something", met=bool(named))
    violations.check()
    return change


def _read_count(cycle_count: int) -> int:
    violations = Violations()
    count = cycle_count or PREVIEW_DEFAULT_CYCLES
    violations.require_range("cycle_count", count, 1, PREVIEW_MAX_CYCLES)
    violations.check()
    return count


def _next_to_skip(template: StandingOrder, found: Sequence[Order]) -> int:
    """The first cycle that can still be left out and is not left out yet."""
    for order in found:
        if order.state in WITHDRAWABLE_STATES:
            return order.key.cycle
    cycle = template.next_cycle
    while cycle is not None and template.change(cycle).skip:
        cycle += 1
    if cycle is None:
        raise cycle_out_of_range()
    return cycle
