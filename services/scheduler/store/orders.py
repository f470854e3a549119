"""Rows of orders."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime.db import leases
from services.runtime.db.pool import copy
from services.scheduler.domain.ids import (
    CustomerId,
    MerchantId,
    OrderKey,
    StandingOrderId,
    StandingOrderKey,
)
from services.scheduler.domain.order import Decision, Order, OrderState
from services.scheduler.domain.rescheduling import LastOrder
from services.scheduler.store.order_rows import (
    CHANGING,
    COLUMNS,
    COPIED,
    JOINED,
    columns_of,
    dump_decisions,
    order_of,
    values_of,
)

_ARRAYS = ", ".join(
    f"CAST(:{name} AS {'text' if kind == 'jsonb' else kind}[])" for name, kind in COLUMNS.items()
)


def _typed(name: str) -> str:
    """A column out of an unnest, in the type of its table."""
    if name in JOINED:
        return f"coalesce(string_to_array(nullif(given.{name}, ''), ','), '{{}}')"
    return f"CAST(given.{name} AS jsonb)" if COLUMNS[name] == "jsonb" else f"given.{name}"


_GIVEN = f"unnest({_ARRAYS}) AS given ({', '.join(COLUMNS)})"

# Statements that are given keys compare `state || ''`, which no index serves: by the index of a state
# the planner would read every order that is in it, wherever the statistics lag behind.

# An order that left the expected state meanwhile (was skipped, cancelled), or that the customer said
# yes to, stays as it is.
_UPDATE = text(f"""
    UPDATE orders SET
        {", ".join(f"{name} = {_typed(name)}" for name in CHANGING if name != "history")},
        history = orders.history || CAST(given.history AS jsonb),
        update_time = :now, claim_time = NULL
    FROM {_GIVEN}
    WHERE orders.standing_order = given.standing_order AND orders.merchant = given.merchant
      AND orders.cycle = given.cycle AND orders.state || '' = :expected
      AND orders.confirmed_reasons = {_typed("confirmed_reasons")}
    RETURNING orders.merchant, orders.standing_order, orders.cycle
""")  # noqa: S608 - column names of this module

# Whoever is looking at the order finds it changed; it is free to be looked at again.
_CONFIRM = text("""
    UPDATE orders SET confirmed_reasons = :confirmed_reasons, recheck_time = :recheck_time,
        history = history || CAST(:history AS jsonb), update_time = :now, claim_time = NULL
    WHERE standing_order = :standing_order AND merchant = :merchant AND cycle = :cycle
      AND state = 'HELD'
""")

_GET = text("""
    SELECT * FROM orders
    WHERE standing_order = :standing_order AND merchant = :merchant AND cycle = :cycle
""")

_LIST = text("""
    SELECT * FROM orders
    WHERE merchant = :merchant
      AND (CAST(:standing_order AS text) IS NULL OR standing_order = :standing_order)
      AND (standing_order, cycle) > (:after_standing_order, :after_cycle)
      AND (CAST(:state AS text) IS NULL OR state = :state)
      -- The index of standing orders serves this one, so that orders need none of their own for it.
      AND (CAST(:customer AS text) IS NULL OR standing_order IN (
        SELECT standing_order FROM standing_orders
        WHERE merchant = :merchant AND customer = :customer))
      AND (CAST(:due_from AS timestamptz) IS NULL OR due_time >= :due_from)
      AND (CAST(:due_before AS timestamptz) IS NULL OR due_time < :due_before)
    ORDER BY standing_order, cycle LIMIT :limit
""")

_OPEN_LOCKED = text("""
    SELECT * FROM orders
    WHERE standing_order = :standing_order AND merchant = :merchant
      AND state IN ('UPCOMING', 'HELD', 'AWAITING_PAYMENT')
    ORDER BY cycle FOR UPDATE
""")

_WITHDRAWABLE_LOCKED = text("""
    SELECT orders.* FROM orders
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS asked (merchant, standing_order) USING (merchant, standing_order)
    WHERE state IN ('UPCOMING', 'HELD')
    ORDER BY standing_order, cycle FOR UPDATE OF orders
""")

_ANNOUNCED = text("""
    SELECT orders.* FROM orders
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS asked (merchant, standing_order) USING (merchant, standing_order)
    WHERE state || '' = 'UPCOMING'
    ORDER BY charge_not_before_time, standing_order, cycle
""")

_BY_KEY_LOCKED = text("""
    SELECT orders.* FROM orders
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
      AS asked (merchant, standing_order, cycle) USING (merchant, standing_order, cycle)
    ORDER BY standing_order, cycle FOR UPDATE OF orders
""")

_CLAIM_TO_COLLECT = text("""
    UPDATE orders SET claim_time = now()
    FROM (
        SELECT standing_order, merchant, cycle FROM orders
        WHERE state = 'UPCOMING' AND collect_time <= :now
          AND (claim_time IS NULL OR claim_time < now() - make_interval(secs => :claim_seconds))
        ORDER BY collect_time LIMIT :limit FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE orders.standing_order = due.standing_order AND orders.merchant = due.merchant
      AND orders.cycle = due.cycle
    RETURNING orders.*
""")

_CLAIM_HELD = text("""
    UPDATE orders SET claim_time = now()
    FROM (
        SELECT standing_order, merchant, cycle FROM orders
        WHERE state = 'HELD' AND recheck_time <= :now
          AND (claim_time IS NULL OR claim_time < now() - make_interval(secs => :claim_seconds))
        ORDER BY recheck_time LIMIT :limit FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE orders.standing_order = due.standing_order AND orders.merchant = due.merchant
      AND orders.cycle = due.cycle
    RETURNING orders.*
""")

_RELEASE = text("""
    UPDATE orders SET claim_time = NULL
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
      AS claimed (merchant, standing_order, cycle)
    WHERE orders.standing_order = claimed.standing_order AND orders.merchant = claimed.merchant
      AND orders.cycle = claimed.cycle
""")

_LAST = text("""
    SELECT cycle, local_date FROM orders
    WHERE standing_order = :standing_order AND merchant = :merchant
    ORDER BY cycle DESC LIMIT 1
""")

_NEXT_OPEN = text("""
    SELECT asked.merchant, asked.standing_order, asked.cycle,
           min(greatest(orders.due_time, orders.charge_not_before_time)) AS due_time
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
      AS asked (merchant, standing_order, cycle)
    JOIN orders ON orders.standing_order = asked.standing_order
      AND orders.merchant = asked.merchant AND orders.cycle > asked.cycle
    WHERE orders.state IN ('UPCOMING', 'HELD')
      AND greatest(orders.due_time, orders.charge_not_before_time) > :now
    GROUP BY asked.merchant, asked.standing_order, asked.cycle
""")

_FIRST_TO_COLLECT = text("SELECT min(collect_time) FROM orders WHERE state = 'UPCOMING'")
_FIRST_HELD = text("SELECT min(recheck_time) FROM orders WHERE state = 'HELD'")

_HISTORY = text("""
    SELECT history FROM orders
    WHERE standing_order = :standing_order AND merchant = :merchant AND cycle = :cycle
""")


async def insert(tx: AsyncConnection, orders: Sequence[Order], now: datetime) -> None:
    """Store new orders. Whoever does has moved their standing orders on, so none is there already."""
    if orders:
        rows = [(*values_of(order), now, now) for order in orders]
        await copy(tx, "orders", COPIED, rows)


async def update(
    tx: AsyncConnection, orders: Sequence[Order], expected: OrderState, now: datetime
) -> list[Order]:
    """Store changed orders, those that are still in the state that was expected; returns them."""
    if not orders:
        return []
    rows = await tx.execute(_UPDATE, {**columns_of(orders), "expected": expected, "now": now})
    changed = {OrderKey(row.merchant, row.standing_order, row.cycle) for row in rows}
    return [order for order in orders if order.key in changed]


async def confirm(tx: AsyncConnection, order: Order, now: datetime) -> None:
    """Store the customer's yes to a held order that is locked."""
    await tx.execute(
        _CONFIRM,
        {
            **_key(order.key),
            "confirmed_reasons": list(order.confirmed_reasons),
            "recheck_time": order.recheck_time,
            "history": dump_decisions(order.decisions),
            "now": now,
        },
    )


async def get(tx: AsyncConnection, key: OrderKey) -> Any:  # noqa: ANN401 - a row
    """The row of an order, for showing; None if there is none."""
    return (await tx.execute(_GET, _key(key))).one_or_none()


async def list_of_merchant(
    tx: AsyncConnection,
    merchant: MerchantId,
    *,
    standing_order: StandingOrderId | None,
    customer: CustomerId | None,
    state: str | None,
    due_from: datetime | None,
    due_before: datetime | None,
    after: tuple[str, int],
    limit: int,
) -> list[Any]:
    """Rows of orders by standing order and cycle, after a position."""
    rows = await tx.execute(
        _LIST,
        {
            "merchant": merchant,
            "standing_order": standing_order,
            "customer": customer,
            "state": state,
            "due_from": due_from,
            "due_before": due_before,
            "after_standing_order": after[0],
            "after_cycle": after[1],
            "limit": limit,
        },
    )
    return list(rows)


async def open_orders(
    tx: AsyncConnection, merchant: MerchantId, standing_order: StandingOrderId
) -> list[Order]:
    """The orders of a standing order that are not over, locked."""
    rows = await tx.execute(_OPEN_LOCKED, {"merchant": merchant, "standing_order": standing_order})
    return [order_of(row) for row in rows]


async def withdrawable(
    tx: AsyncConnection, standing_orders: Sequence[StandingOrderKey]
) -> list[Order]:
    """The announced and held orders of many standing orders (merchant, id), locked."""
    rows = await tx.execute(
        _WITHDRAWABLE_LOCKED,
        {
            "merchant": [merchant for merchant, _ in standing_orders],
            "standing_order": [standing_order for _, standing_order in standing_orders],
        },
    )
    return [order_of(row) for row in rows]


async def announced(
    tx: AsyncConnection, standing_orders: Sequence[StandingOrderKey]
) -> list[Order]:
    """The announced orders of many standing orders (merchant, id), the first to be charged first."""
    rows = await tx.execute(
        _ANNOUNCED,
        {
            "merchant": [merchant for merchant, _ in standing_orders],
            "standing_order": [standing_order for _, standing_order in standing_orders],
        },
    )
    return [order_of(row) for row in rows]


async def by_key(tx: AsyncConnection, keys: Sequence[OrderKey]) -> dict[OrderKey, Order]:
    """Many orders, locked."""
    rows = await tx.execute(_BY_KEY_LOCKED, _keys(keys))
    found = [order_of(row) for row in rows]
    return {order.key: order for order in found}


async def next_open_times(
    tx: AsyncConnection, keys: Sequence[OrderKey], now: datetime
) -> dict[OrderKey, datetime]:
    """By order, when the next one of its standing order is due that is announced or held already."""
    rows = await tx.execute(_NEXT_OPEN, {**_keys(keys), "now": now})
    return {OrderKey(row.merchant, row.standing_order, row.cycle): row.due_time for row in rows}


async def next_open_time(
    tx: AsyncConnection, merchant: MerchantId, standing_order: StandingOrderId, now: datetime
) -> datetime | None:
    """When the next order of a standing order is due that is announced or held already."""
    key = OrderKey(merchant, standing_order, 0)
    return (await next_open_times(tx, [key], now)).get(key)


async def claim_to_collect(tx: AsyncConnection, now: datetime, limit: int) -> list[Order]:
    """Claim announced orders whose time to be paid has come, the longest due first."""
    return await _claim(tx, _CLAIM_TO_COLLECT, now, limit)


async def claim_held(tx: AsyncConnection, now: datetime, limit: int) -> list[Order]:
    """Claim held orders that are to be looked at again, the longest due first."""
    return await _claim(tx, _CLAIM_HELD, now, limit)


async def release(tx: AsyncConnection, keys: Sequence[OrderKey]) -> None:
    """Give claims back, so that they are taken up again at once."""
    await tx.execute(_RELEASE, _keys(keys))


async def first_to_collect(tx: AsyncConnection) -> datetime | None:
    """When the next order is to be collected, claimed or not."""
    return (await tx.execute(_FIRST_TO_COLLECT)).scalar_one()  # type: ignore[no-any-return]


async def first_held(tx: AsyncConnection) -> datetime | None:
    """When the next held order is to be looked at, claimed or not."""
    return (await tx.execute(_FIRST_HELD)).scalar_one()  # type: ignore[no-any-return]


async def last(
    tx: AsyncConnection, merchant: MerchantId, standing_order: StandingOrderId
) -> LastOrder | None:
    """The last cycle that has an order, and its date."""
    found = await tx.execute(_LAST, {"merchant": merchant, "standing_order": standing_order})
    row = found.one_or_none()
    return LastOrder(row.cycle, row.local_date) if row else None


async def history(tx: AsyncConnection, key: OrderKey) -> list[Decision]:
    """What was decided about an order, the oldest first."""
    found = (await tx.execute(_HISTORY, _key(key))).scalar_one()
    return [
        Decision(datetime.fromisoformat(one["time"]), one["kind"], one["summary"], one["data"])
        for one in found
    ]


async def _claim(tx: AsyncConnection, claim: Any, now: datetime, limit: int) -> list[Order]:  # noqa: ANN401
    rows = await tx.execute(
        claim, {"now": now, "limit": limit, "claim_seconds": leases.SUITE.seconds}
    )
    return [order_of(row) for row in rows]


def _key(key: OrderKey) -> dict[str, Any]:
    return {"merchant": key.merchant, "standing_order": key.standing_order, "cycle": key.cycle}


def _keys(keys: Sequence[OrderKey]) -> dict[str, list[Any]]:
    return {
        "merchant": [key.merchant for key in keys],
        "standing_order": [key.standing_order for key in keys],
        "cycle": [key.cycle for key in keys],
    }
