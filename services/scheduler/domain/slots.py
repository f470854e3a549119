"""Which days will do for a cycle of a service, whose stock is slots by day. Pure functions."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from services.scheduler.domain import calendar
from services.scheduler.domain.order import HOLD_WINDOW, Decision, Order
from services.scheduler.domain.schedule import EndOn
from services.scheduler.domain.standing_order import StandingOrder, following_due_time

# After the due time: far longer than any payment takes.
BOOKING = timedelta(days=45)


class SlotDate(NamedTuple):
    """A day on which a cycle may take place, and when it is due then."""

    day: date
    due_time: datetime


def booking_expire_time(due_time: datetime, now: datetime) -> datetime:
    """When the slots of a stored order become free again if nobody settles it."""
    return max(due_time, now) + BOOKING


def slot_dates(
    order: Order, standing_order: StandingOrder, known: Mapping[int, date], now: datetime
) -> list[SlotDate]:
    """The days that will do for an order, the best one first: its own, then the nearest.

    Of two that are as near, the later one comes first: nobody is charged sooner without need. `known`
    has the dates of the cycles before and after it, where these have orders. What is over will not do;
    another than its own leaves the customer the whole notice lead. Empty: none will do any more.
    """
    schedule = standing_order.schedule
    today = calendar.utc_to_local_date(now, schedule.time_zone)
    planned = order.moved_from_date or order.local_date
    own = SlotDate(planned, order.due_time)
    if planned != order.local_date:
        own = _on(planned, standing_order)
    dates = [own] if planned >= today else []
    first, last = _bounds(order, standing_order, known)
    for distance in range(
        1, max(standing_order.slot_days_before, standing_order.slot_days_after) + 1
    ):
        for days, most in (
            (distance, standing_order.slot_days_after),
            (-distance, standing_order.slot_days_before),
        ):
            day = planned + timedelta(days=days)
            if distance > most or not first < day < last or not calendar.is_allowed(schedule, day):
                continue
            other = _on(day, standing_order)
            if other.due_time - order.notice_lead >= now:
                dates.append(other)
    return dates


def _on(day: date, standing_order: StandingOrder) -> SlotDate:
    schedule = standing_order.schedule
    return SlotDate(day, calendar.local_to_utc(day, schedule.local_time, schedule.time_zone))


def _bounds(
    order: Order, standing_order: StandingOrder, known: Mapping[int, date]
) -> tuple[date, date]:
    """The days between which an order has to stay, so that it never meets or passes another cycle."""
    cycle, schedule = order.key.cycle, standing_order.schedule
    first = known.get(cycle - 1, date.min)
    if cycle - 1 not in known and (before := standing_order.date(cycle - 1)) is not None:
        # It is being prepared at the same time, and may be moved itself.
        moved_days = timedelta(days=standing_order.slot_days_after)
        first = before.day + moved_days
    last = known.get(cycle + 1, date.max)
    following = following_due_time(standing_order, cycle)
    if cycle + 1 not in known and following is not None:
        last = calendar.utc_to_local_date(following, schedule.time_zone)
    if isinstance(schedule.end, EndOn):
        last = min(last, schedule.end.end_date + timedelta(days=1))
    return first, last


def on_date(
    order: Order,
    slot: SlotDate,
    services: Sequence[str],
    standing_order: StandingOrder,
    now: datetime,
) -> Order:
    """An order whose services have slots on a day; it is moved there if that is another day."""
    booked = order._replace(services=tuple(services))
    if slot.day == order.local_date:
        return booked
    planned = order.moved_from_date or order.local_date
    following = following_due_time(standing_order, order.key.cycle)
    hold_until = slot.due_time + HOLD_WINDOW
    data = {
        "planned_date": planned.isoformat(),
        "local_date": slot.day.isoformat(),
        "due_time": slot.due_time.isoformat(),
        "services": [*services],
    }
    summary = f"No slot was free on {planned}: it was moved to {slot.day}."
    if slot.day == planned:
        summary = f"A slot is free on {planned} again."
    return booked._replace(
        local_date=slot.day,
        due_time=slot.due_time,
        moved_from_date=None if slot.day == planned else planned,
        hold_until_time=min(hold_until, following) if following else hold_until,
        decisions=(*order.decisions, Decision(now, "MOVED", summary, data)),
    )
