"""Schedules as iCalendar text: `DTSTART` and `RRULE` (RFC 5545), `RSCALE` and `SKIP` (RFC 7529).

The text says when the recurrence fires. Blackouts and business days have no place in it; they are
given beside it. What a rule can say and a schedule can't is refused with the reason, never
approximated.
"""

import re
from dataclasses import replace
from datetime import date, datetime, time, timedelta

from services.scheduler.domain.calendar import (
    is_time_zone,
    local_to_utc,
    nominal_date,
    utc_to_local_date,
)
from services.scheduler.domain.schedule import (
    EVERY_DAY,
    FIRST_DATE,
    LAST_DATE,
    BlackoutRule,
    BusinessDays,
    Daily,
    DateRange,
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

MAX_RRULE_CHARACTERS = 4096
_CODES = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_MAX_DAY_IN_EVERY_MONTH = 28
_FEBRUARY = 2
_SKIPS = ("OMIT", "BACKWARD", "FORWARD")
_SKIP_BACKWARD = "RSCALE=GREGORIAN;SKIP=BACKWARD"
_NUMBER = re.compile(r"[+-]?[0-9]{1,6}")
_PLACED_DAY = re.compile(r"([+-]?[0-9]{1,2})?([A-Z]{2})")
_STAMP = re.compile(r"[0-9]{8}(T[0-9]{6}Z?)?")
_FOLD = re.compile(r"\r?\n[ \t]")

_Parts = dict[str, str]


def to_rrule(schedule: Schedule) -> str:
    """The schedule as two lines, `DTSTART` and `RRULE`.

    `DTSTART` is the first date of the recurrence, as RFC 5545 §3.8.5.3 asks, even where the start
    date is earlier. `UNTIL` is the due time of the end date, in UTC.

    Raises:
        ValueError: the schedule has no date at all.
    """
    first = nominal_date(schedule, 0)
    if first is None:
        raise ValueError("a schedule without a date has no DTSTART")
    parts = [*_recurrence_parts(schedule.recurrence, schedule.start_date)]
    match schedule.end:
        case EndAfter(cycle_count):
            parts.append(f"COUNT={cycle_count}")
        case EndOn(end_date):
            until = local_to_utc(end_date, schedule.local_time, schedule.time_zone)
            parts.append(f"UNTIL={until:%Y%m%dT%H%M%SZ}")
    if _may_lack_a_day(schedule.recurrence, schedule.start_date):
        parts.append(_SKIP_BACKWARD)
    start = f"{first:%Y%m%d}T{schedule.local_time:%H%M%S}"
    if schedule.time_zone == "UTC":
        return f"DTSTART:{start}Z\nRRULE:{';'.join(parts)}"
    return f"DTSTART;TZID={schedule.time_zone}:{start}\nRRULE:{';'.join(parts)}"


def from_rrule(
    text: str,
    *,
    blackouts: tuple[DateRange, ...] = (),
    blackout_rule: BlackoutRule = BlackoutRule.SKIP,
    business_days: BusinessDays = EVERY_DAY,
) -> Schedule | Violation:
    """The schedule that the text describes, or why there is none.

    The text has one `DTSTART`, a date-time with a `TZID` or in UTC, and one `RRULE`. `DTSTART`
    becomes the start date, so it fixes the phase and is itself a date only if the rule says so.
    """
    try:
        start, time_zone, parts = _read(text)
        recurrence = _recurrence(parts, start.date())
        end = _end(parts, start.time(), time_zone)
        _refuse_skip(parts, recurrence, start.date())
        if parts:
            raise _unsupported(f"{', '.join(parts):.60} can't be used in this rule")
    except _RefusedError as refused:
        return refused.violation
    schedule = Schedule(
        start.date(),
        start.time(),
        time_zone,
        recurrence,
        end,
        blackouts,
        blackout_rule,
        business_days,
    )
    for violation in violations(schedule, today=None):
        return replace(violation, field="rrule", message=f"{violation.field}: {violation.message}")
    return schedule


class _RefusedError(Exception):
    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.violation = Violation("rrule", reason, message)


def _malformed(message: str) -> _RefusedError:
    return _RefusedError(Reason.RRULE_MALFORMED, message)


def _unsupported(message: str) -> _RefusedError:
    return _RefusedError(Reason.RRULE_UNSUPPORTED, message)


def _recurrence_parts(recurrence: Recurrence, start_date: date) -> list[str]:
    match recurrence:
        case Daily(every_days):
            return _frequency("DAILY", every_days)
        case Weekly(every_weeks, weekdays):
            chosen = sorted(set(weekdays or (start_date.isoweekday(),)))
            codes = ",".join(_CODES[weekday - 1] for weekday in chosen)
            return [*_frequency("WEEKLY", every_weeks), f"BYDAY={codes}"]
        case Monthly(every_months, _, nth_weekdays) if nth_weekdays:
            chosen_places = sorted({(each.nth, each.weekday) for each in nth_weekdays})
            places = ",".join(f"{nth}{_CODES[weekday - 1]}" for nth, weekday in chosen_places)
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


def _read(text: str) -> tuple[datetime, str, _Parts]:
    """The start as local time, its zone, and the parts of the rule by name."""
    if len(text) > MAX_RRULE_CHARACTERS:
        raise _malformed(f"the text is longer than {MAX_RRULE_CHARACTERS} characters")
    properties: dict[str, tuple[str, str]] = {}
    for line in _FOLD.sub("", text).split("\n"):
        if not line.strip():
            continue
        declaration, colon, content = line.strip().partition(":")
        name, _, parameters = declaration.partition(";")
        name = name.upper()
        if not colon or name in properties:
            raise _malformed(
                f"expected one DTSTART and one RRULE, each NAME:VALUE, at {line!r:.60}"
            )
        if name not in {"DTSTART", "RRULE"}:
            raise _unsupported(f"{name:.20} is not supported; give days to leave out as blackouts")
        properties[name] = (parameters, content)
    if not {"DTSTART", "RRULE"} <= properties.keys():
        raise _malformed("both DTSTART and RRULE are needed")
    start, time_zone = _start(*properties["DTSTART"])
    return start, time_zone, _parts(properties["RRULE"][1])


def _start(parameters: str, content: str) -> tuple[datetime, str]:
    named = _named(parameters)
    stamp = _stamp("DTSTART", content)
    if not isinstance(stamp, datetime) or named.get("VALUE", "DATE-TIME").upper() != "DATE-TIME":
        raise _unsupported("DTSTART needs a time of day, such as 20250131T090000")
    time_zone = "UTC" if stamp.tzinfo else named.get("TZID", "").strip('"')
    if not time_zone:
        raise _unsupported("DTSTART needs a TZID, or a Z for UTC: a floating time has no instant")
    if not is_time_zone(time_zone):
        raise _RefusedError(Reason.TIME_ZONE_UNKNOWN, f"{time_zone!r:.60} is not an IANA time zone")
    return stamp.replace(tzinfo=None), time_zone


def _parts(content: str) -> _Parts:
    parts = _named(content.upper())
    if "COUNT" in parts and "UNTIL" in parts:
        raise _malformed("a rule has COUNT or UNTIL, not both")
    if "SKIP" in parts and "RSCALE" not in parts:
        raise _malformed("SKIP needs RSCALE=GREGORIAN beside it")
    if parts.pop("RSCALE", "GREGORIAN") != "GREGORIAN":
        raise _unsupported("only RSCALE=GREGORIAN is supported")
    for name in ("BYHOUR", "BYMINUTE", "BYSECOND"):
        if "," in parts.get(name, ""):
            raise _RefusedError(Reason.MORE_OFTEN_THAN_DAILY, f"{name} fires many times a day")
    return parts


def _named(content: str) -> _Parts:
    """`A=1;B=2` by name."""
    named: _Parts = {}
    for part in content.strip(";").split(";") if content.strip(";") else ():
        name, _, value = part.partition("=")
        name = name.strip().upper()
        if not name or not value or name in named:
            raise _malformed(f"expected NAME=VALUE, each name once, at {part!r:.60}")
        named[name] = value.strip()
    return named


def _recurrence(parts: _Parts, start_date: date) -> Recurrence:
    frequency = parts.pop("FREQ", "")
    every = _number("INTERVAL", parts.pop("INTERVAL", "1"))
    week_start = parts.pop("WKST", "MO")
    match frequency:
        case "DAILY":
            return Daily(every)
        case "WEEKLY":
            if week_start != "MO" and every > 1:
                raise _unsupported("weeks begin on Monday: WKST=MO")
            codes = parts.pop("BYDAY", "")
            return Weekly(every, tuple(map(_weekday, codes.split(","))) if codes else ())
        case "MONTHLY" if "BYDAY" in parts:
            return Monthly(every, (), tuple(map(_nth_weekday, parts.pop("BYDAY").split(","))))
        case "MONTHLY":
            days = parts.pop("BYMONTHDAY", str(start_date.day)).split(",")
            return Monthly(every, tuple(_number("BYMONTHDAY", day) for day in days))
        case "YEARLY":
            if "BYMONTHDAY" in parts and "BYMONTH" not in parts:
                raise _unsupported("BYMONTHDAY in a YEARLY rule needs one BYMONTH")
            month = _number("BYMONTH", parts.pop("BYMONTH", str(start_date.month)))
            day = _number("BYMONTHDAY", parts.pop("BYMONTHDAY", str(start_date.day)))
            return Yearly(every, month, day)
        case "HOURLY" | "MINUTELY" | "SECONDLY":
            raise _RefusedError(Reason.MORE_OFTEN_THAN_DAILY, f"FREQ={frequency} is too often")
        case _:
            raise _malformed("FREQ must be DAILY, WEEKLY, MONTHLY or YEARLY")


def _end(parts: _Parts, local_time: time, time_zone: str) -> End | None:
    if "COUNT" in parts:
        return EndAfter(_number("COUNT", parts.pop("COUNT")))
    if "UNTIL" not in parts:
        return None
    until = _stamp("UNTIL", parts.pop("UNTIL"))
    if not isinstance(until, datetime):
        return EndOn(until)
    if until.tzinfo is None:
        raise _malformed("UNTIL must be in UTC, with a Z, or a plain date")
    # A year more on either side, because UTC may be on another date than the zone.
    if not FIRST_DATE.year - 1 <= until.year <= LAST_DATE.year + 1:
        message = f"UNTIL must be from {FIRST_DATE} to {LAST_DATE}; leave it out for no end"
        raise _RefusedError(Reason.OUT_OF_RANGE, message)
    day = utc_to_local_date(until, time_zone)
    due_at = local_to_utc(day, local_time, time_zone)
    return EndOn(day if due_at <= until else day - timedelta(days=1))


def _refuse_skip(parts: _Parts, recurrence: Recurrence, start_date: date) -> None:
    """Refuses every SKIP but the one that schedules have, unless there is nothing to skip."""
    skip = parts.pop("SKIP", "OMIT")
    if skip not in _SKIPS:
        raise _malformed("SKIP must be OMIT, BACKWARD or FORWARD")
    if skip != "BACKWARD" and _may_lack_a_day(recurrence, start_date):
        message = f"a month that lacks the day must use its last: add {_SKIP_BACKWARD}"
        raise _unsupported(message)


def _number(name: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise _malformed(f"{name} must be one whole number here, not {text!r:.60}")
    return int(text)


def _weekday(code: str) -> Weekday:
    if code not in _CODES:
        raise _malformed(f"{code!r:.20} is not a weekday such as MO")
    return Weekday(_CODES.index(code) + 1)


def _nth_weekday(text: str) -> NthWeekday:
    found = _PLACED_DAY.fullmatch(text)
    if not found:
        raise _malformed(f"{text!r:.20} is not a weekday of a month such as 2TU or -1FR")
    if not found[1]:
        raise _unsupported(
            f"every {text} of a month is a weekly rule; give its place, such as 1{text}"
        )
    return NthWeekday(int(found[1]), _weekday(found[2]))


def _stamp(name: str, text: str) -> date | datetime:
    try:
        moment = datetime.fromisoformat(text) if _STAMP.fullmatch(text) else None
    except ValueError:
        moment = None
    if moment is None:
        raise _malformed(f"{name} must be a date-time such as 20250131T090000, not {text!r:.60}")
    return moment if "T" in text else moment.date()
