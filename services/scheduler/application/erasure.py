"""What is known of a customer, erased when they ask for it."""

from datetime import datetime

from services.runtime.db.idempotency import forget_answers
from services.runtime.db.pool import Connection
from services.runtime.errors import wrong_state
from services.runtime.mutations import Applied
from services.scheduler.domain.ids import CustomerId, MerchantId, OrderKey
from services.scheduler.names import order_name, standing_order_name
from services.scheduler.store import erasure, purchases

NAMED_MAX_STANDING_ORDERS = 3


async def erase_customer(
    tx: Connection, merchant: MerchantId, customer: CustomerId, now: datetime
) -> Applied[None]:
    """Erase what is known of a customer who orders nothing any more.

    Raises FAILED_PRECONDITION CUSTOMER_HAS_STANDING_ORDERS.
    """
    # Whoever sets up a standing order for them waits.
    await purchases.lock_customer(tx, merchant, customer)
    await _refuse_needed(tx, merchant, customer)
    await erasure.erase(tx, merchant, customer, now)
    await forget_answers(tx, merchant, await _resources(tx, merchant, customer))
    return Applied(None)


async def _refuse_needed(tx: Connection, merchant: MerchantId, customer: CustomerId) -> None:
    needed = await erasure.needed_by(tx, merchant, customer, NAMED_MAX_STANDING_ORDERS)
    if needed:
        listed = ", ".join(standing_order_name(merchant, one) for one in needed)
        raise wrong_state(
            "CUSTOMER_HAS_STANDING_ORDERS",
            f"not ended, or with an order that is not over: {listed}",
            standing_orders=listed,
        )


async def _resources(tx: Connection, merchant: MerchantId, customer: CustomerId) -> set[str]:
    """The names of a customer's standing orders and orders."""
    rows = await erasure.of_customer(tx, merchant, customer)
    return {
        *(standing_order_name(merchant, row.standing_order) for row in rows),
        *(
            order_name(OrderKey(merchant, row.standing_order, row.cycle))
            for row in rows
            if row.cycle is not None
        ),
    }
