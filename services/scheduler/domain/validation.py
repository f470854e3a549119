"""What is wrong with a schedule, by field, before anything is stored."""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, time, timedelta
from enum import StrEnum
from itertools import chain

from services.runtime.time_zones import is_time_zone
from services.scheduler.domain.business_days import is_known_calendar
from services.scheduler.domain.calendar import (
    cycle,
    cycle_count,
    first_index_on_or_after,
)
from services.scheduler.domain.schedule import (
    FIRST_DATE,
    LAST_DATE,
    MAX_BLACKOUTS,
    MAX_CYCLE_COUNT,
    MAX_EVERY_DAYS,
    MAX_EVERY_MONTHS,
    MAX_EVERY_WEEKS,
    MAX_EVERY_YEARS,
    MAX_MONTH_DAY,
    MAX_MONTH_DAYS,
    MAX_NTH,
    MAX_NTH_WEEKDAYS,
    MAX_WEEKDAYS,
    MIN_MONTH_DAY,
    Daily,
    DateRange,
    EndAfter,
    EndOn,
    Monthly,
    NthWeekday,
    Schedule,
    Weekday,
    Weekly,
    Yearly,
)

_A_LEAP_YEAR = 2000
_MAX_MONTH = 12


class Reason(StrEnum):
    """Why a field was refused."""

    OUT_OF_RANGE = "OUT_OF_RANGE"
    TOO_MANY = "TOO_MANY"
    NOT_A_WHOLE_MINUTE = "NOT_A_WHOLE_MINUTE"
    TIME_ZONE_UNKNOWN = "TIME_ZONE_UNKNOWN"
    START_DATE_PAST = "START_DATE_PAST"
    END_BEFORE_START = "END_BEFORE_START"
    NO_SUCH_DATE = "NO_SUCH_DATE"
    AMBIGUOUS = "AMBIGUOUS"
    HOLIDAY_CALENDAR_UNKNOWN = "HOLIDAY_CALENDAR_UNKNOWN"
    NEVER_FIRES = "NEVER_FIRES"
    RRULE_MALFORMED = "RRULE_MALFORMED"
    RRULE_UNSUPPORTED = "RRULE_UNSUPPORTED"
    MORE_OFTEN_THAN_DAILY = "MORE_OFTEN_THAN_DAILY"


@dataclass(frozen=True, slots=True)
class Violation:
    """One fault: its field's path as on the wire, a reason for programs, a sentence for people."""

    field: str
    reason: Reason
    message: str


def violations(schedule: Schedule, today: date | None) -> tuple[Violation, ...]:
    """Everything that is wrong with a schedule; empty if it is sound.

    `today` is the date in the schedule's own zone, which the start date must not be before. None
    leaves that out, for a schedule that began elsewhere. Whether the schedule ever fires is judged
    only if nothing else is wrong with it.
    """
    in_fields = tuple(
        chain(
            _start(schedule, today),
            _time(schedule),
            _recurrence(schedule),
            _end(schedule),
            _blackouts(schedule.blackouts),
            _business_days(schedule),
        )
    )
    return in_fields or tuple(_run(schedule))


def _start(schedule: Schedule, today: date | None) -> Iterator[Violation]:
    yield from date_violations("start_date", schedule.start_date)
    if today is not None and schedule.start_date < today:
        message = f"{schedule.start_date} is past; today is {today} in {schedule.time_zone}"
        yield Violation("start_date", Reason.START_DATE_PAST, message)


def _time(schedule: Schedule) -> Iterator[Violation]:
    local_time = schedule.local_time
    if local_time != time(local_time.hour, local_time.minute):
        message = f"{local_time} is not a plain time of day to the minute"
        yield Violation("local_time", Reason.NOT_A_WHOLE_MINUTE, message)
    if not is_time_zone(schedule.time_zone):
        message = f"{schedule.time_zone!r} is not a name in the IANA time zone database"
        yield Violation("time_zone", Reason.TIME_ZONE_UNKNOWN, message)


def _recurrence(schedule: Schedule) -> Iterator[Violation]:
    match schedule.recurrence:
        case Daily(every_days):
            yield from _number("daily.every_days", every_days, 1, MAX_EVERY_DAYS)
        case Weekly(every_weeks, weekdays):
            yield from _number("weekly.every_weeks", every_weeks, 1, MAX_EVERY_WEEKS)
            yield from _at_most("weekly.weekdays", len(weekdays), MAX_WEEKDAYS)
            for index, weekday in enumerate(weekdays):
                yield from _weekday(f"weekly.weekdays[{index}]", weekday)
        case Monthly() as monthly:
            yield from _monthly(monthly)
        case Yearly() as yearly:
            yield from _yearly(yearly, schedule.start_date)


def _monthly(monthly: Monthly) -> Iterator[Violation]:
    yield from _number("monthly.every_months", monthly.every_months, 1, MAX_EVERY_MONTHS)
    if monthly.month_days and monthly.nth_weekdays:
        message = "give month days or n-th weekdays, not both"
        yield Violation("monthly.nth_weekdays", Reason.AMBIGUOUS, message)
    yield from _at_most("monthly.month_days", len(monthly.month_days), MAX_MONTH_DAYS)
    for index, month_day in enumerate(monthly.month_days):
        yield from _month_day(f"monthly.month_days[{index}]", month_day)
    yield from _at_most("monthly.nth_weekdays", len(monthly.nth_weekdays), MAX_NTH_WEEKDAYS)
    for index, nth_weekday in enumerate(monthly.nth_weekdays):
        yield from _nth_weekday(f"monthly.nth_weekdays[{index}]", nth_weekday)


def _yearly(yearly: Yearly, start_date: date) -> Iterator[Violation]:
    yield from _number("yearly.every_years", yearly.every_years, 1, MAX_EVERY_YEARS)
    month = yearly.month or start_date.month
    month_day = yearly.month_day or start_date.day
    if not 1 <= month <= _MAX_MONTH:
        yield from _number("yearly.month", month, 1, _MAX_MONTH)
    elif not 1 <= month_day <= _month_length_days(month):
        message = f"day {month_day} does not exist in month {month} of any year"
        yield Violation("yearly.month_day", Reason.NO_SUCH_DATE, message)


def _end(schedule: Schedule) -> Iterator[Violation]:
    match schedule.end:
        case EndAfter(cycle_count=count):
            yield from _number("cycle_count", count, 1, MAX_CYCLE_COUNT)
        case EndOn(end_date) if end_date < schedule.start_date:
            message = f"{end_date} is before the start date, {schedule.start_date}"
            yield Violation("end_date", Reason.END_BEFORE_START, message)
        case EndOn(end_date):
            yield from date_violations("end_date", end_date)


def _blackouts(blackouts: tuple[DateRange, ...]) -> Iterator[Violation]:
    yield from _at_most("blackouts", len(blackouts), MAX_BLACKOUTS)
    for index, blackout in enumerate(blackouts[:MAX_BLACKOUTS]):
        field = f"blackouts[{index}]"
        yield from date_violations(f"{field}.start_date", blackout.start_date)
        yield from date_violations(f"{field}.end_date", blackout.end_date)
        if blackout.end_date < blackout.start_date:
            message = f"{blackout.end_date} is before the blackout's start, {blackout.start_date}"
            yield Violation(f"{field}.end_date", Reason.END_BEFORE_START, message)


def _business_days(schedule: Schedule) -> Iterator[Violation]:
    country, subdivision = schedule.business_days.country, schedule.business_days.subdivision
    if subdivision and not country:
        message = f"subdivision {subdivision!r} needs its country"
        yield Violation("business_days.country", Reason.HOLIDAY_CALENDAR_UNKNOWN, message)
    elif country and not is_known_calendar(country, ""):
        message = f"there is no holiday calendar of {country!r}; give an ISO 3166-1 code such as DE"
        yield Violation("business_days.country", Reason.HOLIDAY_CALENDAR_UNKNOWN, message)
    elif subdivision and not is_known_calendar(country, subdivision):
        message = f"the holiday calendar of {country} knows no subdivision {subdivision!r}"
        yield Violation("business_days.subdivision", Reason.HOLIDAY_CALENDAR_UNKNOWN, message)


def _run(schedule: Schedule) -> Iterator[Violation]:
    """Faults that only show when the dates are computed."""
    count = cycle_count(schedule)
    if count == 0:
        message = "the recurrence has no date from the start date to the end"
        yield Violation("recurrence", Reason.NEVER_FIRES, message)
    elif isinstance(schedule.end, EndAfter) and count < schedule.end.cycle_count:
        message = f"only {count} cycles are possible until {LAST_DATE}"
        yield Violation("cycle_count", Reason.OUT_OF_RANGE, message)
    elif not _ever_fires(schedule):
        message = "the blackouts leave no cycle"
        yield Violation("blackouts", Reason.NEVER_FIRES, message)


def _ever_fires(schedule: Schedule) -> bool:
    """Whether any cycle is not skipped.

    Only blackouts can take out more than a few cycles on end, and they are skipped over. The last
    cycle of each is checked, because it may be one that moves to the day after.
    """
    count = cycle_count(schedule)
    index = 0
    while (cycle_date := cycle(schedule, index)) is not None:
        if cycle_date.local_date is not None:
            return True
        index += 1
        ends = [
            blackout.end_date
            for blackout in schedule.blackouts
            if cycle_date.nominal_date in blackout
        ]
        if ends:
            beyond = first_index_on_or_after(schedule, max(ends) + timedelta(days=1))
            index = max(index, (count if beyond is None else beyond) - 1)
    return False


def date_violations(field: str, day: date) -> Iterator[Violation]:
    """What is wrong with a date: the calendar goes from FIRST_DATE to LAST_DATE."""
    if not FIRST_DATE <= day <= LAST_DATE:
        message = f"{day} is not from {FIRST_DATE} to {LAST_DATE}"
        yield Violation(field, Reason.OUT_OF_RANGE, message)


def _number(field: str, number: int, least: int, most: int) -> Iterator[Violation]:
    if not least <= number <= most:
        yield Violation(field, Reason.OUT_OF_RANGE, f"{number} is not from {least} to {most}")


def _at_most(field: str, count: int, most: int) -> Iterator[Violation]:
    if count > most:
        yield Violation(field, Reason.TOO_MANY, f"{count} are given, {most} are allowed")


def _month_day(field: str, month_day: int) -> Iterator[Violation]:
    if month_day == 0 or not MIN_MONTH_DAY <= month_day <= MAX_MONTH_DAY:
        message = f"{month_day} is neither 1 to {MAX_MONTH_DAY} nor -1 to {MIN_MONTH_DAY}"
        yield Violation(field, Reason.NO_SUCH_DATE, message)


def _nth_weekday(field: str, nth_weekday: NthWeekday) -> Iterator[Violation]:
    if nth_weekday.nth == 0 or not -MAX_NTH <= nth_weekday.nth <= MAX_NTH:
        message = f"{nth_weekday.nth} is neither 1 to {MAX_NTH} nor -1 to {-MAX_NTH}"
        yield Violation(f"{field}.nth", Reason.NO_SUCH_DATE, message)
    yield from _weekday(f"{field}.weekday", nth_weekday.weekday)


def _weekday(field: str, weekday: int) -> Iterator[Violation]:
    # What comes from the wire may be a number that is no weekday, whatever the type says.
    yield from _number(field, weekday, Weekday.MONDAY, Weekday.SUNDAY)


def _month_length_days(month: int) -> int:
    return monthrange(_A_LEAP_YEAR, month)[1]
