"""Digests of settled days, which proofs compare in place of rows (docs/reliability.md)."""

from services.runtime.db import statement_timeout
from services.runtime.db.pool import Database
from services.runtime.db.statements import Query, scalar
from services.runtime.workers.clock import Clock

POLL_SECONDS = 60.0
# A busy day has millions of rows, which are read once.
DEADLINE_SECONDS = 300.0

# It acts as the owner: the service itself may not write digests.
_KEEP: Query[int] = Query(
    "SELECT keep_proof_digests(CAST(CAST(:now AS timestamptz) AT TIME ZONE 'UTC' AS date))", scalar
)


async def keep(database: Database, clock: Clock) -> int:
    """Make the digests of the next day that has come since; returns how many more have.

    Most calls do nothing.
    """
    async with database.begin(wake_workers=False) as tx:
        await statement_timeout.extend(tx, DEADLINE_SECONDS)
        return await _KEEP.one(tx, now=clock.now())
