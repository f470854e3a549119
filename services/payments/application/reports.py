"""Merchants' reports: of which days they are."""

from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from services.payments.domain.keys import MerchantId
from services.payments.store import document_settings
from services.runtime.db.pool import Connection
from services.runtime.errors import Violations
from services.runtime.time_zones import zone

# From the first to the last day: a year.
REPORT_DAYS_MAX = 366
FIRST_YEAR, LAST_YEAR = 1970, 2100


class Days(NamedTuple):
    """The days that a report is wanted of."""

    merchant: MerchantId
    # None: the first of the last day's month, and today.
    start_date: date | None
    end_date: date | None
    # Whose days they are; empty: those of the merchant's zone.
    time_zone: str


class Span(NamedTuple):
    """The days that a report is of."""

    start_date: date
    # Included.
    end_date: date
    time_zone: str

    @property
    def times(self) -> tuple[datetime, datetime]:
        """When the first day begins, and when the last is over."""
        local = zone(self.time_zone)
        until_date = self.end_date + timedelta(days=1)
        return (
            datetime.combine(self.start_date, time(), local),
            datetime.combine(until_date, time(), local),
        )


async def span(connection: Connection, days: Days, now: datetime) -> Span:
    """The days that a report is of. Raises INVALID_ARGUMENT for too many, or none."""
    settings = await document_settings.get(connection, days.merchant)
    time_zone = days.time_zone or settings.time_zone
    end_date = days.end_date or now.astimezone(zone(time_zone)).date()
    start_date = days.start_date or end_date.replace(day=1)
    violations = Violations()
    for field, day in (("start_date", start_date), ("end_date", end_date)):
        violations.require(
            field,
            f"must be from the year {FIRST_YEAR} to the year {LAST_YEAR}",
            met=FIRST_YEAR <= day.year <= LAST_YEAR,
        )
    violations.check()
    violations.require(
        "end_date",
        f"must be start_date, or at most {REPORT_DAYS_MAX} days after it",
        met=timedelta() <= end_date - start_date <= timedelta(days=REPORT_DAYS_MAX),
    )
    violations.check()
    return Span(start_date, end_date, time_zone)


async def instant(
    connection: Connection,
    merchant: MerchantId,
    as_of_time: datetime | None,
    time_zone: str,
    now: datetime,
) -> tuple[datetime, str]:
    """Of when a report is, and in which zone its days are."""
    settings = await document_settings.get(connection, merchant)
    return as_of_time or now, time_zone or settings.time_zone
