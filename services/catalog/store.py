"""The catalog's rows: SQL by name, and between rows and the domain."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.catalog.domain import (
    Cap,
    HoldRequest,
    Item,
    Lock,
    Price,
    Product,
    ProductKey,
    ProductState,
    Protection,
)
from services.runtime.wire import NamePattern

ORDER = NamePattern("merchants/{merchant}/standingOrders/{standing_order}/orders/{cycle}")

# --- products -----------------------------------------------------------------------------------

_INSERT_PRODUCT = text("""
    INSERT INTO products (merchant, product, title, increase_notice_days, stock_tracked,
                          low_stock_threshold, state, create_time)
    VALUES (:merchant, :product, :title, :increase_notice_days, :stock_tracked,
            :low_stock_threshold, 'ACTIVE', :now)
    ON CONFLICT (product, merchant) DO NOTHING
    RETURNING *
""")

_INSERT_STOCK = text("""
    INSERT INTO stock (merchant, product) VALUES (:merchant, :product)
    ON CONFLICT (product, merchant) DO NOTHING
""")

_PRODUCT = text("SELECT * FROM products WHERE product = :product AND merchant = :merchant")

_PRODUCT_LOCKED = text("""
    SELECT * FROM products WHERE product = :product AND merchant = :merchant FOR UPDATE
""")

_PRODUCTS_OF_MERCHANT = text("""
    SELECT * FROM products WHERE merchant = :merchant AND product > :after
    ORDER BY product LIMIT :limit
""")

_PRODUCTS_BY_KEY = text("""
    SELECT products.* FROM products
    JOIN unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS asked (merchant, product)
      USING (merchant, product)
""")

_DISCONTINUE = text("""
    UPDATE products SET state = 'DISCONTINUED', version = version + 1
    WHERE product = :product AND merchant = :merchant
    RETURNING *
""")


async def insert_product(
    tx: AsyncConnection,
    key: ProductKey,
    *,
    title: str,
    increase_notice_days: int,
    stock_tracked: bool,
    low_stock_threshold: int,
    now: datetime,
) -> Product | None:
    """Create a product with its empty stock; None if the id is taken."""
    row = (
        await tx.execute(
            _INSERT_PRODUCT,
            {
                **_key(key),
                "title": title,
                "increase_notice_days": increase_notice_days,
                "stock_tracked": stock_tracked,
                "low_stock_threshold": low_stock_threshold,
                "now": now,
            },
        )
    ).one_or_none()
    if row is None:
        return None
    await tx.execute(_INSERT_STOCK, _key(key))
    return _product(row)


async def product(tx: AsyncConnection, key: ProductKey, *, lock: bool = False) -> Product | None:
    """A product, locked until the transaction ends if asked for."""
    row = (await tx.execute(_PRODUCT_LOCKED if lock else _PRODUCT, _key(key))).one_or_none()
    return _product(row) if row else None


async def products_of_merchant(
    tx: AsyncConnection, merchant: str, after: str, limit: int
) -> list[Product]:
    """A merchant's products by id, after an id."""
    rows = await tx.execute(
        _PRODUCTS_OF_MERCHANT, {"merchant": merchant, "after": after, "limit": limit}
    )
    return [_product(row) for row in rows]


async def products_by_key(
    tx: AsyncConnection, keys: Iterable[ProductKey]
) -> dict[ProductKey, Product]:
    """Those of the products that exist."""
    rows = await tx.execute(_PRODUCTS_BY_KEY, _keys(keys))
    return {found.key: found for found in map(_product, rows)}


async def discontinue(tx: AsyncConnection, key: ProductKey) -> Product:
    """Take an existing product off sale."""
    return _product((await tx.execute(_DISCONTINUE, _key(key))).one())


# --- prices ------------------------------------------------------------------------------------

_INSERT_PRICE = text("""
    INSERT INTO prices (merchant, product, price, amount_minor, currency, effective_time,
                        announce_time)
    VALUES (:merchant, :product, :price, :amount_minor, :currency, :effective_time, :announce_time)
    ON CONFLICT DO NOTHING
    RETURNING price
""")

_PRICES_OF_PRODUCT = text("""
    SELECT * FROM prices WHERE product = :product AND merchant = :merchant
      AND effective_time < :before
    ORDER BY effective_time DESC LIMIT :limit
""")

_PRICES_BY_KEY = text("""
    SELECT prices.* FROM prices
    JOIN unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS asked (merchant, product)
      USING (merchant, product)
    WHERE effective_time <= :until
    ORDER BY effective_time
""")


async def insert_price(tx: AsyncConnection, key: ProductKey, price: Price) -> bool:
    """Add a price; False if its id or its effective time is taken."""
    found = await tx.execute(
        _INSERT_PRICE,
        {
            **_key(key),
            "price": price.price,
            "amount_minor": price.amount_minor,
            "currency": price.currency,
            "effective_time": price.effective_time,
            "announce_time": price.announce_time,
        },
    )
    return found.one_or_none() is not None


async def prices_of_product(
    tx: AsyncConnection, key: ProductKey, before: datetime, limit: int
) -> list[Price]:
    """A product's prices that take effect before an instant, the newest first."""
    rows = await tx.execute(_PRICES_OF_PRODUCT, {**_key(key), "before": before, "limit": limit})
    return [_price(row) for row in rows]


async def prices_by_key(
    tx: AsyncConnection, keys: Iterable[ProductKey], until: datetime
) -> dict[ProductKey, list[Price]]:
    """The prices of many products that take effect by an instant, the oldest first."""
    found: dict[ProductKey, list[Price]] = defaultdict(list)
    for row in await tx.execute(_PRICES_BY_KEY, {**_keys(keys), "until": until}):
        found[ProductKey(row.merchant, row.product)].append(_price(row))
    return found


# --- protections -------------------------------------------------------------------------------

_INSERT_PROTECTIONS = text("""
    INSERT INTO protections (merchant, standing_order, product, sign_up_amount_minor, currency,
                             sign_up_time, kind, lock_cycle_count, lock_until_time, cap_bps)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:product AS text[]),
        CAST(:sign_up_amount_minor AS bigint[]), CAST(:currency AS text[]),
        CAST(:sign_up_time AS timestamptz[]), CAST(:kind AS text[]),
        CAST(:lock_cycle_count AS integer[]), CAST(:lock_until_time AS timestamptz[]),
        CAST(:cap_bps AS integer[]))
    ON CONFLICT (standing_order, merchant, product) DO NOTHING
""")

_PROTECTIONS = text("""
    SELECT protections.* FROM protections
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS asked (merchant, standing_order) USING (merchant, standing_order)
""")


async def insert_protections(tx: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Remember sign-up prices; what is remembered already stays."""
    names = (
        "merchant", "standing_order", "product", "sign_up_amount_minor", "currency",
        "sign_up_time", "kind", "lock_cycle_count", "lock_until_time", "cap_bps",
    )  # fmt: skip
    await tx.execute(_INSERT_PROTECTIONS, {name: [row[name] for row in rows] for name in names})


async def protections(
    tx: AsyncConnection, standing_orders: Iterable[tuple[str, str]]
) -> dict[tuple[str, ProductKey], Protection]:
    """The protections of (merchant, standing order) pairs, by standing order and product."""
    asked = list(standing_orders)
    rows = await tx.execute(
        _PROTECTIONS,
        {"merchant": [pair[0] for pair in asked], "standing_order": [pair[1] for pair in asked]},
    )
    return {
        (row.standing_order, ProductKey(row.merchant, row.product)): _protection(row)
        for row in rows
    }


# --- stock -------------------------------------------------------------------------------------

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
    return (await tx.execute(_STOCK, _key(key))).one()


async def adjust_stock(tx: AsyncConnection, key: ProductKey, delta_units: int) -> Any:  # noqa: ANN401
    """Add units; the new row, or None if those held would not be covered."""
    found = await tx.execute(_ADJUST_STOCK, {**_key(key), "delta_units": delta_units})
    return found.one_or_none()


async def tracked_stock(
    tx: AsyncConnection, keys: Iterable[ProductKey], *, lock: bool
) -> dict[ProductKey, int]:
    """The available units of those products whose stock is tracked, locked if asked for."""
    rows = await tx.execute(_TRACKED_STOCK_LOCKED if lock else _TRACKED_STOCK_READ, _keys(keys))
    return {
        ProductKey(row.merchant, row.product): row.on_hand_units - row.held_units for row in rows
    }


async def orders_with_holds(tx: AsyncConnection, orders: Sequence[str]) -> set[str]:
    """Those of the orders that have a hold."""
    rows = await tx.execute(_HOLDS_OF_ORDERS, _orders(orders))
    return {ORDER.format(row.merchant, row.standing_order, str(row.cycle)) for row in rows}


async def insert_holds(
    tx: AsyncConnection, granted: Sequence[HoldRequest], tracked: Mapping[ProductKey, int]
) -> list[Any]:
    """Hold stock for orders; returns the stock rows that changed."""
    rows = [(request, item) for request in granted for item in request.items if item.key in tracked]
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


# --- rows --------------------------------------------------------------------------------------


def _key(key: ProductKey) -> dict[str, str]:
    return {"merchant": key.merchant, "product": key.product}


def _keys(keys: Iterable[ProductKey]) -> dict[str, list[str]]:
    # In one order, so that rows are always locked in it.
    distinct = sorted(set(keys), key=lambda key: (key.product, key.merchant))
    return {
        "merchant": [key.merchant for key in distinct],
        "product": [key.product for key in distinct],
    }


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


def _product(row: Any) -> Product:  # noqa: ANN401 - a row
    return Product(
        key=ProductKey(row.merchant, row.product),
        title=row.title,
        increase_notice_days=row.increase_notice_days,
        stock_tracked=row.stock_tracked,
        low_stock_threshold=row.low_stock_threshold,
        state=ProductState(row.state),
        create_time=row.create_time,
        version=row.version,
    )


def _price(row: Any) -> Price:  # noqa: ANN401 - a row
    return Price(row.price, row.amount_minor, row.currency, row.effective_time, row.announce_time)


def _protection(row: Any) -> Protection:  # noqa: ANN401 - a row
    terms: Lock | Cap | None = None
    if row.kind == "LOCK":
        terms = Lock(row.lock_cycle_count, row.lock_until_time)
    elif row.kind == "CAP":
        terms = Cap(row.cap_bps)
    return Protection(row.sign_up_amount_minor, row.sign_up_time, terms)
