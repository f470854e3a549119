"""What is known of a customer: bought elsewhere, and erased when they ask for it."""

from collections.abc import Sequence
from datetime import datetime

from services.runtime.db.idempotency import forget_answers
from services.runtime.db.pool import Connection
from services.runtime.errors import wrong_state
from services.runtime.mutations import Applied
from services.scheduler.domain.ids import CustomerId, MerchantId, OrderKey
from services.scheduler.names import order_name, standing_order_name
from services.scheduler.store import erasure, purchases

NAMED_MAX_STANDING_ORDERS = 3


async def record_purchase(
    tx: Connection,
    merchant: MerchantId,
    customer: CustomerId,
    products: Sequence[str],
    purchase_time: datetime,
) -> Applied[list[str]]:
    """Store a purchase; the names of the standing orders that it counts for."""
    counting = await purchases.record(tx, merchant, customer, products, purchase_time)
    return Applied([standing_order_name(merchant, standing_order) for standing_order in counting])


async def erase(
    tx: Connection, merchant: MerchantId, customer: CustomerId, now: datetime
) -> Applied[None]:
    """Erase what is known of a customer who orders nothing any more.

    Raises FAILED_PRECONDITION CUSTOMER_HAS_STANDING_ORDERS.
    """
    # Whoever sets up a standing order for them waits.
    await purchases.lock_customer(tx, merchant, customer)
    needed = await erasure.needed_by(tx, merchant, customer, NAMED_MAX_STANDING_ORDERS)
    if needed:
        listed = ", ".join(
            standing_order_name(merchant, standing_order) for standing_order in needed
        )
        raise wrong_state(
            "CUSTOMER_HAS_STANDING_ORDERS",
            f"not ended, or with an order that is not over: {listed}",
            standing_orders=listed,
        )
    await erasure.erase(tx, merchant, customer, now)
    resources = set()
    for standing_order, cycle in await erasure.of_customer(tx, merchant, customer):
        resources.add(standing_order_name(merchant, standing_order))
        if cycle is not None:
            resources.add(order_name(OrderKey(merchant, standing_order, cycle)))
    await forget_answers(tx, merchant, resources)
    return Applied(None)
