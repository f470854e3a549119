"""Which days are business days, by the weekends and public holidays of a country or region.

Holidays are those that the installed release of `holidays` knows. For years that it does not cover
yet (some follow the moon and are announced late) only weekends and the holidays of fixed date are
left. A government may still change one; a cycle that has been prepared keeps the date it was given.
"""

import warnings
from datetime import date, timedelta
from functools import lru_cache

from services.scheduler.domain.schedule import BusinessDays, Weekday

_CACHED_YEARS = 1024
"""Years of one country or region, some 400 bytes each."""


def is_business_day(business_days: BusinessDays, day: date) -> bool:
    """Whether people work on the day. The rule does not matter here, only the calendar does."""
    if not business_days.country:
        return day.isoweekday() < Weekday.SATURDAY
    year = _open_days(business_days.country, business_days.subdivision, day.year)
    return bool(year[day.timetuple().tm_yday - 1])


def is_known_calendar(country: str, subdivision: str) -> bool:
    """Whether there is a holiday calendar of that country and, if one is named, its subdivision."""
    # Imported where it is needed: most schedules never ask, and it is slow to import.
    from holidays import country_holidays  # noqa: PLC0415

    try:
        country_holidays(country, subdiv=subdivision or None)
    except NotImplementedError:
        return False
    return True


@lru_cache(maxsize=_CACHED_YEARS)
def _open_days(country: str, subdivision: str, year: int) -> bytes:
    """One byte for each day of the year: 1 if it is a business day."""
    from holidays import country_holidays  # noqa: PLC0415

    with warnings.catch_warnings():
        # It warns of years that it does not cover, which is said above and no news at run time.
        warnings.simplefilter("ignore", UserWarning)
        holidays = country_holidays(country, subdiv=subdivision or None, years=year, expand=False)
    first = date(year, 1, 1)
    length_days = (date(year + 1, 1, 1) - first).days
    return bytes(holidays.is_working_day(first + timedelta(days)) for days in range(length_days))
