"""Taking a standing order over from another system, in the middle of its life. Pure functions."""

from dataclasses import replace
from datetime import date

from services.scheduler.domain import calendar
from services.scheduler.domain.schedule import Schedule
from services.scheduler.domain.standing_order import StandingOrder, at_cycle


def index_on(schedule: Schedule, day: date) -> int | None:
    """The index of the cycle that takes place on a day; None if the schedule has none then."""
    for index in _around(schedule, day):
        found = calendar.cycle(schedule, index)
        if found is not None and found.local_date == day:
            return index
    return None


def nearest_dates(schedule: Schedule, day: date) -> tuple[date, ...]:
    """The dates of the schedule just before and just after a day that is none of them."""
    found = (calendar.cycle(schedule, index) for index in _around(schedule, day))
    return tuple(each.local_date for each in found if each and each.local_date)


def taken_over(
    standing_order: StandingOrder, next_cycle: int, next_date: date
) -> StandingOrder | None:
    """The standing order with its next cycle numbered and dated as the other system had them.

    None if its schedule has no cycle on that date.
    """
    index = index_on(standing_order.schedule, next_date)
    if index is None:
        return None
    base = next_cycle - index
    before = calendar.cycle(standing_order.schedule, index - 1) if index else None
    placed = replace(
        standing_order,
        base_cycle=base,
        plan_first_cycle=base,
        last_nominal_date=before.nominal_date if before else None,
    )
    return at_cycle(placed, next_cycle)


def _around(schedule: Schedule, day: date) -> range:
    """The cycles that can take place on a day.

    A cycle keeps to its place between its neighbours' nominal dates. So it is the last one whose
    nominal date is before the day, if it was moved on, or the first one whose nominal date is not.
    """
    following = calendar.first_index_on_or_after(schedule, day)
    if following is None:
        following = calendar.cycle_count(schedule)
    return range(max(following - 1, 0), following + 1)
