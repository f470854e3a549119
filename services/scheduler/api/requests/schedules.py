"""Schedules: from a caller's messages to the domain."""

from dataclasses import replace
from datetime import date, datetime, time

from google.type import date_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.errors import Violations
from services.runtime.rpc.conversions import read_date
from services.runtime.time_zones import is_time_zone
from services.scheduler.domain import calendar, validation
from services.scheduler.domain.rrule import from_rrule
from services.scheduler.domain.schedule import (
    EVERY_DAY,
    MAX_BLACKOUTS,
    BlackoutRule,
    BusinessDayRule,
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

LOCAL_TIME_DEFAULT = time(9, 0)

_BLACKOUT_RULES = {
    pb.Schedule.SKIP: BlackoutRule.SKIP,
    pb.Schedule.MOVE_TO_NEXT_ALLOWED: BlackoutRule.MOVE_TO_NEXT_ALLOWED,
}
_BUSINESS_DAY_RULES = {
    pb.Schedule.BusinessDays.NEXT: BusinessDayRule.NEXT,
    pb.Schedule.BusinessDays.PREVIOUS: BusinessDayRule.PREVIOUS,
}


def read_schedule(
    violations: Violations,
    field: str,
    message: pb.Schedule,
    now: datetime | None,
    known: Schedule | None,
) -> Schedule | None:
    """A schedule that can fire; None, with the violations, if it is none.

    Without `now` it may have begun at any time, and otherwise as `known` did, which runs already.
    """
    schedule = (
        _read_rule(violations, field, message)
        if message.rrule
        else _read_fields(violations, field, message)
    )
    if schedule is None:
        return None
    schedule = replace(
        schedule,
        blackouts=_read_blackouts(violations, field, message),
        blackout_rule=_BLACKOUT_RULES.get(message.blackout_rule, BlackoutRule.SKIP),
        business_days=_read_business_days(violations, field, message),
    )
    today = calendar.utc_to_local_date(now, schedule.time_zone) if now else None
    # What could not be read is a placeholder here: what is said of it already is enough.
    unread = {violation.field for violation in violations.found}
    starts = (known.start_date, calendar.rule_start(known)) if known else ()
    schedule_violations = validation.violations(
        schedule, None if schedule.start_date in starts else today
    )
    for violation in schedule_violations:
        if f"{field}.{violation.field}" not in unread:
            violations.add(f"{field}.{violation.field}", violation.message, violation.reason)
    return None if schedule_violations else schedule


def read_calendar_date(violations: Violations, field: str, message: date_pb2.Date) -> date:
    """A date that exists and that the calendar has; a placeholder, with a violation, if it is none."""
    date_violations = Violations()
    day = read_date(date_violations, field, message)
    if not date_violations.found:
        for violation in validation.date_violations(field, day):
            date_violations.add(violation.field, violation.message, violation.reason)
    for noted in date_violations.found:
        violations.add(noted.field, noted.description, noted.reason)
    return day


def _read_rule(violations: Violations, field: str, message: pb.Schedule) -> Schedule | None:
    given = message.HasField("start_date") or message.HasField("local_time")
    if given or message.time_zone or message.WhichOneof("recurrence") or message.WhichOneof("end"):
        violations.add(f"{field}.rrule", "must stand alone: it has the start, zone and end itself")
        return None
    schedule = from_rrule(message.rrule)
    if isinstance(schedule, validation.Violation):
        violations.add(f"{field}.{schedule.field}", schedule.message, schedule.reason)
        return None
    return schedule


def _read_blackouts(
    violations: Violations, field: str, message: pb.Schedule
) -> tuple[DateRange, ...]:
    return tuple(
        DateRange(
            read_date(violations, f"{field}.blackouts[{place}].start_date", blackout.start_date),
            read_date(violations, f"{field}.blackouts[{place}].end_date", blackout.end_date),
        )
        for place, blackout in enumerate(message.blackouts[: MAX_BLACKOUTS + 1])
    )


def _read_business_days(violations: Violations, field: str, message: pb.Schedule) -> BusinessDays:
    if not message.HasField("business_days"):
        return EVERY_DAY
    given = message.business_days
    rule = _BUSINESS_DAY_RULES.get(given.rule)
    if rule is None:
        violations.add(f"{field}.business_days.rule", "must be NEXT or PREVIOUS")
        return EVERY_DAY
    return BusinessDays(rule, given.country, given.subdivision)


def _read_fields(violations: Violations, field: str, message: pb.Schedule) -> Schedule | None:
    start_date = read_date(violations, f"{field}.start_date", message.start_date)
    recurrence = _read_recurrence(violations, field, message)
    local_time = _read_local_time(violations, f"{field}.local_time", message)
    end = _read_end(violations, field, message)
    if not is_time_zone(message.time_zone):
        violations.add(
            f"{field}.time_zone",
            'must be an IANA time zone, for example "Europe/Berlin"',
            "TIME_ZONE_UNKNOWN",
        )
        return None
    if recurrence is None:
        return None
    return Schedule(start_date, local_time, message.time_zone, recurrence, end)


def _read_recurrence(violations: Violations, field: str, message: pb.Schedule) -> Recurrence | None:
    match message.WhichOneof("recurrence"):
        case "daily":
            return Daily(message.daily.every_days)
        case "weekly":
            weekdays = [_read_weekday(violations, f"{field}.weekly.weekdays", day)
                        for day in message.weekly.weekdays]  # fmt: skip
            return Weekly(message.weekly.every_weeks, tuple(weekdays))
        case "monthly":
            monthly = message.monthly
            nth_weekdays = [
                NthWeekday(
                    ordinal.nth,
                    _read_weekday(
                        violations,
                        f"{field}.monthly.nth_weekdays[{place}].weekday",
                        ordinal.weekday,
                    ),
                )
                for place, ordinal in enumerate(monthly.nth_weekdays)
            ]
            return Monthly(monthly.every_months, tuple(monthly.month_days), tuple(nth_weekdays))
        case "yearly":
            yearly = message.yearly
            return Yearly(yearly.every_years, yearly.month, yearly.month_day)
    violations.add(f"{field}.recurrence", "must be daily, weekly, monthly or yearly")
    return None


def _read_weekday(violations: Violations, field: str, day: int) -> Weekday:
    if not Weekday.MONDAY <= day <= Weekday.SUNDAY:
        violations.add(field, "must be a day of the week")
        return Weekday.MONDAY
    return Weekday(day)


def _read_local_time(violations: Violations, field: str, message: pb.Schedule) -> time:
    if not message.HasField("local_time"):
        return LOCAL_TIME_DEFAULT
    given = message.local_time
    try:
        local_time = time(given.hours, given.minutes)
    except ValueError:
        local_time = None
    if local_time is None or given.seconds or given.nanos:
        violations.add(field, "must be a time of day to the minute, 00:00 to 23:59")
    return local_time or LOCAL_TIME_DEFAULT


def _read_end(violations: Violations, field: str, message: pb.Schedule) -> End | None:
    match message.WhichOneof("end"):
        case "cycle_count":
            return EndAfter(message.cycle_count)
        case "end_date":
            return EndOn(read_date(violations, f"{field}.end_date", message.end_date))
    return None
