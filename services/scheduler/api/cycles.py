"""Single coming cycles: leave out, change, restore, bring forward."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import partial

import grpc
from recurring.scheduler.v1 import scheduler_pb2
from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime.crypto.encryption import Keyring
from services.runtime.db.idempotency import Mutation, mutation
from services.runtime.db.pool import Database
from services.runtime.errors import FieldViolation, Problem, Violations, wrong_state
from services.runtime.messaging import outbox
from services.runtime.workers.clock import Clock
from services.scheduler import publishers
from services.scheduler.api.lookups import (
    LIVE_STATES,
    cycle_out_of_range,
    existing,
    locked,
    record_pause,
    refuse_items,
)
from services.scheduler.api.reading import read_items, read_ship_to
from services.scheduler.api.requests import read_name
from services.scheduler.api.schedules import read_calendar_date
from services.scheduler.api.templates import TemplateMethods
from services.scheduler.application import settlement
from services.scheduler.clients import Cart, Clients
from services.scheduler.domain import calendar
from services.scheduler.domain.ids import OrderKey
from services.scheduler.domain.order import (
    WITHDRAWABLE_STATES,
    Order,
    OrderReason,
    OrderState,
    Quote,
    Stage,
)
from services.scheduler.domain.order_lifecycle import brought_forward, restored, skipped
from services.scheduler.domain.standing_order import (
    CHANGE_AHEAD_MAX_CYCLES,
    CycleChange,
    StandingOrder,
    State,
    with_change,
)
from services.scheduler.store import addresses, orders, standing_orders

StandingOrderMessage = scheduler_pb2.StandingOrder


class CycleMethods(TemplateMethods):
    """The methods of recurring.scheduler.v1.SchedulerService about single cycles to come."""

    database: Database
    _clock: Clock
    _clients: Clients

    async def _locked_live(self, tx: AsyncConnection, name: str, etag: str) -> StandingOrder:
        template = await locked(tx, name, etag, LIVE_STATES)
        return await record_pause(tx, template, self._clock.now())

    @mutation(StandingOrderMessage)
    async def SkipCycle(
        self, request: scheduler_pb2.SkipCycleRequest, tx: AsyncConnection
    ) -> StandingOrderMessage:
        """Leave out one cycle, opened or yet to come."""
        _require_cycle(request.cycle, least=0)
        template = await self._locked_live(tx, request.name, request.etag)
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
            return self._message(template)
        if order.state not in WITHDRAWABLE_STATES:
            raise wrong_state(
                "ORDER_STATE", f"cycle {cycle} of {name} is {order.state}, too late to leave it out"
            )
        left_out = skipped(order, OrderReason.SKIPPED_BY_CUSTOMER, now)
        await orders.update(tx, [left_out], order.state, now)
        await outbox.put(tx, publishers.order_events(left_out, template, now))
        # It may have been the last one.
        pair = template.key
        over = await settlement.end_finished(tx, [pair], now)
        return self._message(over.get(pair, template))

    @mutation(StandingOrderMessage)
    async def RestoreCycle(
        self, request: scheduler_pb2.RestoreCycleRequest, tx: AsyncConnection
    ) -> StandingOrderMessage:
        """Take back what was changed for one coming cycle."""
        _require_cycle(request.cycle, least=1)
        template = await self._locked_live(tx, request.name, request.etag)
        if template.next_cycle is None or request.cycle < template.next_cycle:
            return await self._restore_skipped(tx, template, request.cycle)
        _require_coming(template, request.cycle)
        # The date that a postponed cycle kept under another schedule is its own.
        restored = CycleChange(kept_date=template.change(request.cycle).kept_date)
        return await self._store_change(tx, template, request.cycle, restored)

    async def _restore_skipped(
        self, tx: AsyncConnection, template: StandingOrder, cycle: int
    ) -> StandingOrderMessage:
        """Take back a skip of a cycle that had its order: it is announced again, with its lead."""
        now = self._clock.now()
        key = OrderKey(template.merchant, template.standing_order, cycle)
        order = (await orders.by_key(tx, [key])).get(key)
        left_out = (
            order is not None
            and order.state is OrderState.SKIPPED
            and order.reasons == (OrderReason.SKIPPED_BY_CUSTOMER,)
        )
        if order is None or not left_out:
            raise _cut_off("it was not left out by the customer, so there is no skip to take back")
        if template.state is not State.ACTIVE or order.due_time <= now:
            raise _cut_off(
                "its skip can be taken back only before it is due and while billing goes on"
            )
        await orders.update(tx, [restored(order, now)], OrderState.SKIPPED, now)
        return self._message(template)

    async def ChangeCycle(
        self, request: scheduler_pb2.ChangeCycleRequest, _context: object
    ) -> StandingOrderMessage:
        """Change one coming cycle and no other."""
        once = Mutation(request, request.request_id)
        if (answered := await once.answered(self.database, StandingOrderMessage)) is not None:
            return answered
        if request.change.items:
            await self._check_items(request)
        async with self.database.begin() as tx:
            change = partial(self._change_cycle, request)
            return await once.once(tx, StandingOrderMessage, change)

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
        quote = await self._clients.first_quote(Cart(key, items, found.due_at))
        if not isinstance(quote, Quote):
            refuse_items(merchant, "change.items", items, quote)

    async def _change_cycle(
        self, request: scheduler_pb2.ChangeCycleRequest, tx: AsyncConnection
    ) -> StandingOrderMessage:
        _require_cycle(request.change.cycle, least=1, field="change.cycle")
        template = await self._locked_live(tx, request.name, request.etag)
        cycle = request.change.cycle
        _require_coming(template, cycle)
        change = _read_change(template, request.change, self.database.keyring)
        if change.local_date is not None:
            last = await orders.last(tx, template.merchant, template.standing_order)
            last_date = last.local_date if last else None
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
            calendar.is_day(day, zone)
            and due_at > self._clock.now()
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
                return self._message(template)
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
            return self._message(template)
        now = self._clock.now()
        changed = await standing_orders.change(tx, with_change(template, cycle, change), now)
        following = await orders.next_open_time(tx, template.merchant, template.standing_order, now)
        fact = publishers.standing_order_changed(changed, "UPDATED", now, following)
        await outbox.put(tx, [fact])
        return self._message(changed)


def _require_cycle(cycle: int, *, least: int, field: str = "cycle") -> None:
    violations = Violations()
    violations.require(field, f"must be at least {least}", met=cycle >= least)
    violations.check()


def _cut_off(advice: str) -> Problem:
    return Problem(
        grpc.StatusCode.FAILED_PRECONDITION,
        "CYCLE_CUT_OFF",
        f"the cycle has its order already; {advice}",
        (FieldViolation("cycle", "CYCLE_CUT_OFF", "must have no order yet"),),
    )


def _require_coming(template: StandingOrder, cycle: int) -> None:
    """Refuse a cycle that has its order already, that does not exist, or that is too far ahead."""
    if template.next_cycle is None or cycle < template.next_cycle:
        raise _cut_off("an order that is not to be paid yet can be left out or ordered now instead")
    if cycle - template.next_cycle > CHANGE_AHEAD_MAX_CYCLES or template.date(cycle) is None:
        raise cycle_out_of_range()


def _read_change(
    template: StandingOrder, message: scheduler_pb2.CycleChange, keyring: Keyring
) -> CycleChange:
    """The cycle's change with what the message adds to it."""
    violations = Violations()
    change = template.change(message.cycle)
    if message.HasField("local_date"):
        day = read_calendar_date(violations, "change.local_date", message.local_date)
        change = replace(change, local_date=day)
    if message.items:
        items = read_items(violations, "change.items", template.merchant, message.items)
        change = replace(change, items=items)
    address = read_ship_to(violations, "change.ship_to", message)
    customer = template.merchant, template.customer
    given = address.ByteSize() > 0
    # The same address re-encrypted would look like another one.
    if given and address != addresses.decrypt(keyring, *customer, change.ship_to):
        change = replace(change, ship_to=addresses.encrypt(keyring, *customer, address))
    named = message.HasField("local_date") or message.items or given
    violations.require("change", "must change something", met=bool(named))
    violations.check()
    return change


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
