"""Statements about products: which orders wait for one, and who is notified that one is gone."""

from collections.abc import Collection, Sequence
from datetime import datetime

from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.domain.substitution import DiscontinuedProduct
from services.scheduler.store.standing_order_rows import StandingOrderRow, standing_order_of

# What a worker decides meanwhile by the stock before is not stored, since the version changes.
_RECHECK_OUT_OF_STOCK = Command("""
    UPDATE orders SET recheck_time = :now, version = version + 1, update_time = :now
    FROM unnest(CAST(:merchants AS text[]), CAST(:products AS text[]))
      AS restocked (of_merchant, product)
    WHERE merchant = of_merchant AND recheck_time > :now AND reasons && ARRAY['OUT_OF_STOCK', 'NO_SLOT']
      AND coalesce(recheck_time, '-infinity') > '-infinity'
      AND EXISTS (SELECT FROM jsonb_array_elements(items) AS item WHERE item ->> 0 = product)
""")

_INSERT_DISCONTINUED = Command("""
    INSERT INTO discontinued_products (
        merchant, product, title, discontinue_time, only_standing_order)
    SELECT * FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[]),
                         CAST(:title AS text[]), CAST(:discontinue_time AS timestamptz[]),
                         CAST(:only AS text[]))
    ON CONFLICT (product, merchant, only_standing_order) DO NOTHING
""")

_FIRST_DISCONTINUED = Query(
    """
    SELECT merchant, product, title, discontinue_time, after_standing_order AS after,
           only_standing_order AS only
    FROM discontinued_products
    WHERE NOT is_done AND bucket = ANY (CAST(:buckets AS smallint[])) AND discontinue_time <= :now
      AND merchant || '/' || product || '/' || only_standing_order
          <> ALL(CAST(:left_out AS text[]))
    ORDER BY discontinue_time LIMIT 1
    """,
    DiscontinuedProduct,
)

_WITH_PRODUCT = Query(
    """
    SELECT standing_order_rows.* FROM (
        SELECT merchant, standing_order FROM standing_order_products
        WHERE merchant = :merchant AND product = :product AND standing_order > :after
          AND (CAST(:only AS text) = '' OR standing_order = :only)
        ORDER BY standing_order LIMIT :limit) AS found
    JOIN standing_order_rows USING (merchant, standing_order)
    ORDER BY standing_order
    """,
    StandingOrderRow,
)

_ADVANCE_DISCONTINUED = Command("""
    UPDATE discontinued_products SET after_standing_order = :reached, is_done = :is_done
    WHERE product = :product AND merchant = :merchant AND only_standing_order = :only
      AND after_standing_order = :after AND NOT is_done
""")


async def recheck_out_of_stock(
    tx: Connection, products: Collection[Sequence[str]], now: datetime
) -> None:
    """Have orders looked at now that are held for the want of products (merchant and id)."""
    merchants, ids = zip(*sorted(set(map(tuple, products))), strict=True)
    await _RECHECK_OUT_OF_STOCK.run(tx, merchants=merchants, products=ids, now=now)


async def insert_discontinued(tx: Connection, products: Collection[DiscontinuedProduct]) -> None:
    """Remember products that went off sale; one that is known stays as it is."""
    await _INSERT_DISCONTINUED.run_for(tx, products)


async def first_discontinued(
    tx: Connection,
    buckets: Sequence[int],
    now: datetime,
    left_out: Sequence[tuple[str, str, str]] = (),
) -> DiscontinuedProduct | None:
    """The product in these buckets whose standing orders have been waiting longest for a notice.

    The walks that are left out have failed, and wait.
    """
    return await _FIRST_DISCONTINUED.one_or_none(
        tx, buckets=buckets, now=now, left_out=["/".join(walk) for walk in left_out]
    )


async def standing_orders_with(
    tx: Connection, product: DiscontinuedProduct, limit: int
) -> list[StandingOrder]:
    """The next standing orders with a product, by id."""
    rows = await _WITH_PRODUCT.all(
        tx,
        merchant=product.merchant,
        product=product.product,
        after=product.after,
        only=product.only,
        limit=limit,
    )
    return [standing_order_of(row) for row in rows]


async def advance_discontinued(
    tx: Connection, product: DiscontinuedProduct, reached: str, *, is_done: bool
) -> bool:
    """Remember up to which standing order customers were notified; False if another replica has."""
    return (
        await _ADVANCE_DISCONTINUED.run(
            tx,
            merchant=product.merchant,
            product=product.product,
            only=product.only,
            after=product.after,
            reached=reached,
            is_done=is_done,
        )
        == 1
    )
