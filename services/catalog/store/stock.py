"""Rows of stock and its holds."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from services.catalog.domain.products import Item, MerchantId, OrderKey, ProductId, ProductKey
from services.catalog.domain.stock import HoldRequest, Stock
from services.catalog.domain.transitions import HOLD, HoldEvent, HoldState
from services.catalog.names import ORDER
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query, scalar


class _EndedHoldRow(NamedTuple):
    merchant: MerchantId
    product: ProductId
    quantity: int


_STOCK = Query(
    """
    SELECT merchant, product, on_hand_units, held_units, version
    FROM stock WHERE product = :product AND merchant = :merchant
    """,
    Stock,
)

_ADJUST_STOCK = Query(
    """
    UPDATE stock SET on_hand_units = on_hand_units + :delta_units, version = version + 1
    WHERE product = :product AND merchant = :merchant
      AND on_hand_units + :delta_units >= held_units
    RETURNING merchant, product, on_hand_units, held_units, version
    """,
    Stock,
)

_TRACKED_STOCK = Query(
    """
    SELECT merchant, product, on_hand_units, held_units, stock.version FROM stock
    JOIN products USING (product, merchant)
    JOIN unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS wanted (merchant, product)
      USING (merchant, product)
    WHERE products.stock_tracked
    """,
    Stock,
)

# Rows are locked in the order of their key, so that two batches never wait for each other.
_TRACKED_STOCK_LOCKED = Query(
    """
    SELECT merchant, product, on_hand_units, held_units, stock.version FROM stock
    JOIN products USING (product, merchant)
    JOIN unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS wanted (merchant, product)
      USING (merchant, product)
    WHERE products.stock_tracked
    ORDER BY product, merchant FOR UPDATE OF stock
    """,
    Stock,
)

_HOLDS_OF_ORDERS = Query(
    """
    SELECT DISTINCT merchant, standing_order, cycle FROM stock_holds
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
      AS wanted (merchant, standing_order, cycle) USING (merchant, standing_order, cycle)
    WHERE state <> 'RELEASED'
    """,
    OrderKey,
)

_INSERT_HOLDS = Command("""
    INSERT INTO stock_holds (merchant, standing_order, cycle, product, quantity, expire_time, state)
    SELECT *, 'HELD' FROM unnest(
        CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]),
        CAST(:product AS text[]), CAST(:quantity AS int[]), CAST(:expire_time AS timestamptz[]))
    ON CONFLICT (standing_order, merchant, cycle, product) DO UPDATE
      SET quantity = excluded.quantity, expire_time = excluded.expire_time, state = 'HELD',
          hold_time = now()
      WHERE stock_holds.state = 'RELEASED'
""")

_ADD_HELD = Query(
    """
    UPDATE stock SET held_units = held_units + change.quantity, version = version + 1
    FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[]), CAST(:quantity AS bigint[]))
      AS change (merchant, product, quantity)
    WHERE stock.product = change.product AND stock.merchant = change.merchant
    RETURNING stock.merchant, stock.product, on_hand_units, held_units, version
    """,
    Stock,
)

# By its key: `state || ''` keeps the planner from the index of a state, and from all that is in it.
_END_HOLDS = Query(
    """
    UPDATE stock_holds SET state = :state
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
      AS wanted (merchant, standing_order, cycle)
    WHERE stock_holds.standing_order = wanted.standing_order
      AND stock_holds.merchant = wanted.merchant
      AND stock_holds.cycle = wanted.cycle AND state || '' = 'HELD'
    RETURNING stock_holds.merchant, product, quantity
    """,
    _EndedHoldRow,
)

_EXPIRE_HOLDS = Query(
    """
    WITH due AS MATERIALIZED (
        SELECT standing_order, merchant, cycle, product FROM stock_holds
        WHERE state = 'HELD' AND expire_time <= :now
        ORDER BY expire_time LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE stock_holds SET state = 'RELEASED'
    FROM due
    WHERE stock_holds.standing_order = due.standing_order AND stock_holds.merchant = due.merchant
      AND stock_holds.cycle = due.cycle AND stock_holds.product = due.product
    RETURNING stock_holds.merchant, stock_holds.product, quantity
    """,
    _EndedHoldRow,
)

_NEXT_HOLD_EXPIRY: Query[datetime | None] = Query(
    "SELECT min(expire_time) FROM stock_holds WHERE state = 'HELD'", scalar
)

_TAKE_UNITS = Command("""
    UPDATE stock SET held_units = held_units - change.quantity,
                     on_hand_units = on_hand_units - change.quantity * :taken,
                     version = version + 1
    FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[]), CAST(:quantity AS bigint[]))
      AS change (merchant, product, quantity)
    WHERE stock.product = change.product AND stock.merchant = change.merchant
""")


async def stock(tx: Connection, key: ProductKey) -> Stock:
    """The stock of an existing product."""
    return await _STOCK.one(tx, **key._asdict())


async def adjust_stock(tx: Connection, key: ProductKey, delta_units: int) -> Stock | None:
    """Add units; the new stock, or None if those held would not be covered."""
    return await _ADJUST_STOCK.one_or_none(tx, **key._asdict(), delta_units=delta_units)


async def tracked_stock(
    tx: Connection, keys: Iterable[ProductKey], *, lock: bool
) -> dict[ProductKey, int]:
    """The available units of those products whose stock is tracked, locked if `lock` is set."""
    stocks = await (_TRACKED_STOCK_LOCKED if lock else _TRACKED_STOCK).all_for(tx, set(keys))
    return {stock.key: stock.available_units for stock in stocks}


async def orders_with_holds(tx: Connection, orders: Sequence[str]) -> set[str]:
    """Those of the orders, by name, that have a hold."""
    held = await _HOLDS_OF_ORDERS.all_for(tx, [ORDER.key(order) for order in orders])
    return {ORDER.format(key.merchant, key.standing_order, str(key.cycle)) for key in held}


async def insert_holds(tx: Connection, granted: Sequence[HoldRequest]) -> list[Stock]:
    """Hold stock for orders; returns the stock that changed."""
    held = [(request, item) for request in granted for item in request.items]
    await _INSERT_HOLDS.run_for(
        tx,
        [ORDER.key(request.order) for request, _ in held],
        product=[item.key.product for _, item in held],
        quantity=[item.quantity for _, item in held],
        expire_time=[request.expire_time for request, _ in held],
    )
    keys, quantities = _sums([item for _, item in held])
    return await _ADD_HELD.all_for(tx, keys, quantity=quantities)


async def end_holds(tx: Connection, orders: Sequence[str], event: HoldEvent) -> None:
    """End the holds of orders: their units leave the stock, or become available again."""
    state = HOLD.to(HoldState.HELD, event)
    ended = await _END_HOLDS.all_for(tx, [ORDER.key(order) for order in orders], state=state)
    await _take_units(tx, ended, taken=state is HoldState.COMMITTED)


async def expire_holds(tx: Connection, now: datetime, limit: int) -> int:
    """Release a batch of the holds that nobody settled in time; returns how many."""
    ended = await _EXPIRE_HOLDS.all(tx, now=now, limit=limit)
    await _take_units(tx, ended, taken=False)
    return len(ended)


async def next_hold_expiry(tx: Connection) -> datetime | None:
    """When the next hold ends."""
    return await _NEXT_HOLD_EXPIRY.one(tx)


async def _take_units(tx: Connection, ended: Sequence[_EndedHoldRow], *, taken: bool) -> None:
    items = [Item(ProductKey(row.merchant, row.product), row.quantity) for row in ended]
    keys, quantities = _sums(items)
    await _TAKE_UNITS.run_for(tx, keys, quantity=quantities, taken=int(taken))


def _sums(items: Sequence[Item]) -> tuple[list[ProductKey], list[int]]:
    """Units by product, in one order, since a statement may change a row once only."""
    sums: Counter[ProductKey] = Counter()
    for item in items:
        sums[item.key] += item.quantity
    keys = sorted(sums, key=lambda key: (key.product, key.merchant))
    return keys, [sums[key] for key in keys]
