"""What is known of a customer: whether it is still needed, and how it is erased."""

from datetime import datetime
from typing import NamedTuple

from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query, scalar
from services.scheduler.domain.ids import CustomerId, MerchantId, StandingOrderId


class CustomerOrder(NamedTuple):
    """A cycle of a customer's standing order; None where it has no order yet."""

    standing_order: StandingOrderId
    cycle: int | None


_NEEDED: Query[StandingOrderId] = Query(
    """
    SELECT standing_order FROM standing_orders
    WHERE merchant = :merchant AND customer = :customer
      AND (state IN ('ACTIVE', 'PAUSED') OR EXISTS (
        SELECT FROM orders
        WHERE orders.standing_order = standing_orders.standing_order
          AND orders.merchant = standing_orders.merchant
          AND (orders.state IN ('UPCOMING', 'AWAITING_PAYMENT', 'HELD')
               OR orders.late_payment_until_time IS NOT NULL)))
    ORDER BY standing_order LIMIT :limit
    """,
    scalar,
)

_ERASE_STANDING_ORDERS = Command("""
    UPDATE standing_orders SET title = '', ship_to = '', tax_id = '', changes = '{}', import_hash = '',
        version = version + 1, update_time = :now
    WHERE merchant = :merchant AND customer = :customer AND state IN ('CANCELLED', 'COMPLETED')
      AND (title <> '' OR ship_to <> '' OR tax_id <> '' OR changes <> '{}' OR import_hash <> '')
""")

# The index of standing orders finds them, as it finds those that are listed.
_ERASE_ORDERS = Command("""
    UPDATE orders SET title = '', ship_to = '', tax_id = '', update_time = :now
    WHERE merchant = :merchant AND (title <> '' OR ship_to <> '' OR tax_id <> '')
      AND standing_order IN (
        SELECT standing_order FROM standing_orders
        WHERE merchant = :merchant AND customer = :customer AND state IN ('CANCELLED', 'COMPLETED'))
""")

_DELETE_LINKS = Command("""
    DELETE FROM action_links
    WHERE merchant = :merchant AND standing_order IN (
        SELECT standing_order FROM standing_orders
        WHERE merchant = :merchant AND customer = :customer)
""")

_ERASE_PURCHASES = Command(
    "DELETE FROM purchases WHERE customer = :customer AND merchant = :merchant"
)

_ORDERS = Query(
    """
    SELECT standing_order, cycle FROM standing_orders
    LEFT JOIN orders USING (merchant, standing_order)
    WHERE merchant = :merchant AND standing_orders.customer = :customer
    """,
    CustomerOrder,
)


async def needed_by(
    tx: Connection, merchant: MerchantId, customer: CustomerId, limit: int
) -> list[StandingOrderId]:
    """The first of the standing orders of a customer that have not ended or have an open order.

    One that lapsed and can still be paid late is open.
    """
    return await _NEEDED.all(tx, merchant=merchant, customer=customer, limit=limit)


async def erase(tx: Connection, merchant: MerchantId, customer: CustomerId, now: datetime) -> None:
    """Erase the addresses and titles of what has ended, and what was bought elsewhere."""
    await _ERASE_STANDING_ORDERS.run(tx, merchant=merchant, customer=customer, now=now)
    await _ERASE_ORDERS.run(tx, merchant=merchant, customer=customer, now=now)
    await _DELETE_LINKS.run(tx, merchant=merchant, customer=customer)
    await _ERASE_PURCHASES.run(tx, merchant=merchant, customer=customer)


async def of_customer(
    tx: Connection, merchant: MerchantId, customer: CustomerId
) -> list[CustomerOrder]:
    """A customer's orders by standing order and cycle; one without a cycle where there is none."""
    return await _ORDERS.all(tx, merchant=merchant, customer=customer)
