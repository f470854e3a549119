"""Pauses: one that had an end is over, or has swallowed the last cycle."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from services.runtime.db.pool import Connection
from services.runtime.messaging import outbox
from services.scheduler.application import settlement
from services.scheduler.domain.pauses import is_over, pause_recorded, resumed
from services.scheduler.domain.standing_order import Opening, StandingOrder, State
from services.scheduler.publishers import standing_order_changed
from services.scheduler.store import orders, standing_orders


async def resume(tx: Connection, due: Sequence[StandingOrder], now: datetime) -> None:
    """Resume a batch, record what their pauses swallowed, and end those with no cycle left.

    Those that somebody has changed since they were read are left as they are.
    """
    every = [_after_pause(paused, now) for paused in due]
    advanced = await standing_orders.advance(tx, every, State.PAUSED, now)
    openings = [opening for opening in every if opening.standing_order.key in advanced]
    await orders.insert(tx, [o for opening in openings for o in opening.orders], now)
    events = [
        standing_order_changed(_stored(opening), "RESUMED", now)
        for opening in openings
        if opening.standing_order.state is State.ACTIVE
    ]
    await outbox.put(tx, events)
    over = [o.standing_order.key for o in openings if o.standing_order.next_cycle is None]
    await settlement.end_finished(tx, over, now)


def resumed_as_stored(paused: StandingOrder, now: datetime) -> Opening:
    """What `resume` makes of a standing order whose pause is over."""
    opening = _after_pause(paused, now)
    return opening._replace(standing_order=_stored(opening))


def _after_pause(paused: StandingOrder, now: datetime) -> Opening:
    if not is_over(paused, now):
        return pause_recorded(paused, now)
    active, orders = resumed(paused, now)
    if active.next_cycle:
        return Opening(active, orders)
    # With no cycle left there is nothing to go on with: it ends once its last order is over.
    return Opening(replace(active, state=paused.state, resume_time=paused.resume_time), orders)


def _stored(opening: Opening) -> StandingOrder:
    """The standing order as `advance` has stored it."""
    return replace(opening.standing_order, version=opening.standing_order.version + 1)
