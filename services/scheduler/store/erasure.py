"""What is known of a customer: whether it is still needed, and how it is erased."""

from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.domain.ids import CustomerId, MerchantId, StandingOrderId

_NEEDED = text("""
    SELECT standing_order FROM standing_orders
    WHERE merchant = :merchant AND customer = :customer
      AND (state IN ('ACTIVE', 'PAUSED') OR EXISTS (
        SELECT FROM orders
        WHERE orders.standing_order = standing_orders.standing_order
          AND orders.merchant = standing_orders.merchant
          AND orders.state IN ('UPCOMING', 'AWAITING_PAYMENT', 'HELD')))
    ORDER BY standing_order LIMIT :limit
""")

_ERASE_STANDING_ORDERS = text("""
    UPDATE standing_orders SET title = '', ship_to = '', changes = '{}', import_hash = '',
        version = version + 1, update_time = :now
    WHERE merchant = :merchant AND customer = :customer AND state IN ('CANCELLED', 'COMPLETED')
      AND (title <> '' OR ship_to <> '' OR changes <> '{}' OR import_hash <> '')
""")

# The index of standing orders finds them, as it finds those that are listed.
_ERASE_ORDERS = text("""
    UPDATE orders SET title = '', ship_to = '', update_time = :now
    WHERE merchant = :merchant AND (title <> '' OR ship_to <> '')
      AND standing_order IN (
        SELECT standing_order FROM standing_orders
        WHERE merchant = :merchant AND customer = :customer AND state IN ('CANCELLED', 'COMPLETED'))
""")

_ERASE_PURCHASES = text("DELETE FROM purchases WHERE customer = :customer AND merchant = :merchant")

_ORDERS = text("""
    SELECT standing_order, cycle FROM standing_orders
    LEFT JOIN orders USING (merchant, standing_order)
    WHERE merchant = :merchant AND standing_orders.customer = :customer
""")


async def needed_by(
    tx: AsyncConnection, merchant: MerchantId, customer: CustomerId, limit: int
) -> list[StandingOrderId]:
    """The first of the customer's standing orders that have not ended, or have an open order."""
    found = await tx.execute(_NEEDED, {"merchant": merchant, "customer": customer, "limit": limit})
    return list(found.scalars())


async def erase(
    tx: AsyncConnection, merchant: MerchantId, customer: CustomerId, now: datetime
) -> None:
    """Erase the addresses and titles of what has ended, and what was bought elsewhere."""
    key = {"merchant": merchant, "customer": customer}
    await tx.execute(_ERASE_STANDING_ORDERS, {**key, "now": now})
    await tx.execute(_ERASE_ORDERS, {**key, "now": now})
    await tx.execute(_ERASE_PURCHASES, key)


async def of_customer(tx: AsyncConnection, merchant: MerchantId, customer: CustomerId) -> list[Any]:
    """A customer's orders by standing order and cycle; one without a cycle where there is none."""
    return list(await tx.execute(_ORDERS, {"merchant": merchant, "customer": customer}))
