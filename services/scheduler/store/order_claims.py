"""Claims of orders with something due."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from services.runtime.db import leases
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query
from services.scheduler.domain.ids import OrderKey
from services.scheduler.domain.order import Order, OrderState
from services.scheduler.store.order_rows import OrderRow, arrays_of, order_of


class _TimeRow(NamedTuple):
    time: datetime | None


_CLAIM_TO_COLLECT = Query(
    """
    UPDATE order_rows SET claim_time = now()
    FROM (
        SELECT standing_order, merchant, cycle FROM orders
        WHERE state = 'UPCOMING' AND collect_time <= :now
          AND (claim_time IS NULL OR claim_time < now() - make_interval(secs => :claim_seconds))
        ORDER BY collect_time LIMIT :limit FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE order_rows.standing_order = due.standing_order AND order_rows.merchant = due.merchant
      AND order_rows.cycle = due.cycle
    RETURNING order_rows.*
    """,
    OrderRow,
)

_CLAIM_HELD = Query(
    """
    UPDATE order_rows SET claim_time = now()
    FROM (
        SELECT standing_order, merchant, cycle FROM orders
        WHERE state = 'HELD' AND recheck_time <= :now
          AND (claim_time IS NULL OR claim_time < now() - make_interval(secs => :claim_seconds))
        ORDER BY recheck_time LIMIT :limit FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE order_rows.standing_order = due.standing_order AND order_rows.merchant = due.merchant
      AND order_rows.cycle = due.cycle
    RETURNING order_rows.*
    """,
    OrderRow,
)

_RELEASE = Command("""
    UPDATE orders SET claim_time = NULL
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
      AS given (merchant, standing_order, cycle)
    WHERE orders.standing_order = given.standing_order AND orders.merchant = given.merchant
      AND orders.cycle = given.cycle
""")

_FIRST_TO_COLLECT = Query(
    "SELECT min(collect_time) AS time FROM orders WHERE state = 'UPCOMING'", _TimeRow
)
_FIRST_HELD = Query("SELECT min(recheck_time) AS time FROM orders WHERE state = 'HELD'", _TimeRow)


# By the state of what is claimed.
_CLAIMS = {OrderState.UPCOMING: _CLAIM_TO_COLLECT, OrderState.HELD: _CLAIM_HELD}
_FIRSTS = {OrderState.UPCOMING: _FIRST_TO_COLLECT, OrderState.HELD: _FIRST_HELD}


async def claim(tx: Connection, state: OrderState, now: datetime, limit: int) -> list[Order]:
    """Claim announced orders that are to be collected, or held ones to be looked at again.

    Those that have been due for longest come first.
    """
    claim_seconds = leases.SUITE.seconds
    rows = await _CLAIMS[state].all(tx, now=now, limit=limit, claim_seconds=claim_seconds)
    return [order_of(row) for row in rows]


async def first_due_time(tx: Connection, state: OrderState) -> datetime | None:
    """When the first order in a state is due, claimed or not."""
    return (await _FIRSTS[state].one(tx)).time


async def release(tx: Connection, keys: Sequence[OrderKey]) -> None:
    """Give claims back, so that they are taken up again at once."""
    await _RELEASE.run(tx, **arrays_of(keys))
