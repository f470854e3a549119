"""When cycles fall due, walked date by date: slow, plain, and unlike the scheduler's own way."""

from calendar import monthrange
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from itertools import count, takewhile
from typing import Any
from zoneinfo import ZoneInfo

DAYS_PER_WEEK = 7
MONTHS_PER_YEAR = 12


def is_plain(schedule: Mapping[str, Any]) -> bool:
    """Whether cycles stay on the dates of their rule: those that may move are not walked here.

    A cycle that a blackout leaves out keeps its date.
    """
    moves = schedule.get("blackouts") and schedule.get("blackout_rule") != "SKIP"
    return not moves and schedule.get("business_days", {}).get("rule", "NONE") == "NONE"


def due_times(schedule: Mapping[str, Any], until: datetime) -> list[datetime]:
    """The due times of a schedule from its first cycle on, those not after `until`.

    Raises ValueError for a recurrence that is not known here: better no proof than half of one.
    """
    end = schedule["end"] or {}
    dates = _dates(date.fromisoformat(schedule["start_date"]), schedule["recurrence"])
    if end_date := end.get("end_date"):
        dates = takewhile(lambda day: day <= date.fromisoformat(end_date), dates)
    local_time = time.fromisoformat(schedule["local_time"])
    zone = ZoneInfo(schedule["time_zone"])
    # fold=0 is both readings of RFC 5545: the offset before a gap, and the first of two.
    dues = (datetime.combine(day, local_time, zone).astimezone(UTC) for day in dates)
    due = list(takewhile(lambda moment: moment <= until, dues))
    return due[: end.get("cycle_count", len(due))]


def _dates(start: date, recurrence: Mapping[str, Any]) -> Iterator[date]:
    ((kind, rule),) = recurrence.items()
    days: Iterator[date]
    match kind:
        case "daily":
            days = (start + timedelta(days=turn * rule["every_days"]) for turn in count())
        case "weekly":
            days = _weekly(start, rule["every_weeks"], rule["weekdays"])
        case "monthly":
            places = rule.get("nth_weekdays", [])
            chosen = rule["month_days"] or ([] if places else [start.day])
            days = _monthly(start, rule["every_months"], chosen, places)
        case "yearly":
            first = start.replace(day=1, month=rule.get("month") or start.month)
            chosen = [rule.get("month_day") or start.day]
            days = _monthly(first, rule["every_years"] * MONTHS_PER_YEAR, chosen, [])
        case _:
            raise ValueError(f"a recurrence that the proof does not know: {kind}")
    return (day for day in days if day >= start)


def _weekly(start: date, every_weeks: int, weekdays: list[int]) -> Iterator[date]:
    """Weekdays are 1 (Monday) to 7; none means that of the start."""
    chosen = sorted(set(weekdays)) or [start.isoweekday()]
    monday = start - timedelta(days=start.weekday())
    for turn in count():
        week = monday + timedelta(days=turn * every_weeks * DAYS_PER_WEEK)
        yield from (week + timedelta(days=weekday - 1) for weekday in chosen)


def _monthly(
    start: date, every_months: int, month_days: list[int], places: list[list[int]]
) -> Iterator[date]:
    """A day that a month lacks is its last; negative days count from the month's end.

    A place is an n-th weekday, [2, 7] the second Sunday; negative ones count from the end, too.
    """
    for turn in count():
        months = start.year * MONTHS_PER_YEAR + start.month - 1 + turn * every_months
        year, month = divmod(months, MONTHS_PER_YEAR)
        length = monthrange(year, month + 1)[1]
        days = {min(day, length) if day > 0 else length + 1 + day for day in month_days}
        for day in range(1, length + 1) if places else ():
            weekday = date(year, month + 1, day).isoweekday()
            from_start = (day - 1) // DAYS_PER_WEEK + 1
            from_end = -((length - day) // DAYS_PER_WEEK + 1)
            if [from_start, weekday] in places or [from_end, weekday] in places:
                days.add(day)
        yield from (date(year, month + 1, day) for day in sorted(days))
