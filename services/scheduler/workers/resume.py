"""Resume: a pause that had an end is over, or has swallowed the last cycle."""

from services.runtime.db.pool import Database
from services.runtime.observability import tracing
from services.runtime.workers.clock import Clock
from services.runtime.workers.loop import Step
from services.scheduler.application import pauses
from services.scheduler.store import standing_order_claims

BATCH_STANDING_ORDERS = 500


class Resume:
    """Lets standing orders go on whose pause is over, and ends those that it has outlasted."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def step(self) -> Step:
        """Resume a batch; nobody has to be asked, so one transaction does it."""
        now = self._clock.now()
        async with self._database.read() as connection:
            first = await standing_order_claims.first_resume_time(connection)
        if first is None or first > now:
            return Step(wake_at=first)
        async with self._database.begin() as tx:
            claimed = await standing_order_claims.claim_to_resume(tx, now, BATCH_STANDING_ORDERS)
            if not claimed:
                return Step(pending=True)
            with tracing.working("resume", len(claimed)):
                await pauses.resume(tx, claimed, now)
        return Step(worked=len(claimed))
