"""A standing order under another schedule, from its next cycle without an order on. Pure functions.

A date of the new schedule is to come if it is due after now and its nominal date is after that of the
last cycle that has an order: what was billed early, late or moved has used up its nominal date. The
next cycle takes the first such date. A cycle that the old schedule had postponed beyond now, and for
which the new one has no date, keeps the date that it had. A count is that of all cycles together.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from services.scheduler.domain import calendar
from services.scheduler.domain.calendar import CycleDate
from services.scheduler.domain.schedule import EndAfter, EndOn, Schedule
from services.scheduler.domain.standing_order import CycleChange, KeptDate, StandingOrder, at_cycle

_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class LastOrder:
    """The last cycle that has an order, and the date that it has now."""

    cycle: int
    local_date: date


def rescheduled(
    standing_order: StandingOrder, schedule: Schedule, last: LastOrder | None, now: datetime
) -> StandingOrder:
    """The standing order under a schedule, as its customer gave it, without a gap or an overlap.

    Every cycle that fell due has its order already. The same schedule given again changes nothing.
    Otherwise single cycles that were moved follow the new one; what else was changed of them stays.
    """
    if calendar.same_dates(schedule, standing_order.plan):
        return standing_order
    cycle = standing_order.next_cycle or (last.cycle + 1 if last else 1)
    uncounted = replace(schedule, end=None) if isinstance(schedule.end, EndAfter) else schedule
    index = _first_index(uncounted, standing_order.last_nominal_date, last, now)
    kept = _kept_date(standing_order, uncounted, index, now)
    changes = {
        number: replace(change, local_date=None, kept_date=None)
        for number, change in standing_order.changes.items()
    }
    if index is None:
        index = calendar.cycle_count(uncounted)
    base = cycle - index
    if kept is not None:
        base += 1
        changes[cycle] = replace(changes.get(cycle, CycleChange()), kept_date=kept)
    end = schedule.end
    if isinstance(end, EndAfter):
        last_number = standing_order.plan_first_cycle + end.cycle_count - 1
        end = EndAfter(last_number - base + 1)
        if last_number < cycle:
            changes = {}
    under_it = replace(
        standing_order,
        schedule=replace(schedule, end=end),
        base_cycle=base,
        changes={number: change for number, change in changes.items() if change != CycleChange()},
    )
    return at_cycle(under_it, cycle)


def _first_index(
    schedule: Schedule, used_up: date | None, last: LastOrder | None, now: datetime
) -> int | None:
    """The first cycle whose nominal date is not used up and which is due after now."""
    today = calendar.utc_to_local_date(now, schedule.time_zone)
    unused = used_up + _ONE_DAY if used_up else schedule.start_date
    index = calendar.first_index_on_or_after(schedule, unused)
    if index is None:
        return None
    # A cycle takes place before the nominal date of the one after it.
    from_today = calendar.first_index_on_or_after(schedule, today)
    count = calendar.cycle_count(schedule)
    index = max(index, (count if from_today is None else from_today) - 1)
    while (cycle_date := calendar.cycle(schedule, index)) is not None:
        if cycle_date.due_at > now and (last is None or cycle_date.day > last.local_date):
            return index
        index += 1
    return None


def _kept_date(
    standing_order: StandingOrder, schedule: Schedule, index: int | None, now: datetime
) -> KeptDate | None:
    """The date that the next cycle keeps; None where it takes the new schedule's first one."""
    cycle = standing_order.next_cycle
    pending = standing_order.date(cycle) if cycle is not None else None
    if pending is None or pending.local_date is None:
        return None
    first = None if index is None else calendar.cycle(schedule, index)
    if _is_postponed(pending, standing_order.schedule, now):
        # A first date that is postponed itself is that of the same turn.
        lost = first is None or not _is_postponed(first, schedule, now)
    else:
        lost = _moves_into_the_past(schedule, standing_order.last_nominal_date, index, now)
    day = pending.local_date
    while calendar.local_to_utc(day, schedule.local_time, schedule.time_zone) <= now:
        day += _ONE_DAY
    # What was brought forward has used up its nominal date: a first date before that is its own.
    in_time = first is None or (day < first.day and pending.nominal_date < first.nominal_date)
    before_end = not isinstance(schedule.end, EndOn) or day <= schedule.end.end_date
    return KeptDate(pending.nominal_date, day) if lost and in_time and before_end else None


def _is_postponed(cycle_date: CycleDate, schedule: Schedule, now: datetime) -> bool:
    """Whether a cycle is still to come although its nominal date is over."""
    zone = schedule.time_zone
    return (
        calendar.local_to_utc(cycle_date.nominal_date, schedule.local_time, zone)
        <= now
        < cycle_date.due_at
    )


def _moves_into_the_past(
    schedule: Schedule, used_up: date | None, index: int | None, now: datetime
) -> bool:
    """Whether the cycle before the first one is over only since a business-day rule moves it back."""
    before = (calendar.cycle_count(schedule) if index is None else index) - 1
    cycle_date = calendar.cycle(schedule, before) if before >= 0 else None
    if cycle_date is None or (used_up is not None and cycle_date.nominal_date <= used_up):
        return False
    nominal = calendar.local_to_utc(
        cycle_date.nominal_date, schedule.local_time, schedule.time_zone
    )
    return cycle_date.due_at <= now < nominal
