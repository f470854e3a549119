"""Schedules to try the calendar on, and the plain definition of which days are theirs."""

from calendar import monthrange
from dataclasses import replace
from datetime import date, time, timedelta
from typing import TypeVar

from hypothesis import strategies as st

from services.scheduler.domain import calendar
from services.scheduler.domain.calendar import CycleDate
from services.scheduler.domain.schedule import (
    LAST_DATE,
    MAX_EVERY_DAYS,
    MAX_EVERY_MONTHS,
    MAX_EVERY_WEEKS,
    MAX_EVERY_YEARS,
    BlackoutRule,
    BusinessDayRule,
    BusinessDays,
    Daily,
    DateRange,
    EndAfter,
    EndOn,
    Monthly,
    NthWeekday,
    Recurrence,
    Schedule,
    Weekday,
    Weekly,
    Yearly,
)

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # gave up clock changes
    "Africa/Casablanca",  # changes its clocks around Ramadan
    "Asia/Kathmandu",  # +05:45
    "Asia/Kolkata",
    "Asia/Tokyo",
    "Australia/Lord_Howe",  # changes by half an hour
    "Pacific/Apia",
    "Pacific/Chatham",  # +12:45 and +13:45
    "Pacific/Kiritimati",
    "UTC",
)

# Small steps often, because that is where the collisions are; the largest now and then.
_weekdays = st.sampled_from(Weekday)
_month_days = st.integers(1, 31) | st.integers(-28, -1)
_start_dates = st.dates(date(2012, 1, 1), date(2099, 12, 31)) | st.dates(
    date(2024, 1, 1), date(2024, 3, 31)
)


def _every(most: int) -> st.SearchStrategy[int]:
    return st.integers(1, 4) | st.integers(1, most)


_T = TypeVar("_T")


def _tuples(items: st.SearchStrategy[_T], most: int) -> st.SearchStrategy[tuple[_T, ...]]:
    return st.lists(items, max_size=most).map(tuple)


recurrences: st.SearchStrategy[Recurrence] = st.one_of(
    st.builds(Daily, _every(MAX_EVERY_DAYS)),
    st.builds(Weekly, _every(MAX_EVERY_WEEKS), _tuples(_weekdays, 7)),
    st.builds(Monthly, _every(MAX_EVERY_MONTHS), _tuples(_month_days, 6)),
    st.builds(
        Monthly,
        _every(MAX_EVERY_MONTHS),
        st.just(()),
        _tuples(
            st.builds(
                NthWeekday,
                st.sampled_from((-5, -4, -3, -2, -1, 1, 2, 3, 4, 5)),
                _weekdays,
            ),
            4,
        ),
    ),
    st.dates(date(2024, 1, 1), date(2024, 12, 31)).flatmap(
        lambda day: st.builds(Yearly, _every(MAX_EVERY_YEARS), st.just(day.month), st.just(day.day))
    ),
    st.builds(Yearly, _every(MAX_EVERY_YEARS)),
)

endless = st.builds(
    Schedule,
    start_date=_start_dates,
    local_time=st.times().map(lambda moment: time(moment.hour, moment.minute)),
    time_zone=st.sampled_from(ZONES),
    recurrence=recurrences,
)


@st.composite
def plain(draw: st.DrawFn) -> Schedule:
    """Any recurrence and any end, without blackouts and business days."""
    schedule = draw(endless)
    end = draw(
        st.none()
        | st.builds(EndAfter, st.integers(1, 60))
        | st.builds(EndOn, st.dates(schedule.start_date, LAST_DATE))
    )
    return replace(schedule, end=end)


@st.composite
def adjusted(draw: st.DrawFn) -> Schedule:
    """Any schedule, with blackouts near its start and a business-day rule."""
    schedule = draw(plain())
    starts = st.integers(0, 120).map(lambda days: schedule.start_date + timedelta(days))
    blackouts = st.builds(
        lambda start, days: DateRange(start, start + timedelta(days)), starts, st.integers(0, 40)
    )
    calendars = st.sampled_from((("", ""), ("DE", "BY"), ("US", ""), ("AE", ""), ("IN", "TN")))
    return replace(
        schedule,
        blackouts=draw(_tuples(blackouts, 4)),
        blackout_rule=draw(st.sampled_from(BlackoutRule)),
        business_days=BusinessDays(draw(st.sampled_from(BusinessDayRule)), *draw(calendars)),
    )


def is_a_date_of(schedule: Schedule, day: date) -> bool:
    """The definition of a recurrence, a day at a time: slow, plain, and sharing no code with it."""
    start = schedule.start_date
    months_since = (day.year - start.year) * 12 + day.month - start.month
    length = monthrange(day.year, day.month)[1]
    if day < start:
        return False
    match schedule.recurrence:
        case Daily(every):
            return (day - start).days % every == 0
        case Weekly(every, weekdays):
            mondays_apart = (day.toordinal() - day.weekday()) - (
                start.toordinal() - start.weekday()
            )
            on_weekday = day.isoweekday() in (weekdays or (start.isoweekday(),))
            return on_weekday and mondays_apart // 7 % every == 0
        case Monthly(every, (), places) if places:
            from_start, from_end = (day.day - 1) // 7 + 1, -((length - day.day) // 7 + 1)
            on_place = any(
                nth_weekday.weekday == day.isoweekday()
                and nth_weekday.nth in {from_start, from_end}
                for nth_weekday in places
            )
            return on_place and months_since % every == 0
        case Monthly(every, month_days):
            days = {
                min(month_day, length) if month_day > 0 else length + 1 + month_day
                for month_day in month_days or (start.day,)
            }
            return day.day in days and months_since % every == 0
        case Yearly(every, month, month_day):
            last = min(month_day or start.day, length)
            on_day = (day.month, day.day) == (month or start.month, last)
            return on_day and (day.year - start.year) % every == 0


def cycles(schedule: Schedule, from_index: int, limit: int) -> tuple[CycleDate, ...]:
    """The cycles from an index on, at most so many; fewer where the schedule ends."""
    end = min(from_index + limit, calendar.cycle_count(schedule))
    cycle_dates = (calendar.cycle(schedule, index) for index in range(from_index, end))
    return tuple(cycle for cycle in cycle_dates if cycle is not None)
