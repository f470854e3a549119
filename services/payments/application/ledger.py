"""The closing of the ledger's days."""

from services.payments.domain.ledger import last_closed_date
from services.payments.store import ledger
from services.runtime.db.pool import Database
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
