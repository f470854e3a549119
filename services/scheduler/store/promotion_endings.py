"""Standing orders whose customers are to be notified that a promotion ends."""

from collections.abc import Sequence
from datetime import datetime

from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query
from services.scheduler.domain.ids import StandingOrderKey
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store.standing_order_rows import (
    StandingOrderRow,
    arrays_of,
    standing_order_of,
)

_ENDING = Query(
    """
    SELECT standing_order_rows.* FROM (
        SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
        CROSS JOIN LATERAL (
            SELECT merchant, standing_order FROM standing_orders
            WHERE state = 'ACTIVE' AND bucket = leased.bucket AND promotion_notice_time <= :now
              AND merchant || '/' || standing_order <> ALL(CAST(:left_out AS text[]))
            ORDER BY promotion_notice_time LIMIT :limit) AS due
        LIMIT :limit) AS due
    JOIN standing_order_rows USING (merchant, standing_order)
    """,
    StandingOrderRow,
)

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


async def ending(
    tx: Connection,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    left_out: Sequence[StandingOrderKey],
) -> list[StandingOrder]:
    """Standing orders whose customer is to be notified that the promotion is about to end."""
    rows = await _ENDING.all(
        tx, buckets=buckets, now=now, limit=limit, left_out=["/".join(key) for key in left_out]
    )
    return [standing_order_of(row) for row in rows]


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
