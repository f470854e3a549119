"""Standing orders that another system began and this one continues. Pure functions."""

from dataclasses import replace
from datetime import date

from services.scheduler.domain import calendar
from services.scheduler.domain.calendar import CycleDate
from services.scheduler.domain.schedule import Schedule
from services.scheduler.domain.standing_order import StandingOrder


def cycle_on(schedule: Schedule, day: date) -> CycleDate | None:
    """The cycle that takes place on a day; None if the schedule has none then."""
    # Most cycles are not moved: the last one is tried first.
    for index in reversed(_around(schedule, day)):
        cycle = calendar.cycle(schedule, index)
        if cycle is not None and cycle.local_date == day:
            return cycle
    return None


def nearest_dates(schedule: Schedule, day: date) -> tuple[date, ...]:
    """The dates of the schedule just before and just after a day that is none of them."""
    cycles = (calendar.cycle(schedule, index) for index in _around(schedule, day))
    return tuple(cycle.local_date for cycle in cycles if cycle and cycle.local_date)


def continued(
    standing_order: StandingOrder, next_cycle: int, next_date: date
) -> StandingOrder | None:
    """The standing order with its next cycle numbered and dated as the other system had them.

    None if its schedule has no cycle on that date.
    """
    schedule = standing_order.schedule
    cycle_date = cycle_on(schedule, next_date)
    if cycle_date is None:
        return None
    base_cycle = next_cycle - cycle_date.index
    return replace(
        standing_order,
        base_cycle=base_cycle,
        plan_first_cycle=base_cycle,
        last_nominal_date=calendar.nominal_date(schedule, cycle_date.index - 1)
        if cycle_date.index
        else None,
        next_cycle=next_cycle,
        next_due_time=cycle_date.due_at,
        prepare_time=standing_order.prepare_at(next_cycle, cycle_date.due_at),
    )


def _around(schedule: Schedule, day: date) -> range:
    """The cycles that can take place on a day.

    A cycle stays between the nominal dates of those before and after it. So it is the last one whose
    nominal date is before the day, if it was moved on, or the first one whose nominal date is not.
    """
    following = calendar.first_index_on_or_after(schedule, day)
    if following is None:
        following = calendar.cycle_count(schedule)
    return range(max(following - 1, 0), following + 1)
