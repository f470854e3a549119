"""The periods whose charges a mandate's ceiling counts together: months, or so many days. Pure.

Both are of local dates, so that what is charged at the same time of day every so many days never meets
itself for being some seconds early.
"""

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple

from services.runtime.time_zones import zone

_CACHED_MONTHS = 1024
_BEGIN_OF_TIME = datetime.min.replace(tzinfo=UTC)
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


class Period(NamedTuple):
    """The instants from one on and before another."""

    first: datetime
    following: datetime

    def has(self, moment: datetime) -> bool:
        """Whether an instant is one of them."""
        return self.first <= moment < self.following


def month_of(moment: datetime, time_zone: str) -> Period:
    """The local calendar month of an instant."""
    day = _local_date(moment, time_zone)
    return _month(day.year, day.month, time_zone)


def days_until(moment: datetime, days: int, time_zone: str) -> Period:
    """So many local days, of which that of an instant is the last."""
    last = _local_date(moment, time_zone)
    return Period(_begin(last, 1 - days, time_zone), _begin(last, 1, time_zone))


def days_around(moment: datetime, days: int, time_zone: str) -> Period:
    """Every local day that so many days have in common with that of an instant."""
    day = _local_date(moment, time_zone)
    return Period(_begin(day, 1 - days, time_zone), _begin(day, days, time_zone))


@lru_cache(maxsize=_CACHED_MONTHS)
def _month(year: int, month: int, time_zone: str) -> Period:
    first = date(year, month, 1)
    return Period(_begin(first, 0, time_zone), _begin(first, monthrange(year, month)[1], time_zone))


def _local_date(moment: datetime, time_zone: str) -> date:
    return moment.astimezone(zone(time_zone)).date()


def _begin(day: date, days: int, time_zone: str) -> datetime:
    """The first instant of the local day that is so many days after another.

    Where a day has no midnight, that of what comes in its place; beyond all time, its end.
    """
    try:
        day += timedelta(days=days)
        return datetime.combine(day, time(), zone(time_zone)).astimezone(UTC)
    except OverflowError:
        return _END_OF_TIME if days > 0 else _BEGIN_OF_TIME
