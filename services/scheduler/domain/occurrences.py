"""Every date that a recurrence could give, numbered from the beginning of the calendar.

A schedule is those occurrences from its start date on: its k-th date is at the position of that date
plus k. Both ways, from position to date and from date to position, cost the same for the year 2100
as for the first date, and no date is ever computed from the one before.

Days are proleptic ordinals (`date.toordinal`), because integers are what the arithmetic is about.
"""

from array import array
from bisect import bisect_left, bisect_right
from datetime import date
from functools import lru_cache
from itertools import accumulate
from typing import Protocol

from services.scheduler.domain.schedule import (
    FIRST_DATE,
    LAST_DATE,
    Daily,
    Monthly,
    NthWeekday,
    Recurrence,
    Weekly,
    Yearly,
)

_DAYS_IN_WEEK = 7
_MONTHS_IN_YEAR = 12
_MAX_MONTH_LENGTH_DAYS = 31
_EPOCH_MONDAY = date(1969, 12, 29).toordinal()
"""The Monday of the week of `FIRST_DATE`: weeks are counted from it."""
_MONTH_STARTS = array(
    "I",
    [
        date(year, month, 1).toordinal()
        # One year more than the calendar has, so that the day after the last has a position too.
        for year in range(FIRST_DATE.year, LAST_DATE.year + 2)
        for month in range(1, _MONTHS_IN_YEAR + 1)
    ],
)
_CACHED_MONTHS = 1024
"""At most some 6 kB each. They are shared by all schedules of one shape, whatever their start."""


class Occurrences(Protocol):
    """An unbounded run of dates that can be entered at any position or date."""

    def at(self, position: int) -> int:
        """The day at the position."""
        ...

    def rank(self, day: int) -> int:
        """How many of the dates are before the day; so the position of the first that is not."""
        ...


def occurrences_of(recurrence: Recurrence, start_date: date) -> Occurrences:
    """The dates of the recurrence in the phase that the start date fixes."""
    match recurrence:
        case Daily(every_days):
            return _Days(every_days, start_date.toordinal() % every_days)
        case Weekly(every_weeks, weekdays):
            week = (start_date.toordinal() - _EPOCH_MONDAY) // _DAYS_IN_WEEK
            offsets = {weekday - 1 for weekday in weekdays} or {start_date.weekday()}
            return _Weeks(every_weeks, week % every_weeks, tuple(sorted(offsets)))
        case Monthly(every_months, month_days, nth_weekdays):
            if not month_days and not nth_weekdays:
                month_days = (start_date.day,)
            phase = _month_of(start_date) % every_months
            return _months(every_months, phase, month_days, nth_weekdays)
        case Yearly(every_years, month, month_day):
            every_months = every_years * _MONTHS_IN_YEAR
            anchor = start_date.replace(month=month or start_date.month, day=1)
            phase = _month_of(anchor) % every_months
            return _months(every_months, phase, (month_day or start_date.day,), ())


class _Days:
    """Every n-th day."""

    __slots__ = ("_every", "_phase")

    def __init__(self, every: int, phase: int) -> None:
        self._every = every
        self._phase = phase

    def at(self, position: int) -> int:
        return self._phase + position * self._every

    def rank(self, day: int) -> int:
        return -((self._phase - day) // self._every)


class _Weeks:
    """Days of every n-th week, as offsets from its Monday."""

    __slots__ = ("_every", "_offsets", "_phase")

    def __init__(self, every: int, phase: int, offsets: tuple[int, ...]) -> None:
        self._every = every
        self._phase = phase
        self._offsets = offsets

    def at(self, position: int) -> int:
        turn, place = divmod(position, len(self._offsets))
        week = self._phase + turn * self._every
        return _EPOCH_MONDAY + week * _DAYS_IN_WEEK + self._offsets[place]

    def rank(self, day: int) -> int:
        week, offset = divmod(day - _EPOCH_MONDAY, _DAYS_IN_WEEK)
        turn, weeks_since = divmod(week - self._phase, self._every)
        if weeks_since:
            return (turn + 1) * len(self._offsets)
        return turn * len(self._offsets) + bisect_left(self._offsets, offset)


class _Months:
    """Days of every n-th month.

    Months differ in how many dates they have: 30 and 31 are one date in February, and a fifth
    Monday is rare. So the dates before each month are counted once, and a position is found by
    bisection.
    """

    __slots__ = ("_before", "_days", "_every", "_phase")

    def __init__(
        self,
        every: int,
        phase: int,
        month_days: tuple[int, ...],
        nth_weekdays: tuple[NthWeekday, ...],
    ) -> None:
        self._every = every
        self._phase = phase
        self._days = _days_by_kind(month_days, nth_weekdays)
        months = range(phase, len(_MONTH_STARTS) - 1, every)
        counts = (len(self._days[_kind(month)]) for month in months)
        self._before = array("I", accumulate(counts, initial=0))

    def at(self, position: int) -> int:
        turn = bisect_right(self._before, position) - 1
        month = self._phase + turn * self._every
        return _MONTH_STARTS[month] + self._days[_kind(month)][position - self._before[turn]] - 1

    def rank(self, day: int) -> int:
        month = _month_of(date.fromordinal(day))
        turn, months_since = divmod(month - self._phase, self._every)
        if months_since:
            return self._before[turn + 1]
        month_day = day - _MONTH_STARTS[month] + 1
        return self._before[turn] + bisect_left(self._days[_kind(month)], month_day)


_months = lru_cache(maxsize=_CACHED_MONTHS)(_Months)

_Kind = tuple[int, int]
"""What a month's dates depend on: its length in days, and the weekday (0 is Monday) of its 1st."""


def _month_of(day: date) -> int:
    """The month, counted from the calendar's first."""
    return (day.year - FIRST_DATE.year) * _MONTHS_IN_YEAR + day.month - 1


def _kind(month: int) -> _Kind:
    start = _MONTH_STARTS[month]
    return _MONTH_STARTS[month + 1] - start, (start - _EPOCH_MONDAY) % _DAYS_IN_WEEK


def _days_by_kind(
    month_days: tuple[int, ...], nth_weekdays: tuple[NthWeekday, ...]
) -> dict[_Kind, tuple[int, ...]]:
    """For each kind of month the days that have a date, in order and each once."""
    return {
        (length, first_weekday): tuple(
            sorted(
                {_month_day(day, length) for day in month_days}
                | {
                    day
                    for nth_weekday in nth_weekdays
                    if 1 <= (day := _nth_day(nth_weekday, length, first_weekday)) <= length
                }
            )
        )
        for length in range(28, _MAX_MONTH_LENGTH_DAYS + 1)
        for first_weekday in range(_DAYS_IN_WEEK)
    }


def _month_day(day: int, length: int) -> int:
    return min(day, length) if day > 0 else length + 1 + day


def _nth_day(nth_weekday: NthWeekday, length: int, first_weekday: int) -> int:
    """The day of the month, or one outside it if it has no such weekday."""
    offset = nth_weekday.weekday - 1
    if nth_weekday.nth > 0:
        return 1 + (offset - first_weekday) % _DAYS_IN_WEEK + (nth_weekday.nth - 1) * _DAYS_IN_WEEK
    last_weekday = first_weekday + length - 1
    return length - (last_weekday - offset) % _DAYS_IN_WEEK + (nth_weekday.nth + 1) * _DAYS_IN_WEEK
