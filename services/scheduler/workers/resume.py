"""Resume: a pause that had an end is over, or has swallowed the last cycle."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime.db.pool import Database
from services.runtime.messaging import outbox
from services.runtime.observability import tracing
from services.runtime.workers.clock import Clock
from services.runtime.workers.loop import Step
from services.scheduler.application import settlement
from services.scheduler.domain.pauses import pause_recorded, resumed
from services.scheduler.domain.standing_order import Opening, StandingOrder, State
from services.scheduler.publishers import standing_order_changed
from services.scheduler.store import orders, standing_orders

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
            first = await standing_orders.first_rested(connection)
        if first is None or first > now:
            return Step(wake_at=first)
        async with self._database.begin() as tx:
            claimed = await standing_orders.claim_rested(tx, now, BATCH_STANDING_ORDERS)
            if not claimed:
                return Step(pending=True)
            with tracing.working("resume", len(claimed)):
                await _go_on(tx, claimed, now)
        return Step(worked=len(claimed))


async def _go_on(tx: AsyncConnection, claimed: Sequence[StandingOrder], now: datetime) -> None:
    """Resume a batch, record what their pauses swallowed, and end those with no cycle left."""
    openings = [_after_pause(one, now) for one in claimed]
    await standing_orders.advance(tx, openings, State.PAUSED, now)
    await orders.insert(tx, [o for opening in openings for o in opening.orders], now)
    going_on = [
        standing_order_changed(_stored(opening), "RESUMED", now)
        for opening in openings
        if opening.before.state is State.ACTIVE
    ]
    await outbox.put(tx, going_on)
    over = [one.before.key for one in openings if one.place.next_cycle is None]
    await settlement.end_finished(tx, over, now)


def _after_pause(resting: StandingOrder, now: datetime) -> Opening:
    if resting.resume_time is None or resting.resume_time > now:
        return pause_recorded(resting, now)
    opening = resumed(resting, now)
    # With no cycle left there is nothing to go on with: it ends once its last order is over.
    return opening if opening.place.next_cycle else replace(opening, before=resting)


def _stored(opening: Opening) -> StandingOrder:
    """The standing order as `advance` has stored it."""
    return replace(opening.standing_order, version=opening.before.version + 1)
