"""Standing orders: the template, and which of its cycles are to be opened. Pure functions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from services.scheduler.domain import calendar
from services.scheduler.domain.calendar import CycleDate
from services.scheduler.domain.conditions import Condition
from services.scheduler.domain.order import (
    HOLD_WINDOW,
    Item,
    Order,
    OrderKey,
    OrderReason,
    OrderState,
    skipped,
)
from services.scheduler.domain.purchases import RepurchaseRule
from services.scheduler.domain.schedule import EndAfter, Schedule
from services.scheduler.domain.terms import BillingMode, Terms

NOTICE_LEAD_DEFAULT = timedelta(hours=72)
PAYMENT_WINDOW_DEFAULT = timedelta(hours=72)
CATCH_UP_WINDOW_DEFAULT = timedelta(days=30)
# Preparation begins this much before the lead, so that the notice is delivered in time for it.
NOTICE_HEADROOM = timedelta(minutes=15)
NO_LEAD = timedelta()
CHANGE_AHEAD_MAX_CYCLES = 100
# A standing order that has slept for long is caught up in several bites.
OPEN_MAX_CYCLES = 100


class State(StrEnum):
    """Whether a standing order bills."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    CANCELLED = "CANCELLED"
    COMPLETED = "COMPLETED"


class CatchUpMode(StrEnum):
    """Which of the cycles that passed unbilled are billed late."""

    LATEST_ONLY = "LATEST_ONLY"
    ALL_IN_ORDER = "ALL_IN_ORDER"
    NONE = "NONE"


@dataclass(frozen=True, slots=True)
class CatchUp:
    """What becomes of cycles that passed unbilled."""

    mode: CatchUpMode = CatchUpMode.LATEST_ONLY
    # ALL_IN_ORDER: cycles due longer ago than this are missed all the same.
    window: timedelta = CATCH_UP_WINDOW_DEFAULT


@dataclass(frozen=True, slots=True)
class KeptDate:
    """The date of a cycle by the schedule before, which it keeps under another one."""

    nominal_date: date
    local_date: date


@dataclass(frozen=True, slots=True)
class CycleChange:
    """What is different in one cycle; what is None or empty is as in the template."""

    skip: bool = False
    local_date: date | None = None
    items: tuple[Item, ...] | None = None
    # Encrypted, like that of the template.
    ship_to: bytes = b""
    # When the customer asked for the cycle to take place at once.
    order_now_time: datetime | None = None
    # It was postponed when the schedule changed, and the new schedule has no date for it.
    kept_date: KeptDate | None = None


_UNCHANGED = CycleChange()


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
    # Encrypted: only who shows it opens it. Empty: none.
    ship_to: bytes
    # As plain data, for showing; the catalog applies it.
    price_protection: Mapping[str, Any] | None
    notice_lead: timedelta
    payment_window: timedelta
    create_time: datetime
    update_time: datetime
    catch_up: CatchUp = CatchUp()
    conditions: tuple[Condition, ...] = ()
    # None: what the customer buys elsewhere does not count.
    repurchase: RepurchaseRule | None = None
    # Whether, by the merchant's settings, a cycle waits until the order before is paid or over.
    waits_for_payment: bool = False
    state: State = State.ACTIVE
    # The number of the schedule's first cycle. It is below 1 where a schedule began in the past. An end
    # of the schedule by count counts from it.
    base_cycle: int = 1
    # The number of the first cycle of all: the count that the customer gave counts from it.
    plan_first_cycle: int = 1
    # What the recurrence gave for the last cycle that has an order: that date is used up, whenever the
    # cycle took place.
    last_nominal_date: date | None = None
    # The next cycle without an order; None when there is none.
    next_cycle: int | None = 1
    next_due_time: datetime | None = None
    # When that cycle is to be prepared.
    prepare_time: datetime | None = None
    # The last cycle that the customer wants; None: as many as the schedule has.
    last_cycle: int | None = None
    # PAUSED: when it goes on by itself.
    resume_time: datetime | None = None
    # What is different in single coming cycles, by number.
    changes: Mapping[int, CycleChange] = field(default_factory=dict)
    paid_order_count: int = 0
    # The total of the cycle before, in minor units.
    last_amount_minor: int | None = None
    last_currency: str = ""
    version: int = 1

    @property
    def terms(self) -> Terms:
        """What an order that is announced now is announced with."""
        return Terms(
            self.title,
            self.billing_mode,
            self.mandate,
            self.payment_window,
            self.schedule.time_zone,
        )

    def change(self, cycle: int) -> CycleChange:
        """What is different in a cycle."""
        return self.changes.get(cycle, _UNCHANGED)

    def date(self, cycle: int) -> CycleDate | None:
        """The date of a cycle; None when there is no such cycle."""
        if self.last_cycle is not None and cycle > self.last_cycle:
            return None
        index = cycle - self.base_cycle
        change = self.changes.get(cycle)
        found: CycleDate | None = None
        if change is not None and change.kept_date is not None:
            found = _kept_date(self.schedule, index, change.kept_date)
        elif index >= 0:
            found = calendar.cycle(self.schedule, index)
        if found is None or change is None:
            return found
        return _changed_date(self.schedule, found, change)

    @property
    def plan(self) -> Schedule:
        """The schedule as the customer knows it: a count is that of all cycles, from the first on."""
        if not isinstance(self.schedule.end, EndAfter):
            return self.schedule
        before = self.base_cycle - self.plan_first_cycle
        end = EndAfter(self.schedule.end.cycle_count + before)
        return replace(self.schedule, end=end)

    def lead(self, cycle: int) -> timedelta:
        """How long before its due time the customer hears of a cycle."""
        return NO_LEAD if self.change(cycle).order_now_time else self.notice_lead

    def prepare_at(self, cycle: int, due_time: datetime) -> datetime:
        """When a cycle that is due then is to be prepared."""
        return due_time - self.lead(cycle) - NOTICE_HEADROOM

    @property
    def last_due_time(self) -> datetime | None:
        """When its last cycle is due; None when there is none to come."""
        last = self.base_cycle + calendar.cycle_count(self.schedule) - 1
        if self.last_cycle is not None:
            last = min(last, self.last_cycle)
        if self.next_cycle is None or last < self.next_cycle:
            return None
        found = self.date(last)
        return found.due_at if found else None

    @property
    def skipped_cycles(self) -> tuple[int, ...]:
        """The coming cycles that the customer leaves out."""
        return tuple(sorted(cycle for cycle, change in self.changes.items() if change.skip))


@dataclass(frozen=True, slots=True)
class Place:
    """How far a standing order has come: what is new of it after each cycle."""

    next_cycle: int | None
    next_due_time: datetime | None
    prepare_time: datetime | None
    changes: Mapping[int, CycleChange]
    last_nominal_date: date | None


@dataclass(frozen=True, slots=True)
class Opening:
    """Cycles that are to get their row now, and where the standing order goes on after them."""

    before: StandingOrder
    # SKIPPED ones are done; the others are yet to be prepared.
    orders: tuple[Order, ...]
    place: Place

    @property
    def standing_order(self) -> StandingOrder:
        """The standing order as it goes on."""
        return _placed(self.before, self.place)


def _kept_date(schedule: Schedule, index: int, kept: KeptDate) -> CycleDate:
    due_at = calendar.local_to_utc(kept.local_date, schedule.local_time, schedule.time_zone)
    return CycleDate(index, kept.nominal_date, kept.local_date, due_at)


def _changed_date(schedule: Schedule, found: CycleDate, change: CycleChange) -> CycleDate:
    zone = schedule.time_zone
    if change.order_now_time is not None:
        day, due_at = calendar.utc_to_local_date(change.order_now_time, zone), change.order_now_time
    elif change.local_date is not None:
        day = change.local_date
        due_at = calendar.local_to_utc(day, schedule.local_time, zone)
    else:
        return found
    return replace(found, local_date=day, due_at=due_at, skip_reason=None, move_reason=None)


def at_cycle(standing_order: StandingOrder, cycle: int) -> StandingOrder:
    """The standing order with this cycle as its next; with none if there is no such cycle."""
    return _placed(standing_order, place_at(standing_order, cycle, standing_order.date(cycle)))


def place_at(
    standing_order: StandingOrder,
    cycle: int,
    date_: CycleDate | None,
    opened: CycleDate | None = None,
) -> Place:
    """Where a standing order goes on with a cycle; None for its date: nowhere.

    `opened` is the date of the cycle that has got its order last, None if none has now.
    """
    used_up = opened.nominal_date if opened else standing_order.last_nominal_date
    if date_ is None:
        return Place(None, None, None, {}, used_up)
    # One-cycle changes are gone with their cycle.
    changes = {c: change for c, change in standing_order.changes.items() if c >= cycle}
    begins = standing_order.prepare_at(cycle, date_.due_at)
    return Place(cycle, date_.due_at, begins, changes, used_up)


def place_of(standing_order: StandingOrder) -> Place:
    """How far a standing order has come."""
    return Place(
        standing_order.next_cycle,
        standing_order.next_due_time,
        standing_order.prepare_time,
        standing_order.changes,
        standing_order.last_nominal_date,
    )


def _placed(standing_order: StandingOrder, place: Place) -> StandingOrder:
    return replace(
        standing_order,
        next_cycle=place.next_cycle,
        next_due_time=place.next_due_time,
        prepare_time=place.prepare_time,
        changes=place.changes,
        last_nominal_date=place.last_nominal_date,
    )


def open_cycles(
    standing_order: StandingOrder, now: datetime, new_trace: Callable[[], str] = str
) -> Opening:
    """Every cycle whose time to be prepared has come gets an order, at most OPEN_MAX_CYCLES at once.

    Of those that have fallen due unbilled, the catch-up policy says which are billed late; the others
    are recorded as missed. Cycles ahead of their due time are all prepared: a short interval and a
    long lead overlap. Each order begins a trace of its own.
    """
    orders: list[Order] = []
    opened = None
    cycle, date_ = coming(standing_order)
    while date_ is not None and len(orders) < OPEN_MAX_CYCLES:
        if standing_order.prepare_at(cycle, date_.due_at) > now:
            break
        following = standing_order.date(cycle + 1)
        order = _new_order(standing_order, cycle, date_, following, now, new_trace())
        reason = skip_reason(standing_order, cycle, date_)
        if reason is None and _is_missed(standing_order, cycle, date_, following, now):
            reason = OrderReason.MISSED
        orders.append(skipped(order, reason, now) if reason else order)
        opened, cycle, date_ = date_, cycle + 1, following
    return Opening(standing_order, tuple(orders), place_at(standing_order, cycle, date_, opened))


def with_change(standing_order: StandingOrder, cycle: int, change: CycleChange) -> StandingOrder:
    """The standing order with something different in one coming cycle."""
    changes = {**standing_order.changes, cycle: change}
    if change == _UNCHANGED:
        del changes[cycle]
    return at_cycle(replace(standing_order, changes=changes), standing_order.next_cycle or cycle)


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
        if until is None or not outlasts_pause(standing_order, cycle, date_, max(until, now)):
            return OrderReason.PAUSED
    reason = skip_reason(standing_order, cycle, date_)
    following = standing_order.date(cycle + 1)
    if reason is None and _is_missed(standing_order, cycle, date_, following, now):
        return OrderReason.MISSED
    return reason


def new_order(standing_order: StandingOrder, cycle: int, date_: CycleDate, now: datetime) -> Order:
    """The order of a cycle before anything is decided about it."""
    return _new_order(standing_order, cycle, date_, standing_order.date(cycle + 1), now)


def _new_order(
    standing_order: StandingOrder,
    cycle: int,
    date_: CycleDate,
    following: CycleDate | None,
    now: datetime,
    traceparent: str = "",
) -> Order:
    hold_until = max(date_.due_at, now) + HOLD_WINDOW
    if following is not None and following.due_at > now:
        # A cycle never waits past the next one.
        hold_until = min(hold_until, following.due_at)
    change = standing_order.change(cycle)
    return Order(
        key=OrderKey(standing_order.merchant, standing_order.standing_order, cycle),
        customer=standing_order.customer,
        local_date=date_.local_date or date_.nominal_date,
        due_time=date_.due_at,
        notice_lead=standing_order.lead(cycle),
        hold_until_time=hold_until,
        state=OrderState.UPCOMING,
        terms=standing_order.terms,
        items=standing_order.items if change.items is None else change.items,
        ship_to=change.ship_to or standing_order.ship_to,
        traceparent=traceparent,
    )


def following_due_time(standing_order: StandingOrder, cycle: int) -> datetime | None:
    """When the cycle after one is due, or would be if the standing order went on for ever."""
    endless = replace(standing_order.schedule, end=None)
    following = standing_order.date(cycle + 1) or calendar.cycle(
        endless, cycle + 1 - standing_order.base_cycle
    )
    return following.due_at if following else None


def coming(standing_order: StandingOrder) -> tuple[int, CycleDate | None]:
    """The next cycle without an order, and its date if there is such a cycle."""
    if standing_order.next_cycle is None:
        return 0, None
    return standing_order.next_cycle, standing_order.date(standing_order.next_cycle)


def outlasts_pause(
    standing_order: StandingOrder, cycle: int, date_: CycleDate, until: datetime
) -> bool:
    """Whether a cycle can still be told in time when a pause ends."""
    return date_.due_at - standing_order.lead(cycle) >= until


def _is_missed(
    standing_order: StandingOrder,
    cycle: int,
    date_: CycleDate,
    following: CycleDate | None,
    now: datetime,
) -> bool:
    """Whether a cycle that nothing else leaves out passed unbilled and stays so."""
    if date_.due_at > now or standing_order.change(cycle).order_now_time is not None:
        return False
    match standing_order.catch_up.mode:
        case CatchUpMode.ALL_IN_ORDER:
            return date_.due_at < now - standing_order.catch_up.window
        case CatchUpMode.NONE:
            return True
        case CatchUpMode.LATEST_ONLY:
            return following is not None and following.due_at <= now
