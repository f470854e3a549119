"""What a schedule is: plain values, named and nested as on the wire.

Any combination of values can be built; `validation.violations` says whether it means anything. The
functions of `calendar` expect a schedule that has no violations.
"""

from dataclasses import dataclass
from datetime import date, time
from enum import IntEnum, StrEnum
from typing import NamedTuple

FIRST_DATE = date(1970, 1, 1)
"""The calendar begins here. Earlier dates are refused."""
LAST_DATE = date(2100, 12, 31)
"""The calendar ends here, and with it every schedule that has no end of its own."""
MAX_EVERY_DAYS = 3650
MAX_EVERY_WEEKS = 520
MAX_EVERY_MONTHS = 120
MAX_EVERY_YEARS = 10
MAX_MONTH_DAY = 31
MIN_MONTH_DAY = -28
"""Every month has a 28th day from its end; a -29th would have nowhere to fall back to."""
MAX_MONTH_DAYS = 31
MAX_WEEKDAYS = 7
MAX_NTH = 5
"""A month holds each weekday four or five times."""
MAX_NTH_WEEKDAYS = 2 * MAX_NTH * 7
"""Every weekday at every place, counted from both ends of a month."""
MAX_CYCLE_COUNT = 100_000
MAX_BLACKOUTS = 100


class Weekday(IntEnum):
    """A day of the week, numbered as in ISO 8601 and in `google.type.DayOfWeek`."""

    MONDAY = 1
    TUESDAY = 2
    WEDNESDAY = 3
    THURSDAY = 4
    FRIDAY = 5
    SATURDAY = 6
    SUNDAY = 7


class NthWeekday(NamedTuple):
    """The n-th such weekday of a month, -1 the last. A month without a fifth has no such date."""

    nth: int
    weekday: Weekday


@dataclass(frozen=True, slots=True)
class Daily:
    """Every so many days."""

    every_days: int = 1


@dataclass(frozen=True, slots=True)
class Weekly:
    """Every so many weeks, on weekdays (none: that of the start date). Weeks begin on Monday."""

    every_weeks: int = 1
    weekdays: tuple[Weekday, ...] = ()


@dataclass(frozen=True, slots=True)
class Monthly:
    """Every so many months, on month days or on n-th weekdays (neither: the start date's day).

    Month days are 1 to 31, or -1 to -28 from the month's end. A day that a month lacks falls back
    to its last (RFC 7529, `SKIP=BACKWARD`); days that meet on one date in a short month are one
    cycle, not two.
    """

    every_months: int = 1
    month_days: tuple[int, ...] = ()
    nth_weekdays: tuple[NthWeekday, ...] = ()


@dataclass(frozen=True, slots=True)
class Yearly:
    """Every so many years, on one day of the year (0: the start date's month or day).

    29 February is the 28th in a year that has none.
    """

    every_years: int = 1
    month: int = 0
    month_day: int = 0


Recurrence = Daily | Weekly | Monthly | Yearly


@dataclass(frozen=True, slots=True)
class EndAfter:
    """Ends after so many cycles. A cycle that is skipped has been one of them."""

    cycle_count: int


@dataclass(frozen=True, slots=True)
class EndOn:
    """Ends on a date, which is the last possible one."""

    end_date: date


End = EndAfter | EndOn


@dataclass(frozen=True, slots=True)
class DateRange:
    """Days from the first to the last, both included."""

    start_date: date
    end_date: date

    def __contains__(self, day: date) -> bool:
        return self.start_date <= day <= self.end_date


class BlackoutRule(StrEnum):
    """What becomes of a cycle whose date is in a blackout."""

    SKIP = "SKIP"
    MOVE_TO_NEXT_ALLOWED = "MOVE_TO_NEXT_ALLOWED"


class BusinessDayRule(StrEnum):
    """Where a cycle goes whose date is not a business day."""

    NONE = "NONE"
    NEXT = "NEXT"
    PREVIOUS = "PREVIOUS"


@dataclass(frozen=True, slots=True)
class BusinessDays:
    """The business-day rule, and whose weekends and holidays it goes by.

    The country is an ISO 3166-1 code of two letters and the subdivision a code within it, as the
    `holidays` package knows them. Without a country every Monday to Friday is a business day.
    """

    rule: BusinessDayRule = BusinessDayRule.NONE
    country: str = ""
    subdivision: str = ""


EVERY_DAY = BusinessDays()
"""No rule: a cycle may be due on any day."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the cycles of a standing order fall due.

    The first cycle is the first date of the recurrence that is not before the start date. The start
    date also fixes the phase: the weeks, months or years that count are every n-th from its own.
    """

    start_date: date
    local_time: time
    time_zone: str
    recurrence: Recurrence
    end: End | None = None
    blackouts: tuple[DateRange, ...] = ()
    blackout_rule: BlackoutRule = BlackoutRule.SKIP
    business_days: BusinessDays = EVERY_DAY
