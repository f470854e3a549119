"""What a forecast reads, in pages."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.domain.ids import MerchantId
from services.scheduler.domain.order import Order
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store.order_rows import order_of
from services.scheduler.store.standing_orders import standing_order_of

_LIVE = text("""
    SELECT * FROM standing_orders
    WHERE merchant = :merchant AND standing_order > :after AND next_due_time < :before
      AND (state = 'ACTIVE' OR (state = 'PAUSED' AND resume_time < :before))
    ORDER BY standing_order LIMIT :limit
""")

_OPEN = text("""
    SELECT * FROM orders
    WHERE merchant = :merchant AND due_time >= :from AND due_time < :before
      AND state IN ('UPCOMING', 'HELD', 'AWAITING_PAYMENT')
      AND (standing_order, cycle) > (:after_standing_order, :after_cycle)
    ORDER BY standing_order, cycle LIMIT :limit
""")


async def live_standing_orders(
    tx: AsyncConnection, merchant: MerchantId, before: datetime, after: str, limit: int
) -> list[StandingOrder]:
    """Standing orders by id, after an id, that bill before an instant or may do so."""
    rows = await tx.execute(
        _LIVE, {"merchant": merchant, "before": before, "after": after, "limit": limit}
    )
    return [standing_order_of(row) for row in rows]


async def open_orders(
    tx: AsyncConnection,
    merchant: MerchantId,
    due_from: datetime,
    due_before: datetime,
    after: tuple[str, int],
    limit: int,
) -> list[Order]:
    """Orders that are not over and due between two instants, after a position."""
    rows = await tx.execute(
        _OPEN,
        {
            "merchant": merchant,
            "from": due_from,
            "before": due_before,
            "after_standing_order": after[0],
            "after_cycle": after[1],
            "limit": limit,
        },
    )
    return [order_of(row) for row in rows]
