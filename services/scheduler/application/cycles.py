"""Single coming cycles: leave out, change, restore, bring forward."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime

import grpc

from services.runtime.db.pool import Connection, Database
from services.runtime.errors import FieldViolation, Problem, Violations, wrong_state
from services.runtime.messaging import outbox
from services.runtime.mutations import Applied, Apply
from services.scheduler import publishers
from services.scheduler.application import settlement, sign_up
from services.scheduler.application.standing_orders import existing, locked, record_pause
from services.scheduler.clients import Clients, refuse_untaxed
from services.scheduler.clients.questions import Cart
from services.scheduler.domain import calendar
from services.scheduler.domain.cycles import brings_nothing, passed_over, skip_reason
from services.scheduler.domain.ids import OrderKey, StandingOrderKey
from services.scheduler.domain.order import (
    WITHDRAWABLE_STATES,
    Item,
    Order,
    OrderReason,
    OrderState,
    Quote,
    Stage,
    is_ordered_now,
)
from services.scheduler.domain.order_lifecycle import brought_forward, restored, skipped
from services.scheduler.domain.rescheduling import LastOrder
from services.scheduler.domain.standing_order import (
    CHANGE_AHEAD_MAX_CYCLES,
    LIVE_STATES,
    CycleChange,
    StandingOrder,
    State,
    with_change,
)
from services.scheduler.names import standing_order_name
from services.scheduler.store import orders, standing_orders

# --- leave out, and take that back -----------------------------------------------------------------


async def skip(
    tx: Connection, key: StandingOrderKey, present_etag: str, now: datetime, *, cycle: int
) -> Applied[StandingOrder]:
    """Leave out one cycle, opened or yet to come; 0: the first that can be.

    Raises OUT_OF_RANGE CYCLE_OUT_OF_RANGE, FAILED_PRECONDITION ORDER_STATE.
    """
    present = await locked(tx, key, present_etag, LIVE_STATES, now)
    standing_order = await record_pause(tx, present, now)
    cycle = cycle or _next_to_skip(standing_order, await orders.open_orders(tx, [key]))
    if standing_order.next_cycle is not None and cycle >= standing_order.next_cycle:
        _require_coming(standing_order, cycle)
        change = replace(standing_order.change(cycle), skip=True)
        changed = await _store_change(tx, standing_order, cycle, change, now)
    else:
        changed = await _skip_opened(tx, standing_order, cycle, now)
    return Applied(changed, before=present)


async def _skip_opened(
    tx: Connection, standing_order: StandingOrder, cycle: int, now: datetime
) -> StandingOrder:
    order = await _order_of(tx, standing_order, cycle)
    if order is None:
        raise cycle_out_of_range()
    if order.state is OrderState.SKIPPED:
        return standing_order
    if order.state not in WITHDRAWABLE_STATES:
        name = standing_order_name(*standing_order.key)
        raise wrong_state(
            "ORDER_STATE", f"cycle {cycle} of {name} is {order.state}, too late to leave it out"
        )
    left_out = skipped(order, OrderReason.SKIPPED_BY_CUSTOMER, now)
    await orders.update(tx, [left_out], order.state, now)
    await outbox.put(tx, publishers.order_events(left_out, standing_order, now))
    changed = await _with_new_etag(tx, standing_order, now)
    # It may have been the last one.
    over = await settlement.end_finished(tx, [standing_order.key], now)
    return over.get(standing_order.key, changed)


async def restore(
    tx: Connection, key: StandingOrderKey, present_etag: str, now: datetime, *, cycle: int
) -> Applied[StandingOrder]:
    """Take back what was changed for one coming cycle.

    Raises OUT_OF_RANGE CYCLE_OUT_OF_RANGE, FAILED_PRECONDITION CYCLE_CUT_OFF, INVALID_ARGUMENT
    DATE_OUT_OF_RANGE.
    """
    present = await locked(tx, key, present_etag, LIVE_STATES, now)
    standing_order = await record_pause(tx, present, now)
    if standing_order.next_cycle is None or cycle < standing_order.next_cycle:
        await _restore_skipped(tx, standing_order, cycle, now)
        return Applied(await _with_new_etag(tx, standing_order, now), before=present)
    _require_coming(standing_order, cycle)
    # The date that a postponed cycle kept under another schedule is its own.
    change = CycleChange(kept_date=standing_order.change(cycle).kept_date)
    own = with_change(standing_order, cycle, change).date(cycle)
    if own is not None and own != standing_order.date(cycle):
        last = await orders.last(tx, key)
        _require_free_date(standing_order, cycle, own.day, last, now, "cycle")
    return Applied(await _store_change(tx, standing_order, cycle, change, now), before=present)


async def _restore_skipped(
    tx: Connection, standing_order: StandingOrder, cycle: int, now: datetime
) -> None:
    """Take back a skip of a cycle that had its order: it is announced again, with its lead."""
    order = await _order_of(tx, standing_order, cycle)
    left_out = (
        order is not None
        and order.state is OrderState.SKIPPED
        and order.reasons == (OrderReason.SKIPPED_BY_CUSTOMER,)
    )
    if order is None or not left_out:
        raise _cut_off("it was not left out by the customer, so there is no skip to take back")
    if standing_order.state is not State.ACTIVE or order.due_time <= now:
        raise _cut_off("its skip can be taken back only before it is due and while billing goes on")
    await orders.update(tx, [restored(order, now)], OrderState.SKIPPED, now)


# --- change ----------------------------------------------------------------------------------------


async def change(
    database: Database,
    clients: Clients,
    key: OrderKey,
    present_etag: str,
    items: Sequence[Item],
    merge: Callable[[StandingOrder], CycleChange],
    now: datetime,
) -> Apply[StandingOrder]:
    """Change one coming cycle and no other: `merge` adds the requested change to those it has.

    Raises OUT_OF_RANGE CYCLE_OUT_OF_RANGE, FAILED_PRECONDITION CYCLE_CUT_OFF, INVALID_ARGUMENT
    DATE_OUT_OF_RANGE, and for items that cannot be ordered.
    """
    if items:
        await _check_items(database, clients, key, items)

    async def apply(tx: Connection) -> Applied[StandingOrder]:
        present = await locked(tx, key.standing_order_key, present_etag, LIVE_STATES, now)
        standing_order = await record_pause(tx, present, now)
        _require_coming(standing_order, key.cycle)
        wanted = merge(standing_order)
        if wanted.local_date is not None:
            last = await orders.last(tx, key.standing_order_key)
            _require_free_date(
                standing_order, key.cycle, wanted.local_date, last, now, "change.local_date"
            )
        changed = await _store_change(tx, standing_order, key.cycle, wanted, now)
        return Applied(changed, before=present)

    return apply


async def _check_items(
    database: Database, clients: Clients, key: OrderKey, items: Sequence[Item]
) -> None:
    """Refuse products that cannot be priced for that cycle, before anything is stored."""
    async with database.read() as connection:
        standing_order = await existing(connection, key.standing_order_key)
    cycle_date = standing_order.date(key.cycle)
    if cycle_date is None:
        raise cycle_out_of_range()
    cart = Cart(
        key,
        tuple(items),
        cycle_date.due_at,
        standing_order.create_time,
        standing_order.region_code,
        standing_order.currency,
        standing_order.tax_id,
        standing_order.agreement_of(key.cycle),
    )
    (quote,) = await clients.quote([cart])
    refuse_untaxed([quote])
    if not isinstance(quote, Quote):
        violations = Violations()
        sign_up.note_items(violations, "change.items", items, quote.problems)
        violations.check()


def _require_free_date(
    standing_order: StandingOrder,
    cycle: int,
    day: date,
    last: LastOrder | None,
    now: datetime,
    field: str,
) -> None:
    """Refuse a date that is past, or that meets or passes the cycle before or after."""
    zone = standing_order.schedule.time_zone
    due_at = calendar.local_to_utc(day, standing_order.schedule.local_time, zone)
    before = standing_order.date(cycle - 1)
    after = standing_order.date(cycle + 1)
    # What is left out keeps its place among the dates.
    earlier = before.day if before else None
    if cycle == standing_order.next_cycle:
        earlier = last.local_date if last else None
    free = (
        calendar.is_day(day, zone)
        and due_at > now
        and (earlier is None or day > earlier)
        and (after is None or day < after.day)
    )
    if not free:
        violations = Violations()
        violations.add(
            field,
            "the date must be to come, after the cycle before and before the cycle after",
            "DATE_OUT_OF_RANGE",
        )
        violations.check()


# --- bring forward ---------------------------------------------------------------------------------


async def order_now(
    tx: Connection, key: StandingOrderKey, present_etag: str, now: datetime
) -> Applied[StandingOrder]:
    """Bring the next cycle forward to now, unless one that was waits for its payment to begin.

    Raises OUT_OF_RANGE CYCLE_OUT_OF_RANGE.
    """
    standing_order = await locked(tx, key, present_etag, (State.ACTIVE,), now)
    open_orders = await orders.open_orders(tx, [key])
    if _is_ordered_now(standing_order, open_orders, now):
        return Applied(standing_order, before=standing_order)
    today = calendar.utc_to_local_date(now, standing_order.schedule.time_zone)
    for order in open_orders:
        waits = order.state is OrderState.UPCOMING or order.held_stage is Stage.PREPARE
        if waits and order.due_time > now:
            # It is announced already: it is announced again, for now.
            await orders.update(tx, [brought_forward(order, today, now)], order.state, now)
            changed = await _with_new_etag(tx, standing_order, now)
            return Applied(changed, before=standing_order)
    # What the schedule leaves out, or was missed, brings no order: it is not one to bring forward.
    coming, left_out = passed_over(standing_order, now)
    cycle = coming.next_cycle
    if cycle is None or brings_nothing(coming, cycle, now):
        raise cycle_out_of_range()
    sooner = replace(coming.change(cycle), skip=False, local_date=None, order_now_time=now)
    changed = await _store_change(tx, coming, cycle, sooner, now)
    await orders.insert(tx, left_out, now)
    events = [
        event for order in left_out for event in publishers.order_events(order, standing_order, now)
    ]
    await outbox.put(tx, events)
    # What is passed over is recorded in any case: the audit has the cycle that was next after it.
    return Applied(changed, before=coming)


def _is_ordered_now(
    standing_order: StandingOrder, open_orders: Sequence[Order], now: datetime
) -> bool:
    """Whether a cycle that was ordered now has no order yet, or one whose payment has not begun."""
    change = standing_order.change(standing_order.next_cycle or 0)
    waits = change.order_now_time is not None and not change.skip
    return waits or any(is_ordered_now(order, now) for order in open_orders)


async def _with_new_etag(
    tx: Connection, standing_order: StandingOrder, now: datetime
) -> StandingOrder:
    """A standing order of which an order was changed: whoever knows it from before is refused."""
    return await standing_orders.change(tx, standing_order, now)


async def _store_change(
    tx: Connection, standing_order: StandingOrder, cycle: int, wanted: CycleChange, now: datetime
) -> StandingOrder:
    if wanted == standing_order.change(cycle):
        return standing_order
    changed = await standing_orders.change(tx, with_change(standing_order, cycle, wanted), now)
    following = await orders.next_open_time(tx, standing_order.key, now)
    await outbox.put(tx, [publishers.standing_order_changed(changed, "UPDATED", now, following)])
    return changed


# --- which cycle -----------------------------------------------------------------------------------


async def _order_of(tx: Connection, standing_order: StandingOrder, cycle: int) -> Order | None:
    key = OrderKey(standing_order.merchant, standing_order.standing_order, cycle)
    return (await orders.by_key(tx, [key])).get(key)


def cycle_out_of_range() -> Problem:
    """The standing order has no such coming cycle."""
    return Problem(
        grpc.StatusCode.OUT_OF_RANGE,
        "CYCLE_OUT_OF_RANGE",
        f"there is no such cycle, or it is over {CHANGE_AHEAD_MAX_CYCLES} cycles ahead",
        (FieldViolation("cycle", "CYCLE_OUT_OF_RANGE", "must be a coming cycle"),),
    )


def _cut_off(advice: str) -> Problem:
    return Problem(
        grpc.StatusCode.FAILED_PRECONDITION,
        "CYCLE_CUT_OFF",
        f"the cycle has its order already; {advice}",
        (FieldViolation("cycle", "CYCLE_CUT_OFF", "must have no order yet"),),
    )


def _require_coming(standing_order: StandingOrder, cycle: int) -> None:
    """Refuse a cycle that has its order already, that does not exist, or that is too far ahead."""
    if standing_order.next_cycle is None or cycle < standing_order.next_cycle:
        raise _cut_off("an order that is not to be paid yet can be left out or ordered now instead")
    if (
        cycle - standing_order.next_cycle > CHANGE_AHEAD_MAX_CYCLES
        or standing_order.date(cycle) is None
    ):
        raise cycle_out_of_range()


def _next_to_skip(standing_order: StandingOrder, open_orders: Sequence[Order]) -> int:
    """The first cycle that can still be left out and is not left out yet."""
    for order in open_orders:
        if order.state in WITHDRAWABLE_STATES:
            return order.key.cycle
    first = standing_order.next_cycle
    if first is not None:
        for cycle in range(first, first + CHANGE_AHEAD_MAX_CYCLES + 1):
            date_ = standing_order.date(cycle)
            if date_ is None:
                break
            if skip_reason(standing_order, cycle, date_) is None:
                return cycle
    raise cycle_out_of_range()
