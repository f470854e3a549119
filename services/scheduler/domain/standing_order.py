"""Standing orders: the template, and which of its cycles are to be opened. Pure functions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from services.scheduler.domain import calendar
from services.scheduler.domain.calendar import CycleDate
from services.scheduler.domain.order import (
    HOLD_WINDOW,
    BillingMode,
    Item,
    Order,
    OrderKey,
    OrderReason,
    OrderState,
    skipped,
)
from services.scheduler.domain.schedule import Schedule

NOTICE_LEAD_DEFAULT = timedelta(hours=72)
PAYMENT_WINDOW_DEFAULT = timedelta(hours=72)
# Preparation begins this much before the lead, so that the notice is delivered in time for it.
NOTICE_HEADROOM = timedelta(minutes=15)
SKIP_AHEAD_MAX_CYCLES = 100
# A standing order that has slept for long is caught up in several bites.
OPEN_MAX_CYCLES = 100


class State(StrEnum):
    """Whether a standing order bills."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    CANCELLED = "CANCELLED"
    COMPLETED = "COMPLETED"


@dataclass(frozen=True, slots=True)
class StandingOrder:
    """What to order, when and how to pay for it, again and again."""

    merchant: str
    standing_order: str
    customer: str
    title: str
    items: tuple[Item, ...]
    schedule: Schedule
    billing_mode: BillingMode
    mandate: str
    ship_to: Mapping[str, Any] | None
    # As plain data, for showing; the catalog applies it.
    price_protection: Mapping[str, Any] | None
    notice_lead: timedelta
    payment_window: timedelta
    create_time: datetime
    update_time: datetime
    state: State = State.ACTIVE
    # The number of the schedule's first cycle.
    base_cycle: int = 1
    # The next cycle without an order; None when there is none.
    next_cycle: int | None = 1
    next_due_time: datetime | None = None
    # When that cycle is to be prepared.
    prepare_time: datetime | None = None
    skipped_cycles: frozenset[int] = frozenset()
    paid_order_count: int = 0
    # The total of the cycle before, in minor units.
    last_amount_minor: int | None = None
    last_currency: str = ""
    version: int = 1

    def date(self, cycle: int) -> CycleDate | None:
        """The date of a cycle; None when the schedule has ended before it."""
        return calendar.cycle(self.schedule, cycle - self.base_cycle)

    def prepare_at(self, due_time: datetime) -> datetime:
        """When a cycle that is due then is to be prepared."""
        return due_time - self.notice_lead - NOTICE_HEADROOM


@dataclass(frozen=True, slots=True)
class Opening:
    """Cycles that are to get their row now, and the standing order after it."""

    standing_order: StandingOrder
    # SKIPPED ones are done; the others are yet to be prepared.
    orders: tuple[Order, ...]


def at_cycle(standing_order: StandingOrder, cycle: int) -> StandingOrder:
    """The standing order with this cycle as its next; with none if its schedule has ended."""
    date = standing_order.date(cycle)
    if date is None:
        return replace(standing_order, next_cycle=None, next_due_time=None, prepare_time=None)
    return replace(
        standing_order,
        next_cycle=cycle,
        next_due_time=date.due_at,
        prepare_time=standing_order.prepare_at(date.due_at),
        # One-cycle changes are gone with their cycle.
        skipped_cycles=frozenset(c for c in standing_order.skipped_cycles if c >= cycle),
    )


def open_cycles(standing_order: StandingOrder, now: datetime) -> Opening:
    """Every cycle whose time to be prepared has come gets an order, at most OPEN_MAX_CYCLES at once.

    Of several that have fallen due already, the latest is billed and the others are recorded as
    missed. Cycles ahead of their due time are all prepared: a short interval and a long lead overlap.
    """
    orders: list[Order] = []
    for cycle, date in _coming(standing_order):
        if standing_order.prepare_at(date.due_at) > now or len(orders) == OPEN_MAX_CYCLES:
            return Opening(at_cycle(standing_order, cycle), tuple(orders))
        order = new_order(standing_order, cycle, date, now)
        reason = skip_reason(standing_order, cycle, date)
        if reason is None and _later_is_due(standing_order, cycle, now):
            reason = OrderReason.MISSED
        orders.append(skipped(order, reason, now) if reason else order)
    after = (standing_order.next_cycle or 0) + len(orders)
    return Opening(at_cycle(standing_order, after), tuple(orders))


def resumed(standing_order: StandingOrder, now: datetime) -> Opening:
    """A standing order after its pause: it goes on with the first cycle that can be told in time."""
    orders: list[Order] = []
    active = replace(standing_order, state=State.ACTIVE)
    for cycle, date in _coming(standing_order):
        if date.due_at - standing_order.notice_lead >= now:
            return Opening(at_cycle(active, cycle), tuple(orders))
        orders.append(skipped(new_order(standing_order, cycle, date, now), OrderReason.PAUSED, now))
    after = (standing_order.next_cycle or 0) + len(orders)
    return Opening(at_cycle(active, after), tuple(orders))


def skip_reason(standing_order: StandingOrder, cycle: int, date: CycleDate) -> OrderReason | None:
    """Why a cycle brings no order, as far as its date and the customer's wishes say."""
    if date.local_date is None:
        return OrderReason.DATE_EXCLUDED
    if cycle in standing_order.skipped_cycles:
        return OrderReason.SKIPPED_BY_CUSTOMER
    return None


def new_order(standing_order: StandingOrder, cycle: int, date: CycleDate, now: datetime) -> Order:
    """The order of a cycle before anything is decided about it."""
    hold_until = max(date.due_at, now) + HOLD_WINDOW
    following = standing_order.date(cycle + 1)
    if following is not None and following.due_at > now:
        # A cycle never waits past the next one.
        hold_until = min(hold_until, following.due_at)
    return Order(
        key=OrderKey(standing_order.merchant, standing_order.standing_order, cycle),
        customer=standing_order.customer,
        local_date=date.local_date or date.nominal_date,
        due_time=date.due_at,
        hold_until_time=hold_until,
        state=OrderState.UPCOMING,
        items=standing_order.items,
    )


def _coming(standing_order: StandingOrder) -> Iterator[tuple[int, CycleDate]]:
    cycle = standing_order.next_cycle
    while cycle is not None:
        date = standing_order.date(cycle)
        if date is None:
            return
        yield cycle, date
        cycle += 1


def _later_is_due(standing_order: StandingOrder, cycle: int, now: datetime) -> bool:
    following = standing_order.date(cycle + 1)
    return following is not None and following.due_at <= now
