"""Rows of purchases made elsewhere, and the standing orders that they could repeat."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.domain.ids import CustomerId, MerchantId, StandingOrderId
from services.scheduler.domain.purchases import PurchaseKey

# Purchases may be reported in any order.
_RECORD = text("""
    INSERT INTO purchases (merchant, customer, product, purchase_time)
    SELECT :merchant, :customer, product, :purchase_time
    FROM unnest(CAST(:product AS text[])) AS bought (product)
    ON CONFLICT (customer, merchant, product) DO UPDATE
    SET purchase_time = greatest(purchases.purchase_time, excluded.purchase_time)
""")

_LAST = text("""
    SELECT purchases.* FROM purchases
    JOIN unnest(CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:product AS text[]))
      AS asked (merchant, customer, product) USING (merchant, customer, product)
""")

_COUNTING = text("""
    SELECT standing_order FROM standing_orders
    WHERE merchant = :merchant AND customer = :customer AND state IN ('ACTIVE', 'PAUSED')
      AND EXISTS (SELECT FROM jsonb_array_elements(items) AS item
                  WHERE item ->> 0 = ANY (CAST(:product AS text[])))
      AND (next_due_time - repurchase_window < :purchase_time
        OR EXISTS (SELECT FROM orders
                   WHERE orders.standing_order = standing_orders.standing_order
                     AND orders.merchant = standing_orders.merchant
                     AND orders.state IN ('UPCOMING', 'HELD')
                     AND orders.due_time - repurchase_window < :purchase_time))
    ORDER BY standing_order
""")

# No constraint can say that a customer has a product in one standing order only: the table is
# distributed by standing order, and a caller may wish it otherwise. So those who set up standing orders
# of one customer do it one after another, and nobody while a book with many customers is stored.
_LOCK_CUSTOMER = text("""
    SELECT pg_advisory_xact_lock_shared(hashtextextended(:merchant, 0)),
           pg_advisory_xact_lock(hashtextextended(:merchant || '/' || :customer, 0))
""")

_LOCK_MERCHANT = text("SELECT pg_advisory_xact_lock(hashtextextended(:merchant, 0))")

_FIRST_LIVE = text("""
    SELECT standing_order FROM standing_orders
    WHERE merchant = :merchant AND customer = :customer AND state IN ('ACTIVE', 'PAUSED')
      AND standing_order <> :standing_order
      AND EXISTS (SELECT FROM jsonb_array_elements(items) AS item
                  WHERE item ->> 0 = ANY (CAST(:product AS text[])))
    ORDER BY create_time, standing_order LIMIT 1
""")

_LIVE_OF_CUSTOMERS = text("""
    SELECT DISTINCT ON (customer, product) customer, item ->> 0 AS product, standing_order
    FROM standing_orders CROSS JOIN LATERAL jsonb_array_elements(items) AS item
    WHERE merchant = :merchant AND customer = ANY (CAST(:customer AS text[]))
      AND state IN ('ACTIVE', 'PAUSED')
    ORDER BY customer, product, create_time, standing_order
""")


async def record(
    tx: AsyncConnection,
    merchant: MerchantId,
    customer: CustomerId,
    products: Sequence[str],
    purchase_time: datetime,
) -> list[StandingOrderId]:
    """Store a purchase; returns the live standing orders with a coming cycle that it counts for."""
    bought = {"merchant": merchant, "customer": customer, "product": sorted(set(products))}
    await tx.execute(_RECORD, {**bought, "purchase_time": purchase_time})
    found = await tx.execute(_COUNTING, {**bought, "purchase_time": purchase_time})
    return list(found.scalars())


async def last(tx: AsyncConnection, keys: Iterable[PurchaseKey]) -> Mapping[PurchaseKey, datetime]:
    """When products were last bought; of those that never were, nothing."""
    asked = set(keys)
    rows = await tx.execute(
        _LAST,
        {
            "merchant": [key.merchant for key in asked],
            "customer": [key.customer for key in asked],
            "product": [key.product for key in asked],
        },
    )
    return {PurchaseKey(row.merchant, row.customer, row.product): row.purchase_time for row in rows}


async def lock_customer(tx: AsyncConnection, merchant: MerchantId, customer: CustomerId) -> None:
    """Wait for others that set up standing orders of this customer, until the transaction ends."""
    await tx.execute(_LOCK_CUSTOMER, {"merchant": merchant, "customer": customer})


async def first_live(
    tx: AsyncConnection,
    merchant: MerchantId,
    customer: CustomerId,
    standing_order: StandingOrderId,
    products: Sequence[str],
) -> StandingOrderId | None:
    """The oldest live standing order of a customer, but for one, with any of the products."""
    found = await tx.execute(
        _FIRST_LIVE,
        {
            "merchant": merchant,
            "customer": customer,
            "standing_order": standing_order,
            "product": list(products),
        },
    )
    return found.scalar_one_or_none()


async def lock_merchant(tx: AsyncConnection, merchant: MerchantId) -> None:
    """As `lock_customer`, for all of a merchant's customers at once."""
    await tx.execute(_LOCK_MERCHANT, {"merchant": merchant})


async def live_of_customers(
    tx: AsyncConnection, merchant: MerchantId, customers: Iterable[str]
) -> Mapping[tuple[str, str], StandingOrderId]:
    """By customer and product, the oldest live standing order that has it."""
    rows = await tx.execute(
        _LIVE_OF_CUSTOMERS, {"merchant": merchant, "customer": sorted(set(customers))}
    )
    return {(row.customer, row.product): row.standing_order for row in rows}
