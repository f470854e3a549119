"""Rows of purchases made elsewhere, and the standing orders that they could repeat."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query, scalar
from services.scheduler.domain.ids import CustomerId, MerchantId, StandingOrderId
from services.scheduler.domain.purchases import PurchaseKey


class _PurchaseRow(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    product: str
    purchase_time: datetime


class _LiveProductRow(NamedTuple):
    customer: CustomerId
    product: str
    standing_order: StandingOrderId


# Purchases may be reported in any order.
_RECORD = Command("""
    INSERT INTO purchases (merchant, customer, product, purchase_time)
    SELECT :merchant, :customer, product, :purchase_time
    FROM unnest(CAST(:product AS text[])) AS bought (product)
    ON CONFLICT (customer, merchant, product) DO UPDATE
    SET purchase_time = greatest(purchases.purchase_time, excluded.purchase_time)
""")

_LAST = Query(
    """
    SELECT merchant, customer, product, purchase_time FROM purchases
    JOIN unnest(CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:product AS text[]))
      AS asked (merchant, customer, product) USING (merchant, customer, product)
    """,
    _PurchaseRow,
)

_COUNTING: Query[StandingOrderId] = Query(
    """
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
    """,
    scalar,
)

# No constraint can say that a customer has a product in one standing order only: the table is
# distributed by standing order, and a caller may wish it otherwise. So those who set up standing orders
# of one customer do it one after another, and nobody while a book with many customers is stored.
_LOCK_CUSTOMER = Command("""
    SELECT FROM pg_advisory_xact_lock_shared(hashtextextended(:merchant, 0)),
                pg_advisory_xact_lock(hashtextextended(:merchant || '/' || :customer, 0))
""")

_LOCK_MERCHANT = Command("SELECT FROM pg_advisory_xact_lock(hashtextextended(:merchant, 0))")

_FIRST_LIVE: Query[StandingOrderId] = Query(
    """
    SELECT standing_order FROM standing_orders
    WHERE merchant = :merchant AND customer = :customer AND state IN ('ACTIVE', 'PAUSED')
      AND standing_order <> :standing_order
      AND EXISTS (SELECT FROM jsonb_array_elements(items) AS item
                  WHERE item ->> 0 = ANY (CAST(:product AS text[])))
    ORDER BY create_time, standing_order LIMIT 1
    """,
    scalar,
)

_LIVE_OF_CUSTOMERS = Query(
    """
    SELECT DISTINCT ON (customer, product) customer, item ->> 0 AS product, standing_order
    FROM standing_orders CROSS JOIN LATERAL jsonb_array_elements(items) AS item
    WHERE merchant = :merchant AND customer = ANY (CAST(:customer AS text[]))
      AND state IN ('ACTIVE', 'PAUSED')
    ORDER BY customer, product, create_time, standing_order
    """,
    _LiveProductRow,
)


async def record(
    tx: Connection,
    merchant: MerchantId,
    customer: CustomerId,
    products: Sequence[str],
    purchase_time: datetime,
) -> list[StandingOrderId]:
    """Store a purchase; returns the live standing orders with a coming cycle that it counts for."""
    purchase = {
        "merchant": merchant,
        "customer": customer,
        "product": sorted(set(products)),
        "purchase_time": purchase_time,
    }
    await _RECORD.run(tx, **purchase)
    return await _COUNTING.all(tx, **purchase)


async def last(tx: Connection, keys: Iterable[PurchaseKey]) -> Mapping[PurchaseKey, datetime]:
    """When products were last bought; of those that never were, nothing."""
    asked = set(keys)
    rows = await _LAST.all(
        tx,
        merchant=[key.merchant for key in asked],
        customer=[key.customer for key in asked],
        product=[key.product for key in asked],
    )
    return {PurchaseKey(row.merchant, row.customer, row.product): row.purchase_time for row in rows}


async def lock_customer(tx: Connection, merchant: MerchantId, customer: CustomerId) -> None:
    """Wait for others that set up standing orders of this customer, until the transaction ends."""
    await _LOCK_CUSTOMER.run(tx, merchant=merchant, customer=customer)


async def first_live(
    tx: Connection,
    merchant: MerchantId,
    customer: CustomerId,
    standing_order: StandingOrderId,
    products: Sequence[str],
) -> StandingOrderId | None:
    """The oldest live standing order of a customer, but for one, with any of the products."""
    return await _FIRST_LIVE.one_or_none(
        tx,
        merchant=merchant,
        customer=customer,
        standing_order=standing_order,
        product=list(products),
    )


async def lock_merchant(tx: Connection, merchant: MerchantId) -> None:
    """As `lock_customer`, for all of a merchant's customers at once."""
    await _LOCK_MERCHANT.run(tx, merchant=merchant)


async def live_of_customers(
    tx: Connection, merchant: MerchantId, customers: Iterable[str]
) -> Mapping[tuple[str, str], StandingOrderId]:
    """By customer and product, the oldest live standing order that has it."""
    rows = await _LIVE_OF_CUSTOMERS.all(tx, merchant=merchant, customer=sorted(set(customers)))
    return {(row.customer, row.product): row.standing_order for row in rows}
