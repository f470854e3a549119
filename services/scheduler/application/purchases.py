"""What customers buy elsewhere."""

from collections.abc import Sequence
from datetime import datetime

from services.runtime.db.pool import Connection
from services.runtime.mutations import Applied
from services.scheduler.domain.ids import CustomerId, MerchantId
from services.scheduler.names import standing_order_name
from services.scheduler.store import purchases


async def record(
    tx: Connection,
    merchant: MerchantId,
    customer: CustomerId,
    products: Sequence[str],
    purchase_time: datetime,
) -> Applied[list[str]]:
    """Remember a purchase; the names of the standing orders that it counts for."""
    counting = await purchases.record(tx, merchant, customer, products, purchase_time)
    return Applied([standing_order_name(merchant, one) for one in counting])
