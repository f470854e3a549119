"""Resume: a pause that had an end is over."""

from services.runtime import outbox
from services.runtime.clock import Clock
from services.runtime.database import Database
from services.runtime.loops import Step
from services.scheduler import events
from services.scheduler.domain.standing_order import State, resumed
from services.scheduler.store import orders, standing_orders

BATCH_STANDING_ORDERS = 500


class Resume:
    """Lets standing orders go on whose pause is over."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def step(self) -> Step:
        """Resume a batch; nobody has to be asked, so one transaction does it."""
        now = self._clock.now()
        async with self._database.read() as connection:
            first = await standing_orders.first_rested(connection)
        if first is None or first > now:
            return Step(wake_at=first)
        async with self._database.begin() as tx:
            claimed = await standing_orders.claim_rested(tx, now, BATCH_STANDING_ORDERS)
            if not claimed:
                return Step(pending=True)
            openings = [resumed(one, now) for one in claimed]
            await standing_orders.advance(tx, openings, State.PAUSED, now)
            await orders.insert(tx, [o for opening in openings for o in opening.orders], now)
            going_on = [opening.standing_order for opening in openings]
            facts = [events.standing_order_changed(one, "RESUMED", now) for one in going_on]
            await outbox.put(tx, facts)
        return Step(worked=len(claimed))
