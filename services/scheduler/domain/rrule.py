"""Schedules as iCalendar text: `DTSTART` and `RRULE` (RFC 5545), `RSCALE` and `SKIP` (RFC 7529).

The text says when the recurrence fires. Blackouts and business days have no place in it; they are
given beside it. Text that RFC 5545 does not allow is refused as malformed; what a rule can say and a
schedule can't is refused as not supported, with the part's name. Nothing is approximated.
"""

from dataclasses import replace
from datetime import date, datetime, time, timedelta

from services.scheduler.domain.calendar import (
    is_day,
    local_to_utc,
    nominal_date,
    rule_start,
    utc_to_local_date,
)
from services.scheduler.domain.rrule_text import (
    COUNTED,
    PLACED_DAY,
    WEEKDAY_CODES,
    Parts,
    RefusedError,
    malformed,
    read_stamp,
    read_text,
    unsupported,
)
from services.scheduler.domain.schedule import (
    FIRST_DATE,
    LAST_DATE,
    Daily,
    End,
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
from services.scheduler.domain.validation import Reason, Violation, violations

_MAX_DAY_IN_EVERY_MONTH = 28
_ONE_DAY = timedelta(days=1)
_DAYS_IN_WEEK = 7
_FEBRUARY = 2
_SKIPS = ("OMIT", "BACKWARD", "FORWARD")
_SKIP_BACKWARD = "RSCALE=GREGORIAN;SKIP=BACKWARD"


def to_rrule(schedule: Schedule) -> str:
    """The schedule as two lines, `DTSTART` and `RRULE`.

    `DTSTART` is the first date of the recurrence, as RFC 5545 §3.8.5.3 asks, even where the start
    date is earlier; it is the start date where a business-day rule moves the first cycle back to a day
    between the two. `UNTIL` is the due time of the end date, in UTC.

    Raises:
        ValueError: the schedule has no date at all.
    """
    if nominal_date(schedule, 0) is None:
        raise ValueError("a schedule without a date has no DTSTART")
    parts = [*_recurrence_parts(schedule.recurrence, schedule.start_date)]
    match schedule.end:
        case EndAfter(cycle_count):
            parts.append(f"COUNT={cycle_count}")
        case EndOn(end_date):
            while not is_day(end_date, schedule.time_zone):
                end_date -= _ONE_DAY
            until = local_to_utc(end_date, schedule.local_time, schedule.time_zone)
            parts.append(f"UNTIL={until:%Y%m%dT%H%M%SZ}")
    if _may_lack_a_day(schedule.recurrence, schedule.start_date):
        parts.append(_SKIP_BACKWARD)
    start = f"{rule_start(schedule):%Y%m%d}T{schedule.local_time:%H%M%S}"
    if schedule.time_zone == "UTC":
        return f"DTSTART:{start}Z\nRRULE:{';'.join(parts)}"
    return f"DTSTART;TZID={schedule.time_zone}:{start}\nRRULE:{';'.join(parts)}"


def from_rrule(text: str) -> Schedule | Violation:
    """The schedule that the text describes, or why there is none.

    The text has one `DTSTART`, a date-time with a `TZID` or in UTC, and one `RRULE`. `DTSTART`
    becomes the start date, so it fixes the phase and is itself a date only if the rule says so.
    """
    try:
        start, time_zone, parts = read_text(text)
        week_start = Weekday(WEEKDAY_CODES.index(parts.pop("WKST", "MO")) + 1)
        recurrence = _recurrence(parts, start.date())
        start = datetime.combine(_week_phase(recurrence, start.date(), week_start), start.time())
        end = _end(parts, start.time(), time_zone)
        _refuse_skip(parts, recurrence, start.date())
        if parts:
            raise unsupported(", ".join(parts), "it can't be used in a rule of this FREQ")
    except RefusedError as refused:
        return refused.violation
    schedule = Schedule(start.date(), start.time(), time_zone, recurrence, end)
    for violation in violations(schedule, today=None):
        return replace(violation, field="rrule", message=f"{violation.field}: {violation.message}")
    return schedule


def _recurrence_parts(recurrence: Recurrence, start_date: date) -> list[str]:
    match recurrence:
        case Daily(every_days):
            return _frequency("DAILY", every_days)
        case Weekly(every_weeks, weekdays):
            chosen = sorted(set(weekdays or (start_date.isoweekday(),)))
            codes = ",".join(WEEKDAY_CODES[weekday - 1] for weekday in chosen)
            return [*_frequency("WEEKLY", every_weeks), f"BYDAY={codes}"]
        case Monthly(every_months, _, nth_weekdays) if nth_weekdays:
            places = ",".join(
                f"{nth}{WEEKDAY_CODES[weekday - 1]}" for nth, weekday in sorted(set(nth_weekdays))
            )
            return [*_frequency("MONTHLY", every_months), f"BYDAY={places}"]
        case Monthly(every_months, month_days):
            chosen = sorted(set(month_days or (start_date.day,)))
            return [*_frequency("MONTHLY", every_months), f"BYMONTHDAY={_joined(chosen)}"]
        case Yearly(every_years, month, month_day):
            return [
                *_frequency("YEARLY", every_years),
                f"BYMONTH={month or start_date.month}",
                f"BYMONTHDAY={month_day or start_date.day}",
            ]


def _frequency(name: str, every: int) -> list[str]:
    return [f"FREQ={name}"] if every == 1 else [f"FREQ={name}", f"INTERVAL={every}"]


def _joined(numbers: list[int]) -> str:
    return ",".join(map(str, numbers))


def _may_lack_a_day(recurrence: Recurrence, start_date: date) -> bool:
    """Whether some month may lack a day of the rule, so that the two readings of it differ."""
    match recurrence:
        case Monthly(_, month_days, ()):
            return max(month_days or (start_date.day,)) > _MAX_DAY_IN_EVERY_MONTH
        case Yearly(_, month, month_day):
            in_february = (month or start_date.month) == _FEBRUARY
            return in_february and (month_day or start_date.day) > _MAX_DAY_IN_EVERY_MONTH
        case _:
            return False


def _week_phase(recurrence: Recurrence, start_date: date, week_start: Weekday) -> date:
    """A start date from which weeks that begin on Monday give the dates of weeks that begin otherwise.

    They are the same where the week's beginning does not come between the weekdays of the rule.
    """
    if not isinstance(recurrence, Weekly) or recurrence.every_weeks == 1:
        return start_date
    started = Weekday(start_date.isoweekday())
    weekdays = recurrence.weekdays or (started,)
    sides = {weekday >= week_start for weekday in weekdays}
    if len(sides) > 1:
        names = ",".join(WEEKDAY_CODES[weekday - 1] for weekday in weekdays)
        part = f"WKST={WEEKDAY_CODES[week_start - 1]}"
        raise unsupported(part, f"weeks begin on Monday, which differs for BYDAY={names}")
    if sides == {started >= week_start}:
        return start_date
    # The start is on the other side: the first date itself says which weeks count.
    begin = start_date - timedelta(days=(started - week_start) % _DAYS_IN_WEEK)
    dates = [begin + timedelta(days=(weekday - week_start) % _DAYS_IN_WEEK) for weekday in weekdays]
    later = timedelta(weeks=recurrence.every_weeks)
    return min(day if day >= start_date else day + later for day in dates)


def _recurrence(parts: Parts, start_date: date) -> Recurrence:
    frequency = parts.pop("FREQ", "")
    every = _number("INTERVAL", parts.pop("INTERVAL", "1"))
    match frequency:
        case "DAILY":
            return Daily(every)
        case "WEEKLY":
            codes = parts.pop("BYDAY", "")
            return Weekly(every, tuple(map(_weekday, codes.split(","))) if codes else ())
        case "MONTHLY" if "BYDAY" in parts:
            return Monthly(every, (), tuple(map(_nth_weekday, parts.pop("BYDAY").split(","))))
        case "MONTHLY":
            days = parts.pop("BYMONTHDAY", str(start_date.day)).split(",")
            return Monthly(every, tuple(map(int, days)))
        case "YEARLY":
            return _yearly(parts, every, start_date)
        case "HOURLY" | "MINUTELY" | "SECONDLY":
            raise RefusedError(Reason.MORE_OFTEN_THAN_DAILY, f"FREQ={frequency} is too often")
        case _:
            raise malformed("FREQ must be DAILY, WEEKLY, MONTHLY or YEARLY")


def _yearly(parts: Parts, every: int, start_date: date) -> Recurrence:
    if "BYMONTHDAY" in parts and "BYMONTH" not in parts:
        raise unsupported("BYMONTHDAY in a YEARLY rule", "it needs one BYMONTH")
    month = parts.pop("BYMONTH", str(start_date.month))
    day = parts.pop("BYMONTHDAY", str(start_date.day))
    for name, value in (("BYMONTH", month), ("BYMONTHDAY", day)):
        if "," in value or value.startswith("-"):
            raise unsupported(f"{name}={value}", "a YEARLY rule has one day of one month")
    return Yearly(every, int(month), int(day))


def _end(parts: Parts, local_time: time, time_zone: str) -> End | None:
    if "COUNT" in parts:
        return EndAfter(_number("COUNT", parts.pop("COUNT")))
    if "UNTIL" not in parts:
        return None
    until = read_stamp("UNTIL", parts.pop("UNTIL"))
    if not isinstance(until, datetime) or until.tzinfo is None:
        raise malformed(
            "UNTIL must be a date-time in UTC as DTSTART is one, such as 20250131T080000Z"
        )
    # A year more on either side, because UTC may be on another date than the zone.
    if not FIRST_DATE.year - 1 <= until.year <= LAST_DATE.year + 1:
        message = f"UNTIL must be from {FIRST_DATE} to {LAST_DATE}; leave it out for no end"
        raise RefusedError(Reason.OUT_OF_RANGE, message)
    day = utc_to_local_date(until, time_zone)
    due_at = local_to_utc(day, local_time, time_zone)
    return EndOn(day if due_at <= until else day - timedelta(days=1))


def _refuse_skip(parts: Parts, recurrence: Recurrence, start_date: date) -> None:
    """Refuses every SKIP but the one that schedules have, unless there is nothing to skip."""
    skip = parts.pop("SKIP", "OMIT")
    if skip not in _SKIPS:
        raise malformed("SKIP must be OMIT, BACKWARD or FORWARD")
    if skip != "BACKWARD" and _may_lack_a_day(recurrence, start_date):
        why = f"a month that lacks the day must use its last: add {_SKIP_BACKWARD}"
        raise unsupported(f"SKIP={skip}", why)


def _number(name: str, text: str) -> int:
    if not COUNTED.fullmatch(text):
        raise malformed(f"{name} must be one whole number of up to six digits, not {text!r:.60}")
    return int(text)


def _weekday(code: str) -> Weekday:
    return Weekday(WEEKDAY_CODES.index(code) + 1)


def _nth_weekday(text: str) -> NthWeekday:
    match_ = PLACED_DAY.fullmatch(text)
    if not match_ or not match_[1]:
        why = f"every {text} of a month is a weekly rule; give its place, such as 1{text}"
        raise unsupported(f"BYDAY={text}", why)
    return NthWeekday(int(match_[1]), _weekday(match_[2]))
