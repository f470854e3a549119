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


def _standing_orders_due(condition: str, time: str) -> Query[StandingOrderRow]:
    """Those that a condition holds of, by a time of theirs."""
    return Query(
        f"""
        SELECT standing_order_rows.* FROM (
            SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
            CROSS JOIN LATERAL (
                SELECT merchant, standing_order FROM standing_orders
                WHERE {condition} AND bucket = leased.bucket AND {time} <= :now
                  AND merchant || '/' || standing_order <> ALL(CAST(:left_out AS text[]))
                ORDER BY {time} LIMIT :limit) AS due
            LIMIT :limit) AS due
        JOIN standing_order_rows USING (merchant, standing_order)
        """,  # noqa: S608 - fixed texts
        StandingOrderRow,
    )


def _orders_due(time: str) -> Query[OrderRow]:
    """Those that have this time."""
    return Query(
        f"""
        SELECT order_rows.* FROM (
            SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
            CROSS JOIN LATERAL (
                SELECT merchant, standing_order, cycle FROM orders
                WHERE bucket = leased.bucket AND {time} <= :now
                  AND merchant || '/' || standing_order || '/' || cycle
                      <> ALL(CAST(:left_out AS text[]))
                ORDER BY {time} LIMIT :limit) AS due
            LIMIT :limit) AS due
        JOIN order_rows USING (merchant, standing_order, cycle)
        """,  # noqa: S608 - fixed texts
        OrderRow,
    )


_TO_PREPARE = _standing_orders_due("state = 'ACTIVE'", "prepare_time")
_LEADS_TO_CHECK = _standing_orders_due("true", "lead_check_time")
_PROMOTIONS_ENDING = _standing_orders_due("state = 'ACTIVE'", "promotion_notice_time")
_PROTECTIONS_ENDING = _standing_orders_due("state = 'ACTIVE'", "protection_notice_time")
# The earlier of two times, either of which may be missing: a pause is over when it ends by itself, or
# when the last cycle has fallen due in it.
_TO_RESUME = _standing_orders_due(
    "state = 'PAUSED' AND next_cycle IS NOT NULL", "least(resume_time, last_due_time)"
)
_TO_COLLECT, _HELD = _orders_due("collect_time"), _orders_due("recheck_time")
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
