"""Rows of products."""

from collections.abc import Iterable

from services.catalog.domain.products import MerchantId, Product, ProductKey, ProductState
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

_INSERT_PRODUCT = Command("""
    INSERT INTO products (merchant, product, title, increase_notice_days, stock_tracked,
                          low_stock_threshold, state, create_time)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:product AS text[]), CAST(:title AS text[]),
        CAST(:increase_notice_days AS integer[]), CAST(:stock_tracked AS boolean[]),
        CAST(:low_stock_threshold AS bigint[]), CAST(:state AS text[]),
        CAST(:create_time AS timestamptz[]))
    ON CONFLICT (product, merchant) DO NOTHING
""")

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
    Product,
)

_PRODUCT_LOCKED = Query(
    """
    SELECT merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold,
           state, create_time, version
    FROM products WHERE product = :product AND merchant = :merchant FOR UPDATE
    """,
    Product,
)

_PRODUCTS_OF_MERCHANT = Query(
    """
    SELECT merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold,
           state, create_time, version
    FROM products WHERE merchant = :merchant AND product > :after
    ORDER BY product LIMIT :limit
    """,
    Product,
)

_PRODUCTS_BY_KEY = Query(
    """
    SELECT merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold,
           state, create_time, version
    FROM products
    JOIN unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS wanted (merchant, product)
      USING (merchant, product)
    """,
    Product,
)

_UPDATE_STATE = Query(
    """
    UPDATE products SET state = :state, version = version + 1
    WHERE product = :product AND merchant = :merchant
    RETURNING merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold,
              state, create_time, version
    """,
    Product,
)


async def insert_product(tx: Connection, product: Product) -> bool:
    """Create a product with its empty stock; False if the id is taken."""
    if not await _INSERT_PRODUCT.run_for(tx, [product]):
        return False
    await _INSERT_STOCK.run(tx, **product.key._asdict())
    return True


async def product(tx: Connection, key: ProductKey, *, lock: bool = False) -> Product | None:
    """A product, locked until the transaction ends if `lock` is set."""
    return await (_PRODUCT_LOCKED if lock else _PRODUCT).one_or_none(tx, **key._asdict())


async def products_of_merchant(
    tx: Connection, merchant: MerchantId, after: str, limit: int
) -> list[Product]:
    """A merchant's products by id, after an id."""
    return await _PRODUCTS_OF_MERCHANT.all(tx, merchant=merchant, after=after, limit=limit)


async def products_by_key(tx: Connection, keys: Iterable[ProductKey]) -> dict[ProductKey, Product]:
    """Those of the products that exist."""
    return {product.key: product for product in await _PRODUCTS_BY_KEY.all_for(tx, set(keys))}


async def update_state(tx: Connection, key: ProductKey, state: ProductState) -> Product:
    """Move an existing product to another state."""
    return await _UPDATE_STATE.one(tx, **key._asdict(), state=state)
