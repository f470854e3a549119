"""Rows of stock and its holds."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.catalog.domain import HoldRequest, Item, ProductKey
from services.catalog.store.keys import key_of, keys_of
from services.runtime.resource_names import NamePattern

ORDER = NamePattern("merchants/{merchant}/standingOrders/{standing_order}/orders/{cycle}")

_STOCK = text("SELECT * FROM stock WHERE product = :product AND merchant = :merchant")

_ADJUST_STOCK = text("""
    UPDATE stock SET on_hand_units = on_hand_units + :delta_units, version = version + 1
    WHERE product = :product AND merchant = :merchant
      AND on_hand_units + :delta_units >= held_units
    RETURNING *
""")

_TRACKED_STOCK = """
    SELECT stock.* FROM stock
    JOIN products USING (product, merchant)
    JOIN unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS asked (merchant, product)
      USING (merchant, product)
    WHERE products.stock_tracked
    ORDER BY product, merchant
"""
_TRACKED_STOCK_READ = text(_TRACKED_STOCK)
# Rows are locked in the order of their key, so that two batches never wait for each other.
_TRACKED_STOCK_LOCKED = text(_TRACKED_STOCK + " FOR UPDATE OF stock")

_HOLDS_OF_ORDERS = text("""
    SELECT DISTINCT merchant, standing_order, cycle FROM stock_holds
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
      AS asked (merchant, standing_order, cycle) USING (merchant, standing_order, cycle)
    WHERE state <> 'RELEASED'
""")

_INSERT_HOLDS = text("""
    INSERT INTO stock_holds (merchant, standing_order, cycle, product, quantity, expire_time, state)
    SELECT *, 'HELD' FROM unnest(
        CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]),
        CAST(:product AS text[]), CAST(:quantity AS int[]), CAST(:expire_time AS timestamptz[]))
    ON CONFLICT (standing_order, merchant, cycle, product) DO UPDATE
      SET quantity = excluded.quantity, expire_time = excluded.expire_time, state = 'HELD'
      WHERE stock_holds.state = 'RELEASED'
""")

_ADD_HELD = text("""
    UPDATE stock SET held_units = held_units + change.quantity, version = version + 1
    FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[]), CAST(:quantity AS bigint[]))
      AS change (merchant, product, quantity)
    WHERE stock.product = change.product AND stock.merchant = change.merchant
    RETURNING stock.*
""")

_CLOSE_HOLDS = text("""
    UPDATE stock_holds SET state = :state
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
      AS asked (merchant, standing_order, cycle)
    WHERE stock_holds.standing_order = asked.standing_order
      AND stock_holds.merchant = asked.merchant
      AND stock_holds.cycle = asked.cycle AND state = 'HELD'
    RETURNING stock_holds.merchant, product, quantity
""")

_EXPIRE_HOLDS = text("""
    UPDATE stock_holds SET state = 'RELEASED'
    FROM (SELECT standing_order, merchant, cycle, product FROM stock_holds
          WHERE state = 'HELD' AND expire_time <= :now
          ORDER BY expire_time LIMIT :limit FOR UPDATE SKIP LOCKED) AS due
    WHERE stock_holds.standing_order = due.standing_order AND stock_holds.merchant = due.merchant
      AND stock_holds.cycle = due.cycle AND stock_holds.product = due.product
    RETURNING stock_holds.merchant, stock_holds.product, quantity
""")

_NEXT_HOLD_EXPIRY = text("SELECT min(expire_time) FROM stock_holds WHERE state = 'HELD'")

_TAKE_UNITS = text("""
    UPDATE stock SET held_units = held_units - change.quantity,
                     on_hand_units = on_hand_units - change.quantity * :taken,
                     version = version + 1
    FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[]), CAST(:quantity AS bigint[]))
      AS change (merchant, product, quantity)
    WHERE stock.product = change.product AND stock.merchant = change.merchant
""")


async def stock(tx: AsyncConnection, key: ProductKey) -> Any:  # noqa: ANN401 - a row
    """The stock row of an existing product."""
    return (await tx.execute(_STOCK, key_of(key))).one()


async def adjust_stock(tx: AsyncConnection, key: ProductKey, delta_units: int) -> Any:  # noqa: ANN401
    """Add units; the new row, or None if those held would not be covered."""
    found = await tx.execute(_ADJUST_STOCK, {**key_of(key), "delta_units": delta_units})
    return found.one_or_none()


async def tracked_stock(
    tx: AsyncConnection, keys: Iterable[ProductKey], *, lock: bool
) -> dict[ProductKey, int]:
    """The available units of those products whose stock is tracked, locked if asked for."""
    rows = await tx.execute(_TRACKED_STOCK_LOCKED if lock else _TRACKED_STOCK_READ, keys_of(keys))
    return {
        ProductKey(row.merchant, row.product): row.on_hand_units - row.held_units for row in rows
    }


async def orders_with_holds(tx: AsyncConnection, orders: Sequence[str]) -> set[str]:
    """Those of the orders that have a hold."""
    rows = await tx.execute(_HOLDS_OF_ORDERS, _orders(orders))
    return {ORDER.format(row.merchant, row.standing_order, str(row.cycle)) for row in rows}


async def insert_holds(tx: AsyncConnection, granted: Sequence[HoldRequest]) -> list[Any]:
    """Hold stock for orders; returns the stock rows that changed."""
    rows = [(request, item) for request in granted for item in request.items]
    if not rows:
        return []
    orders = [ORDER.parse(request.order) for request, _ in rows]
    await tx.execute(
        _INSERT_HOLDS,
        {
            "merchant": [order[0] for order in orders],
            "standing_order": [order[1] for order in orders],
            "cycle": [int(order[2]) for order in orders],
            "product": [item.key.product for _, item in rows],
            "quantity": [item.quantity for _, item in rows],
            "expire_time": [request.expire_time for request, _ in rows],
        },
    )
    return list(await tx.execute(_ADD_HELD, _sums([item for _, item in rows])))


async def close_holds(tx: AsyncConnection, orders: Sequence[str], *, taken: bool) -> None:
    """End the holds of orders: their units leave the stock, or become available again."""
    state = "COMMITTED" if taken else "RELEASED"
    closed = await tx.execute(_CLOSE_HOLDS, {**_orders(orders), "state": state})
    await _take_units(tx, list(closed), taken=taken)


async def expire_holds(tx: AsyncConnection, now: datetime, limit: int) -> int:
    """End a batch of the holds that nobody settled in time; returns how many."""
    closed = list(await tx.execute(_EXPIRE_HOLDS, {"now": now, "limit": limit}))
    await _take_units(tx, closed, taken=False)
    return len(closed)


async def next_hold_expiry(tx: AsyncConnection) -> datetime | None:
    """When the next hold ends."""
    return (await tx.execute(_NEXT_HOLD_EXPIRY)).scalar_one()  # type: ignore[no-any-return]


async def _take_units(tx: AsyncConnection, closed: Sequence[Any], *, taken: bool) -> None:
    if closed:
        items = [Item(ProductKey(row.merchant, row.product), row.quantity) for row in closed]
        await tx.execute(_TAKE_UNITS, {**_sums(items), "taken": int(taken)})


def _orders(orders: Sequence[str]) -> dict[str, list[Any]]:
    ids = [ORDER.parse(order) for order in orders]
    return {
        "merchant": [found[0] for found in ids],
        "standing_order": [found[1] for found in ids],
        "cycle": [int(found[2]) for found in ids],
    }


def _sums(items: Sequence[Item]) -> dict[str, list[Any]]:
    """Units by product: a statement may change a row once only."""
    sums: dict[ProductKey, int] = defaultdict(int)
    for item in items:
        sums[item.key] += item.quantity
    ordered = sorted(sums, key=lambda key: (key.product, key.merchant))
    return {
        "merchant": [key.merchant for key in ordered],
        "product": [key.product for key in ordered],
        "quantity": [sums[key] for key in ordered],
    }
