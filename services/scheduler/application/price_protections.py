"""Customers are notified once that the protection of their prices is about to end."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from services.runtime.db.pool import Connection
from services.runtime.messaging import outbox
from services.scheduler.domain.price_agreements import with_ending_notified
from services.scheduler.domain.price_protection import first_unprotected_time, is_over
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.publishers import price_protection_ending
from services.scheduler.store import price_protections as store


async def notify_endings(tx: Connection, found: Sequence[StandingOrder], now: datetime) -> None:
    """Publish of each that its protection is about to end; of one that is over already, nothing.

    That happens where a standing order was paused when there was something to say.
    """
    wanted = [
        replace(one, price_agreements=with_ending_notified(one.price_agreements)) for one in found
    ]
    unchanged = await store.put_notified(tx, wanted)
    await outbox.put(
        tx,
        [
            price_protection_ending(one, first_time, now)
            for one in wanted
            if one.key in unchanged
            and not is_over(one, now)
            and (first_time := first_unprotected_time(one)) is not None
        ],
    )
