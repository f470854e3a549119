"""What was sent, counted by day, channel, country, kind and state."""

from datetime import UTC, date, datetime, timedelta

from services.notify.store import statistics
from services.notify.store.statistics import Period
from services.runtime.db.pool import Database
from services.runtime.errors import Violations

PERIOD_MAX = timedelta(days=366)
FIRST_YEAR, LAST_YEAR = 1970, 2100
MERGE_POLL_SECONDS = 60.0
MERGE_DEADLINE_SECONDS = 30.0
MERGE_BATCH_ROWS = 20_000


def period(start_date: date | None, end_date: date | None, now: datetime) -> Period:
    """The days that are asked for: by default those of this month. Raises INVALID_ARGUMENT."""
    last = end_date or now.astimezone(UTC).date()
    first = start_date or last.replace(day=1)
    violations = Violations()
    for field, day in (("start_date", first), ("end_date", last)):
        rule = f"must be from the year {FIRST_YEAR} to the year {LAST_YEAR}"
        violations.require(field, rule, met=FIRST_YEAR <= day.year <= LAST_YEAR)
    rule = f"must be from start_date to {PERIOD_MAX.days} days after it"
    violations.require("end_date", rule, met=timedelta() <= last - first <= PERIOD_MAX)
    violations.check()
    return Period(first, last)


async def merge(database: Database) -> None:
    """Add what has changed to the sums of days, of which a question then reads few."""
    merged = 1
    while merged:
        async with database.begin(wake_workers=False) as tx:
            merged = await statistics.merge(tx, MERGE_BATCH_ROWS)
