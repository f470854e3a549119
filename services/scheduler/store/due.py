"""Standing orders and orders with something due, in some buckets, the longest due first in each.

Keys that have failed alone are left out while they wait (`Postponed` of the runtime).
"""

from collections.abc import Sequence
from datetime import datetime

from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query
from services.scheduler.domain.ids import OrderKey, StandingOrderKey
from services.scheduler.domain.order import Order, OrderState
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store.order_rows import OrderRow, order_of
from services.scheduler.store.standing_order_rows import StandingOrderRow, standing_order_of

_TO_PREPARE = Query(
    """
    SELECT standing_order_rows.* FROM (
        SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
        CROSS JOIN LATERAL (
            SELECT merchant, standing_order FROM standing_orders
            WHERE state = 'ACTIVE' AND bucket = leased.bucket AND prepare_time <= :now
              AND merchant || '/' || standing_order <> ALL(CAST(:left_out AS text[]))
            ORDER BY prepare_time LIMIT :limit) AS due
        LIMIT :limit) AS due
    JOIN standing_order_rows USING (merchant, standing_order)
    """,
    StandingOrderRow,
)

_LEADS_TO_CHECK = Query(
    """
    SELECT standing_order_rows.* FROM (
        SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
        CROSS JOIN LATERAL (
            SELECT merchant, standing_order FROM standing_orders
            WHERE bucket = leased.bucket AND lead_check_time <= :now
              AND merchant || '/' || standing_order <> ALL(CAST(:left_out AS text[]))
            ORDER BY lead_check_time LIMIT :limit) AS due
        LIMIT :limit) AS due
    JOIN standing_order_rows USING (merchant, standing_order)
    """,
    StandingOrderRow,
)

_PROMOTIONS_ENDING = Query(
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

_PROTECTIONS_ENDING = Query(
    """
    SELECT standing_order_rows.* FROM (
        SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
        CROSS JOIN LATERAL (
            SELECT merchant, standing_order FROM standing_orders
            WHERE state = 'ACTIVE' AND bucket = leased.bucket AND protection_notice_time <= :now
              AND merchant || '/' || standing_order <> ALL(CAST(:left_out AS text[]))
            ORDER BY protection_notice_time LIMIT :limit) AS due
        LIMIT :limit) AS due
    JOIN standing_order_rows USING (merchant, standing_order)
    """,
    StandingOrderRow,
)

# The earlier of two times, either of which may be missing: a pause is over when it ends by itself, or
# when the last cycle has fallen due in it.
_TO_RESUME = Query(
    """
    SELECT standing_order_rows.* FROM (
        SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
        CROSS JOIN LATERAL (
            SELECT merchant, standing_order FROM standing_orders
            WHERE state = 'PAUSED' AND next_cycle IS NOT NULL AND bucket = leased.bucket
              AND least(resume_time, last_due_time) <= :now
              AND merchant || '/' || standing_order <> ALL(CAST(:left_out AS text[]))
            ORDER BY least(resume_time, last_due_time) LIMIT :limit) AS due
        LIMIT :limit) AS due
    JOIN standing_order_rows USING (merchant, standing_order)
    """,
    StandingOrderRow,
)

_TO_COLLECT = Query(
    """
    SELECT order_rows.* FROM (
        SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
        CROSS JOIN LATERAL (
            SELECT merchant, standing_order, cycle FROM orders
            WHERE bucket = leased.bucket AND collect_time <= :now
              AND merchant || '/' || standing_order || '/' || cycle
                  <> ALL(CAST(:left_out AS text[]))
            ORDER BY collect_time LIMIT :limit) AS due
        LIMIT :limit) AS due
    JOIN order_rows USING (merchant, standing_order, cycle)
    """,
    OrderRow,
)

_HELD = Query(
    """
    SELECT order_rows.* FROM (
        SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
        CROSS JOIN LATERAL (
            SELECT merchant, standing_order, cycle FROM orders
            WHERE bucket = leased.bucket AND recheck_time <= :now
              AND merchant || '/' || standing_order || '/' || cycle
                  <> ALL(CAST(:left_out AS text[]))
            ORDER BY recheck_time LIMIT :limit) AS due
        LIMIT :limit) AS due
    JOIN order_rows USING (merchant, standing_order, cycle)
    """,
    OrderRow,
)

_ORDERS = {OrderState.UPCOMING: _TO_COLLECT, OrderState.HELD: _HELD}


async def to_prepare(
    tx: Connection,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    left_out: Sequence[StandingOrderKey],
) -> list[StandingOrder]:
    """Standing orders with a cycle to prepare."""
    return await _standing_orders(_TO_PREPARE, tx, buckets, now, limit, left_out)


async def leads_to_check(
    tx: Connection,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    left_out: Sequence[StandingOrderKey],
) -> list[StandingOrder]:
    """Standing orders of which it is to be asked how early their charges are announced."""
    return await _standing_orders(_LEADS_TO_CHECK, tx, buckets, now, limit, left_out)


async def promotions_ending(
    tx: Connection,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    left_out: Sequence[StandingOrderKey],
) -> list[StandingOrder]:
    """Standing orders whose customer is to be notified that the promotion is about to end."""
    return await _standing_orders(_PROMOTIONS_ENDING, tx, buckets, now, limit, left_out)


async def to_resume(
    tx: Connection,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    left_out: Sequence[StandingOrderKey],
) -> list[StandingOrder]:
    """Paused standing orders whose pause or last cycle is over."""
    return await _standing_orders(_TO_RESUME, tx, buckets, now, limit, left_out)


async def protections_ending(
    tx: Connection,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    left_out: Sequence[StandingOrderKey],
) -> list[StandingOrder]:
    """Standing orders whose customer is to be notified that the protection is about to end."""
    return await _standing_orders(_PROTECTIONS_ENDING, tx, buckets, now, limit, left_out)


async def orders(
    tx: Connection,
    state: OrderState,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    left_out: Sequence[OrderKey],
) -> list[Order]:
    """Announced orders that are to be collected, or held ones to be looked at again."""
    names = [f"{key.merchant}/{key.standing_order}/{key.cycle}" for key in left_out]
    rows = await _ORDERS[state].all(tx, buckets=buckets, now=now, limit=limit, left_out=names)
    return [order_of(row) for row in rows]


async def _standing_orders(
    query: Query[StandingOrderRow],
    tx: Connection,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    left_out: Sequence[StandingOrderKey],
) -> list[StandingOrder]:
    names = ["/".join(key) for key in left_out]
    rows = await query.all(tx, buckets=buckets, now=now, limit=limit, left_out=names)
    return [standing_order_of(row) for row in rows]
