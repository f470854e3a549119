"""Rows of products."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.catalog.domain import Product, ProductKey, ProductState
from services.catalog.store.keys import key_of, keys_of

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
                **key_of(key),
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
    await tx.execute(_INSERT_STOCK, key_of(key))
    return _product(row)


async def product(tx: AsyncConnection, key: ProductKey, *, lock: bool = False) -> Product | None:
    """A product, locked until the transaction ends if asked for."""
    row = (await tx.execute(_PRODUCT_LOCKED if lock else _PRODUCT, key_of(key))).one_or_none()
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
    rows = await tx.execute(_PRODUCTS_BY_KEY, keys_of(keys))
    return {found.key: found for found in map(_product, rows)}


async def discontinue(tx: AsyncConnection, key: ProductKey) -> Product:
    """Take an existing product off sale."""
    return _product((await tx.execute(_DISCONTINUE, key_of(key))).one())


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
