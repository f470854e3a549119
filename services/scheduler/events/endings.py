"""Standing orders that have come to their end: the only place that sees it."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime.messaging import outbox
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.events.facts import standing_order_ended
from services.scheduler.store import standing_orders

# Merchant and id.
Key = tuple[str, str]


async def end_finished(
    tx: AsyncConnection, keys: Sequence[Key], now: datetime
) -> dict[Key, StandingOrder]:
    """End those that have no further cycle and no open order, and publish it; returns them.

    Whatever takes the next cycle away, or ends an order, calls it in the same transaction.
    """
    if not keys:
        return {}
    found = await standing_orders.complete(tx, keys, now)
    await outbox.put(tx, [standing_order_ended(one, now) for one in found])
    return {(one.merchant, one.standing_order): one for one in found}
