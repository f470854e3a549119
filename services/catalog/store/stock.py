"""Rows of stock."""

from collections import Counter
from collections.abc import Iterable, Sequence

from services.catalog.domain.products import Item, ProductKey
from services.catalog.domain.stock import Stock
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

_STOCK = Query(
    """
    SELECT merchant, product, on_hand_units, held_units, committed_units, is_awaited, version
    FROM stock WHERE product = :product AND merchant = :merchant
    """,
    Stock,
)

_ADJUST_STOCK = Query(
    """
    UPDATE stock SET on_hand_units = on_hand_units + :delta_units, version = version + 1
    WHERE product = :product AND merchant = :merchant
      AND on_hand_units + :delta_units >= held_units
    RETURNING merchant, product, on_hand_units, held_units, committed_units, is_awaited, version
    """,
    Stock,
)

_TRACKED_STOCK = Query(
    """
    SELECT merchant, product, on_hand_units, held_units, committed_units, is_awaited, stock.version
    FROM stock
    JOIN products USING (product, merchant)
    JOIN unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS wanted (merchant, product)
      USING (merchant, product)
    WHERE products.stock_tracked
    """,
    Stock,
)

# Who changes stock and holds locks the rows of stock first, in the order of their key, and then those
# of holds, in the order of theirs: so no two of them ever wait for each other.
_TRACKED_STOCK_LOCKED = Query(
    """
    SELECT merchant, product, on_hand_units, held_units, committed_units, is_awaited, stock.version
    FROM stock
    JOIN products USING (product, merchant)
    JOIN unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS wanted (merchant, product)
      USING (merchant, product)
    WHERE products.stock_tracked
    ORDER BY product, merchant FOR UPDATE OF stock
    """,
    Stock,
)

_ADD_HELD = Query(
    """
    UPDATE stock SET held_units = held_units + change.quantity, version = version + 1
    FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[]), CAST(:quantity AS bigint[]))
      AS change (merchant, product, quantity)
    WHERE stock.product = change.product AND stock.merchant = change.merchant
    RETURNING stock.merchant, stock.product, on_hand_units, held_units, committed_units, is_awaited,
              version
    """,
    Stock,
)

_TAKE_UNITS = Query(
    """
    UPDATE stock SET held_units = held_units - change.quantity,
                     on_hand_units = on_hand_units - change.quantity * :taken,
                     committed_units = committed_units + change.quantity * :taken,
                     version = version + 1
    FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[]), CAST(:quantity AS bigint[]))
      AS change (merchant, product, quantity)
    WHERE stock.product = change.product AND stock.merchant = change.merchant
    RETURNING stock.merchant, stock.product, on_hand_units, held_units, committed_units, is_awaited,
              version
    """,
    Stock,
)

_SET_AWAITED = Command("""
    UPDATE stock SET is_awaited = :is_awaited
    FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS given (merchant, product)
    WHERE stock.product = given.product AND stock.merchant = given.merchant
      AND is_awaited <> :is_awaited
""")


async def stock(tx: Connection, key: ProductKey) -> Stock:
    """The stock of an existing product."""
    return await _STOCK.one(tx, **key._asdict())


async def adjust_stock(tx: Connection, key: ProductKey, delta_units: int) -> Stock | None:
    """Add units; the new stock, or None if those held would not be covered."""
    return await _ADJUST_STOCK.one_or_none(tx, **key._asdict(), delta_units=delta_units)


async def tracked_stock(
    tx: Connection, keys: Iterable[ProductKey], *, lock: bool
) -> dict[ProductKey, Stock]:
    """The stock of those products whose stock is tracked, locked if `lock` is set."""
    stocks = await (_TRACKED_STOCK_LOCKED if lock else _TRACKED_STOCK).all_for(tx, set(keys))
    return {stock.key: stock for stock in stocks}


async def add_held(tx: Connection, items: Sequence[Item]) -> list[Stock]:
    """Count units as held that are there; returns the stock that changed."""
    keys, quantities = _sums(items)
    return await _ADD_HELD.all_for(tx, keys, quantity=quantities)


async def take_units(tx: Connection, items: Sequence[Item], *, taken: bool) -> list[Stock]:
    """Count held units as held no more: gone if `taken`, else available; returns what changed."""
    keys, quantities = _sums(items)
    return await _TAKE_UNITS.all_for(tx, keys, quantity=quantities, taken=int(taken))


async def set_awaited(tx: Connection, keys: Iterable[ProductKey], *, is_awaited: bool) -> None:
    """Remember whether orders were refused for the want of units."""
    await _SET_AWAITED.run_for(tx, sorted(set(keys)), is_awaited=is_awaited)


def _sums(items: Sequence[Item]) -> tuple[list[ProductKey], list[int]]:
    """Units by product, in one order, since a statement may change a row once only."""
    sums: Counter[ProductKey] = Counter()
    for item in items:
        sums[item.key] += item.quantity
    keys = sorted(sums, key=lambda key: (key.product, key.merchant))
    return keys, [sums[key] for key in keys]
