"""Rows of products."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from services.catalog.domain.products import (
    MerchantId,
    Product,
    ProductId,
    ProductKey,
    ProductState,
)
from services.catalog.store.keys import key_of, keys_of
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class _ProductRow(NamedTuple):
    merchant: MerchantId
    product: ProductId
    title: str
    increase_notice_days: int
    stock_tracked: bool
    low_stock_threshold: int
    state: str
    create_time: datetime
    version: int


_INSERT_PRODUCT = Query(
    """
    INSERT INTO products (merchant, product, title, increase_notice_days, stock_tracked,
                          low_stock_threshold, state, create_time)
    VALUES (:merchant, :product, :title, :increase_notice_days, :stock_tracked,
            :low_stock_threshold, :state, :create_time)
    ON CONFLICT (product, merchant) DO NOTHING
    RETURNING merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold,
              state, create_time, version
    """,
    _ProductRow,
)

_INSERT_STOCK = Command("""
    INSERT INTO stock (merchant, product) VALUES (:merchant, :product)
    ON CONFLICT (product, merchant) DO NOTHING
""")

_PRODUCT = Query(
    """
    SELECT merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold,
           state, create_time, version
    FROM products WHERE product = :product AND merchant = :merchant
    """,
    _ProductRow,
)

_PRODUCT_LOCKED = Query(
    """
    SELECT merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold,
           state, create_time, version
    FROM products WHERE product = :product AND merchant = :merchant FOR UPDATE
    """,
    _ProductRow,
)

_PRODUCTS_OF_MERCHANT = Query(
    """
    SELECT merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold,
           state, create_time, version
    FROM products WHERE merchant = :merchant AND product > :after
    ORDER BY product LIMIT :limit
    """,
    _ProductRow,
)

_PRODUCTS_BY_KEY = Query(
    """
    SELECT merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold,
           state, create_time, version
    FROM products
    JOIN unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS asked (merchant, product)
      USING (merchant, product)
    """,
    _ProductRow,
)

_UPDATE_STATE = Query(
    """
    UPDATE products SET state = :state, version = version + 1
    WHERE product = :product AND merchant = :merchant
    RETURNING merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold,
              state, create_time, version
    """,
    _ProductRow,
)


async def insert_product(tx: Connection, product: Product) -> Product | None:
    """Create a product with its empty stock; None if the id is taken."""
    row = await _INSERT_PRODUCT.one_or_none(
        tx,
        **key_of(product.key),
        title=product.title,
        increase_notice_days=product.increase_notice_days,
        stock_tracked=product.stock_tracked,
        low_stock_threshold=product.low_stock_threshold,
        state=product.state,
        create_time=product.create_time,
    )
    if row is None:
        return None
    await _INSERT_STOCK.run(tx, **key_of(product.key))
    return _product(row)


async def product(tx: Connection, key: ProductKey, *, lock: bool = False) -> Product | None:
    """A product, locked until the transaction ends if asked for."""
    row = await (_PRODUCT_LOCKED if lock else _PRODUCT).one_or_none(tx, **key_of(key))
    return _product(row) if row else None


async def products_of_merchant(
    tx: Connection, merchant: MerchantId, after: str, limit: int
) -> list[Product]:
    """A merchant's products by id, after an id."""
    rows = await _PRODUCTS_OF_MERCHANT.all(tx, merchant=merchant, after=after, limit=limit)
    return [_product(row) for row in rows]


async def products_by_key(tx: Connection, keys: Iterable[ProductKey]) -> dict[ProductKey, Product]:
    """Those of the products that exist."""
    rows = await _PRODUCTS_BY_KEY.all(tx, **keys_of(keys))
    return {product.key: product for product in map(_product, rows)}


async def update_state(tx: Connection, key: ProductKey, state: ProductState) -> Product:
    """Move an existing product to another state."""
    return _product(await _UPDATE_STATE.one(tx, **key_of(key), state=state))


def _product(row: _ProductRow) -> Product:
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
