"""The closing of the ledger: of its days by themselves, and of a period by a merchant."""

from datetime import date, datetime

from services.payments.domain.keys import MerchantId
from services.payments.domain.ledger import last_closed_date
from services.payments.domain.ledger_periods import LedgerPeriod
from services.payments.store import ledger, ledger_periods
from services.runtime.db.pool import Connection, Database
from services.runtime.errors import wrong_state
from services.runtime.mutations import Applied
from services.runtime.workers.clock import Clock

CLOSE_POLL_SECONDS = 60.0
# A busy day has millions of transfers, which are read once.
CLOSE_DEADLINE_SECONDS = 300.0


async def close_days(database: Database, clock: Clock) -> None:
    """Keep what was booked on closed days, and close those that are over. Most calls do nothing."""
    async with database.begin(wake_workers=False) as tx:
        await ledger.keep_days(tx, CLOSE_DEADLINE_SECONDS)
    async with database.begin(wake_workers=False) as tx:
        await ledger.close_days(tx, last_closed_date(clock.now()))


async def close_period(
    tx: Connection, merchant: MerchantId, through_date: date, now: datetime
) -> Applied[LedgerPeriod]:
    """Close a merchant's books through a day; one that is in a closed period changes nothing.

    Raises FAILED_PRECONDITION LEDGER_DAYS_OPEN.
    """
    kept_through = await ledger_periods.kept_through_date(tx)
    if through_date > kept_through:
        raise wrong_state(
            "LEDGER_DAYS_OPEN",
            f"the ledger is closed through {kept_through}; a day is within two hours of its end",
            closed_through_date=kept_through.isoformat(),
        )
    before = await ledger_periods.covering(tx, merchant, through_date)
    if before is not None:
        return Applied(before, before)
    await ledger_periods.close(tx, merchant, through_date, now)
    after = await ledger_periods.covering(tx, merchant, through_date)
    assert after is not None  # noqa: S101 - it was closed just now
    return Applied(after)
