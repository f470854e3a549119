"""Standing orders whose customers are to be notified that a promotion ends."""

from collections.abc import Sequence

from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query
from services.scheduler.domain.ids import StandingOrderKey
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store.standing_order_rows import arrays_of

# What was changed since it was read is left as it is, and read again.
_PUT_NOTIFIED = Query(
    """
    UPDATE standing_orders
    SET ending_promotion = NULL, promotion_notice_time = NULL, version = standing_orders.version + 1
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:version AS int[]))
      AS notified (merchant, standing_order, version)
    WHERE standing_orders.standing_order = notified.standing_order
      AND standing_orders.merchant = notified.merchant AND standing_orders.version = notified.version
    RETURNING standing_orders.merchant, standing_orders.standing_order
    """,
    StandingOrderKey,
)


async def put_notified(
    tx: Connection, standing_orders: Sequence[StandingOrder]
) -> set[StandingOrderKey]:
    """Remember whose customer was notified; returns those not changed since they were read."""
    notified = await _PUT_NOTIFIED.all(
        tx,
        **arrays_of([one.key for one in standing_orders]),
        version=[one.version for one in standing_orders],
    )
    return set(notified)
