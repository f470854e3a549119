"""Rows of products."""

from collections.abc import Iterable, Sequence

from services.catalog.domain.products import (
    Item,
    MerchantId,
    Product,
    ProductKey,
    ProductState,
)
from services.catalog.store import capacities
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

_INSERT_PRODUCTS = Query(
    """
    INSERT INTO products (merchant, product, title, increase_notice_days, stock_tracked,
                          low_stock_threshold, state, create_time, tax_category,
                          part_products, part_quantities, capacity_by_day)
    SELECT merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold, state,
           create_time, tax_category, string_to_array(part_products, chr(10)),
           CAST(string_to_array(part_quantities, chr(10)) AS integer[]), capacity_by_day
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:product AS text[]), CAST(:title AS text[]),
        CAST(:increase_notice_days AS integer[]), CAST(:stock_tracked AS boolean[]),
        CAST(:low_stock_threshold AS bigint[]), CAST(:state AS text[]),
        CAST(:create_time AS timestamptz[]), CAST(:tax_category AS text[]),
        CAST(:part_products AS text[]),
        CAST(:part_quantities AS text[]), CAST(:capacity_by_day AS boolean[]))
      AS product (merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold,
                  state, create_time, tax_category, part_products, part_quantities,
                  capacity_by_day)
    ON CONFLICT (product, merchant) DO NOTHING
    RETURNING merchant, product
    """,
    ProductKey,
)

_INSERT_STOCK = Command("""
    INSERT INTO stock (merchant, product)
    SELECT * FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[]))
    ON CONFLICT (product, merchant) DO NOTHING
""")

_PRODUCT = Query(
    """
    SELECT merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold,
           state, create_time, version, tax_category, part_products, part_quantities, capacity_by_day
    FROM products WHERE product = :product AND merchant = :merchant
    """,
    Product,
)

_PRODUCT_LOCKED = Query(
    """
    SELECT merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold,
           state, create_time, version, tax_category, part_products, part_quantities, capacity_by_day
    FROM products WHERE product = :product AND merchant = :merchant FOR UPDATE
    """,
    Product,
)

_PRODUCTS_OF_MERCHANT = Query(
    """
    SELECT merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold,
           state, create_time, version, tax_category, part_products, part_quantities, capacity_by_day
    FROM products WHERE merchant = :merchant AND product > :after
    ORDER BY product LIMIT :limit
    """,
    Product,
)

_PRODUCTS_BY_KEY = Query(
    """
    SELECT merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold,
           state, create_time, version, tax_category, part_products, part_quantities, capacity_by_day
    FROM products
    JOIN unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS wanted (merchant, product)
      USING (merchant, product)
    """,
    Product,
)

# Rows are locked in the order of their key, so that two batches never wait for each other.
_PRODUCTS_LOCKED = Query(
    """
    SELECT merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold,
           state, create_time, version, tax_category, part_products, part_quantities, capacity_by_day
    FROM products
    JOIN unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS wanted (merchant, product)
      USING (merchant, product)
    ORDER BY product, merchant FOR UPDATE OF products
    """,
    Product,
)

_BUNDLES = Query(
    """
    SELECT merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold,
           state, create_time, version, tax_category, part_products, part_quantities, capacity_by_day
    FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[]))
      AS wanted (of_merchant, of_product)
    -- OFFSET has each product looked up by its key; the index of bundles is of no use for that.
    CROSS JOIN LATERAL (
        SELECT * FROM products
        WHERE product = of_product AND merchant = of_merchant AND cardinality(part_products) > 0
        OFFSET 0) AS found
    """,
    Product,
)

_BUNDLES_WITH = Query(
    """
    SELECT DISTINCT merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold,
           state, create_time, version, tax_category, part_products, part_quantities, capacity_by_day
    FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS part (of_merchant, of_product)
    CROSS JOIN LATERAL (
        SELECT * FROM products
        WHERE merchant = of_merchant AND part_products <> '{}' AND of_product = ANY (part_products)
        OFFSET 0) AS found
    """,
    Product,
)

_UPDATE_STATE = Query(
    """
    UPDATE products SET state = :state, version = version + 1
    WHERE product = :product AND merchant = :merchant
    RETURNING merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold,
              state, create_time, version, tax_category, part_products, part_quantities, capacity_by_day
    """,
    Product,
)

_UPDATE = Query(
    """
    UPDATE products SET title = :title, tax_category = :tax_category, version = version + 1,
        increase_notice_days = :increase_notice_days, low_stock_threshold = :low_stock_threshold
    WHERE product = :product AND merchant = :merchant
    RETURNING merchant, product, title, increase_notice_days, stock_tracked, low_stock_threshold,
              state, create_time, version, tax_category, part_products, part_quantities, capacity_by_day
    """,
    Product,
)


async def insert_products(tx: Connection, products: Sequence[Product]) -> set[ProductKey]:
    """Create products with their empty stock; returns those whose id was free."""
    # Arrays of arrays must be rectangular, so those of a bundle's parts are lines of a text.
    inserted = await _INSERT_PRODUCTS.all_for(
        tx,
        products,
        part_products=["\n".join(product.part_products) for product in products],
        part_quantities=["\n".join(map(str, product.part_quantities)) for product in products],
    )
    await _INSERT_STOCK.run_for(tx, inserted)
    services = {product.key for product in products if product.capacity_by_day}
    if new_services := [key for key in inserted if key in services]:
        await capacities.insert(tx, new_services)
    return set(inserted)


async def product(tx: Connection, key: ProductKey, *, lock: bool = False) -> Product | None:
    """A product, locked until the transaction ends if `lock` is set."""
    return await (_PRODUCT_LOCKED if lock else _PRODUCT).one_or_none(tx, **key._asdict())


async def products_of_merchant(
    tx: Connection, merchant: MerchantId, after: str, limit: int
) -> list[Product]:
    """A merchant's products by id, after an id."""
    return await _PRODUCTS_OF_MERCHANT.all(tx, merchant=merchant, after=after, limit=limit)


async def products_by_key(
    tx: Connection, keys: Iterable[ProductKey], *, lock: bool = False
) -> dict[ProductKey, Product]:
    """Those of the products that exist, locked until the transaction ends if `lock` is set."""
    query = _PRODUCTS_LOCKED if lock else _PRODUCTS_BY_KEY
    return {product.key: product for product in await query.all_for(tx, set(keys))}


async def bundles(tx: Connection, keys: Iterable[ProductKey]) -> dict[ProductKey, tuple[Item, ...]]:
    """The parts of those of the products that are bundles."""
    return {bundle.key: bundle.parts for bundle in await _BUNDLES.all_for(tx, set(keys))}


async def bundles_with(tx: Connection, parts: Iterable[ProductKey]) -> list[Product]:
    """The bundles that have any of the products among their parts."""
    return await _BUNDLES_WITH.all_for(tx, set(parts))


async def update_state(tx: Connection, key: ProductKey, state: ProductState) -> Product:
    """Move an existing product to another state."""
    return await _UPDATE_STATE.one(tx, **key._asdict(), state=state)


async def update(tx: Connection, product: Product) -> Product:
    """Store what changes of an existing product."""
    return await _UPDATE.one(
        tx,
        **product.key._asdict(),
        title=product.title,
        tax_category=product.tax_category,
        increase_notice_days=product.increase_notice_days,
        low_stock_threshold=product.low_stock_threshold,
    )
