"""Which cycles of a standing order get their order now, and which are left out. Pure functions."""

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta

from services.scheduler.domain.calendar import CycleDate
from services.scheduler.domain.ids import OrderKey
from services.scheduler.domain.order import (
    CONFIRMED_BY_ORDERING_NOW,
    HOLD_WINDOW,
    Item,
    Order,
    OrderReason,
    OrderState,
    Stage,
)
from services.scheduler.domain.order_lifecycle import cancelled, moved, skipped
from services.scheduler.domain.standing_order import (
    CatchUpMode,
    Opening,
    StandingOrder,
    State,
    advanced,
)
from services.scheduler.domain.transitions import (
    STANDING_ORDER,
    OrderEvent,
    StandingOrderEvent,
)

# A standing order that has slept for long is caught up in several bites.
OPEN_MAX_CYCLES = 100
# Beyond so many cycles that are left out, no next one is looked for.
NEXT_DUE_MAX_CYCLES = 400


def open_cycles(
    standing_order: StandingOrder, now: datetime, new_trace: Callable[[], str] = str
) -> Opening:
    """Every cycle whose time to be prepared has come gets an order, at most OPEN_MAX_CYCLES at once.

    Of those that have fallen due unbilled, the catch-up policy says which are billed late; the others
    are recorded as missed. Cycles ahead of their due time are all prepared: a short interval and a
    long lead overlap. Each order begins a trace of its own.
    """

    def is_due(cycle: int, date_: CycleDate) -> bool:
        return standing_order.prepare_at(cycle, date_.due_at) <= now

    def order_of(cycle: int, date_: CycleDate, following: CycleDate | None) -> Order:
        order = new_order(standing_order, cycle, date_, following, now, new_trace())
        reason = skip_reason(standing_order, cycle, date_)
        if reason is None and _is_missed(standing_order, cycle, date_, now):
            reason = OrderReason.MISSED
        return skipped(order, reason, now) if reason else order

    return opened_while(standing_order, is_due, order_of, OPEN_MAX_CYCLES)


def opened_while(
    standing_order: StandingOrder,
    is_opened: Callable[[int, CycleDate], bool],
    order_of: Callable[[int, CycleDate, CycleDate | None], Order],
    limit: int = sys.maxsize,
) -> Opening:
    """Give the next cycles their orders, one after another, up to the first that is not opened.

    `order_of` gets a cycle, its date, and that of the following one.
    """
    orders: list[Order] = []
    opened = None
    cycle = standing_order.next_cycle or 0
    date_ = standing_order.date(cycle) if cycle else None
    while date_ is not None and len(orders) < limit and is_opened(cycle, date_):
        following = standing_order.date(cycle + 1)
        orders.append(order_of(cycle, date_, following))
        opened, cycle, date_ = date_, cycle + 1, following
    return Opening(advanced(standing_order, cycle, date_, opened), tuple(orders))


def next_due_time(standing_order: StandingOrder) -> datetime | None:
    """When the next cycle is due that has no order yet and is not left out.

    None when there is none: the standing order is not ACTIVE, or has no such cycle.
    """
    if standing_order.state is not State.ACTIVE or standing_order.next_cycle is None:
        return None
    first = standing_order.next_cycle
    for cycle in range(first, first + NEXT_DUE_MAX_CYCLES):
        date_ = standing_order.date(cycle)
        if date_ is None:
            return None
        if skip_reason(standing_order, cycle, date_) is None:
            return date_.due_at
    return None


def paid_period(standing_order: StandingOrder, order: Order) -> tuple[date, date]:
    """The days that an order pays for: from its own to the one before the next cycle's, both included.

    After the last cycle, the next is where the schedule would go on.
    """
    cycle = order.key.cycle
    schedule = replace(standing_order.schedule, end=None)
    endless = replace(standing_order, schedule=schedule, last_cycle=None)
    # Of an order that the schedule before brought, the first of the present one follows, unless the
    # next cycle kept its date.
    following = endless.date(cycle + 1) or endless.date(max(cycle + 1, standing_order.base_cycle))
    if following is None:
        return order.local_date, order.local_date
    end_date = following.day - timedelta(days=1)
    return order.local_date, max(order.local_date, end_date)


def skip_reason(standing_order: StandingOrder, cycle: int, date_: CycleDate) -> OrderReason | None:
    """Why a cycle brings no order, as far as its date and the customer's wishes say."""
    if standing_order.change(cycle).skip:
        return OrderReason.SKIPPED_BY_CUSTOMER
    if date_.local_date is None:
        return OrderReason.DATE_EXCLUDED
    return None


def reason_against(
    standing_order: StandingOrder, cycle: int, date_: CycleDate, now: datetime
) -> OrderReason | None:
    """As `skip_reason`, and whether a pause or the catch-up policy leaves the cycle out."""
    if standing_order.state is State.PAUSED:
        until = standing_order.resume_time
        if until is None or not outlasts_pause(standing_order, cycle, date_, until):
            return OrderReason.PAUSED
    reason = skip_reason(standing_order, cycle, date_)
    if reason is None and _is_missed(standing_order, cycle, date_, now):
        return OrderReason.MISSED
    return reason


def order_of_cycle(standing_order: StandingOrder, cycle: int, now: datetime) -> Order | None:
    """The order of a cycle, as it would be made now; None: there is no such cycle."""
    date_ = standing_order.date(cycle) if cycle > 0 else None
    if date_ is None:
        return None
    return new_order(standing_order, cycle, date_, standing_order.date(cycle + 1), now)


def new_order(
    standing_order: StandingOrder,
    cycle: int,
    date_: CycleDate,
    following: CycleDate | None,
    now: datetime,
    traceparent: str = "",
) -> Order:
    """The order of a cycle before anything is decided about it."""
    hold_until = max(date_.due_at, now) + HOLD_WINDOW
    if following is not None and following.due_at > now:
        # A cycle never waits past the next one.
        hold_until = min(hold_until, following.due_at)
    change = standing_order.change(cycle)
    return Order(
        key=OrderKey(standing_order.merchant, standing_order.standing_order, cycle),
        customer=standing_order.customer,
        local_date=date_.day,
        due_time=date_.due_at,
        notice_lead=standing_order.lead(cycle),
        hold_until_time=hold_until,
        state=OrderState.UPCOMING,
        terms=standing_order.terms,
        items=ordered_items(standing_order) if change.items is None else change.items,
        ship_to=change.ship_to or standing_order.ship_to,
        region_code=change.region_code if change.ship_to else standing_order.region_code,
        tax_id=standing_order.tax_id,
        currency=standing_order.currency,
        confirmed_reasons=CONFIRMED_BY_ORDERING_NOW if change.order_now_time else (),
        traceparent=traceparent,
    )


def ordered_items(standing_order: StandingOrder) -> tuple[Item, ...]:
    """What is ordered, without what was agreed instead."""
    items = standing_order.items
    if not any(item.substitutes for item in items):
        return items
    return tuple(Item(item.product, item.quantity) for item in items)


def outlasts_pause(
    standing_order: StandingOrder, cycle: int, date_: CycleDate, until: datetime
) -> bool:
    """Whether a cycle can still be announced in time when a pause ends."""
    return date_.due_at - standing_order.lead(cycle) >= until


def _is_missed(standing_order: StandingOrder, cycle: int, date_: CycleDate, now: datetime) -> bool:
    """Whether a cycle that nothing else leaves out passed unbilled and stays so."""
    if date_.due_at > now or standing_order.change(cycle).order_now_time is not None:
        return False
    match standing_order.catch_up.mode:
        case CatchUpMode.ALL_IN_ORDER:
            return date_.due_at < now - standing_order.catch_up.window
        case CatchUpMode.NONE:
            return True
        case CatchUpMode.LATEST_ONLY:
            return _is_followed(standing_order, cycle, now)


def _is_followed(standing_order: StandingOrder, cycle: int, now: datetime) -> bool:
    """Whether a later cycle has fallen due, too, that brings an order: what is left out is not one."""
    for later in range(cycle + 1, cycle + 1 + NEXT_DUE_MAX_CYCLES):
        date_ = standing_order.date(later)
        if date_ is None or date_.due_at > now:
            return False
        if skip_reason(standing_order, later, date_) is None:
            return True
    return False


def overdue_opened(
    standing_order: StandingOrder, now: datetime, new_trace: Callable[[], str] = str
) -> Opening:
    """A standing order whose cycles up to now all have their rows: a change of it loses none.

    Those of a pause are left out. Of the others the catch-up policy says which are missed; what it
    bills late is yet to be prepared.
    """

    def order_of(cycle: int, date_: CycleDate, following: CycleDate | None) -> Order:
        order = new_order(standing_order, cycle, date_, following, now)
        reason = reason_against(standing_order, cycle, date_, now)
        return skipped(order, reason, now) if reason else _to_prepare(order, now, new_trace)

    return opened_while(standing_order, lambda _cycle, date_: date_.due_at <= now, order_of)


def brings_nothing(standing_order: StandingOrder, cycle: int, now: datetime) -> bool:
    """Whether a cycle brings no order, whatever its customer wants: left out by date, or missed."""
    date_ = standing_order.date(cycle)
    return date_ is not None and (
        date_.local_date is None or _is_missed(standing_order, cycle, date_, now)
    )


def passed_over(standing_order: StandingOrder, now: datetime) -> Opening:
    """A standing order whose next cycle can be ordered now; those before it bring nothing."""

    def order_of(cycle: int, date_: CycleDate, following: CycleDate | None) -> Order:
        order = new_order(standing_order, cycle, date_, following, now)
        reason = skip_reason(standing_order, cycle, date_) or OrderReason.MISSED
        return skipped(order, reason, now)

    return opened_while(
        standing_order,
        lambda cycle, _date: brings_nothing(standing_order, cycle, now),
        order_of,
        OPEN_MAX_CYCLES,
    )


def ended(standing_order: StandingOrder, now: datetime) -> Opening:
    """A standing order that is cancelled at once; the cycles that fell due have their rows."""
    opening = overdue_opened(standing_order, now)
    orders = (
        order
        if order.state is OrderState.SKIPPED
        else cancelled(order, OrderReason.STANDING_ORDER_CANCELLED, now)
        for order in opening.orders
    )
    state = STANDING_ORDER.to(standing_order.state, StandingOrderEvent.CANCEL)
    over = replace(opening.standing_order, state=state, resume_time=None)
    return Opening(advanced(over, 0, None), tuple(orders))


def _to_prepare(order: Order, now: datetime, new_trace: Callable[[], str]) -> Order:
    """An order that is prepared as soon as its turn comes."""
    return moved(
        order,
        OrderEvent.HOLD,
        recheck_time=now,
        held_stage=Stage.PREPARE,
        traceparent=new_trace(),
    )
