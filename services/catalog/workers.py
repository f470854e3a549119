"""The catalog's due work: holds of stock that nobody settled in time."""

from services.catalog.application import stock
from services.runtime.db.pool import Database
from services.runtime.workers.clock import Clock
from services.runtime.workers.loop import Step

EXPIRE_BATCH_HOLDS = 500


class HoldExpiry:
    """Gives back stock whose hold has run out."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def step(self) -> Step:
        """Release a batch of holds that are due."""
        async with self._database.engine.begin() as tx:
            expired, next_expiry = await stock.expire_holds(
                tx, self._clock.now(), EXPIRE_BATCH_HOLDS
            )
            return Step(expired, next_expiry)
