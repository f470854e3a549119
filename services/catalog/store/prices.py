"""Rows of prices."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from services.catalog.domain.prices import Price, Tier, TierMode
from services.catalog.domain.products import (
    MerchantId,
    PriceId,
    PriceKey,
    Product,
    ProductId,
    ProductKey,
    ProductState,
)
from services.runtime.db.pool import Connection, to_json
from services.runtime.db.statements import Query


class _PriceRow(NamedTuple):
    merchant: MerchantId
    product: ProductId
    price: PriceId
    unit_price_minor: int
    currency: str
    effective_time: datetime
    announce_time: datetime
    withdraw_time: datetime | None
    tier_mode: str | None
    tiers: list[tuple[int, int]]
    subscriber_discount_bps: int
    version: int


class _CountRow(NamedTuple):
    merchant: MerchantId
    product: ProductId
    price_count: int


class _PricedProductRow(NamedTuple):
    merchant: MerchantId
    product: ProductId
    title: str
    increase_notice_days: int
    stock_tracked: bool
    low_stock_threshold: int
    state: ProductState
    create_time: datetime
    product_version: int
    tax_category: str
    capacity_by_day: bool
    # None: the product has no price by then.
    price: PriceId | None
    unit_price_minor: int
    currency: str
    effective_time: datetime
    announce_time: datetime
    withdraw_time: datetime | None
    tier_mode: str | None
    tiers: list[tuple[int, int]]
    subscriber_discount_bps: int
    version: int


_INSERT_PRICES = Query(
    """
    INSERT INTO prices (merchant, product, price, unit_price_minor, currency, effective_time,
                        announce_time, tier_mode, tiers, subscriber_discount_bps)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:product AS text[]), CAST(:price AS text[]),
        CAST(:unit_price_minor AS bigint[]), CAST(:currency AS text[]),
        CAST(:effective_time AS timestamptz[]), CAST(:announce_time AS timestamptz[]),
        CAST(:tier_mode AS text[]), CAST(:tiers AS jsonb[]),
        CAST(:subscriber_discount_bps AS integer[]))
    ON CONFLICT DO NOTHING
    RETURNING merchant, product, price
    """,
    PriceKey,
)

_COUNTS = Query(
    """
    SELECT merchant, product, count(*) AS price_count
    FROM prices
    JOIN unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS wanted (merchant, product)
      USING (merchant, product)
    GROUP BY merchant, product
    """,
    _CountRow,
)

_PREVIOUS = Query(
    """
    SELECT previous.merchant, previous.product, new.price, previous.unit_price_minor,
           previous.currency, previous.effective_time, previous.announce_time,
           previous.withdraw_time, previous.tier_mode, previous.tiers,
           previous.subscriber_discount_bps, previous.version
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:product AS text[]), CAST(:price AS text[]),
        CAST(:currency AS text[]), CAST(:effective_time AS timestamptz[]))
      AS new (of_merchant, of_product, price, in_currency, from_time)
    CROSS JOIN LATERAL (
        SELECT * FROM prices
        WHERE product = of_product AND merchant = of_merchant AND currency = in_currency
          AND effective_time < from_time AND withdraw_time IS NULL
        ORDER BY effective_time DESC LIMIT 1) AS previous
    """,
    _PriceRow,
)

_IN_THE_WAY = Query(
    """
    SELECT DISTINCT merchant, product, price, unit_price_minor, currency, effective_time,
           announce_time, withdraw_time, tier_mode, tiers, subscriber_discount_bps, version
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:product AS text[]), CAST(:price AS text[]),
        CAST(:currency AS text[]), CAST(:effective_time AS timestamptz[]))
      AS new (of_merchant, of_product, of_price, in_currency, from_time)
    -- Two look-ups by an index each; OFFSET has them made for each new price.
    CROSS JOIN LATERAL (
        SELECT * FROM prices
        WHERE product = of_product AND merchant = of_merchant AND price = of_price
        UNION ALL
        SELECT * FROM prices
        WHERE product = of_product AND merchant = of_merchant AND currency = in_currency
          AND effective_time = from_time AND withdraw_time IS NULL
        OFFSET 0) AS found
    """,
    _PriceRow,
)

_TAKEN = Query(
    """
    SELECT merchant, product, price, unit_price_minor, currency, effective_time, announce_time,
           withdraw_time, tier_mode, tiers, subscriber_discount_bps, version
    FROM prices WHERE product = :product AND merchant = :merchant
      AND (price = :price OR (currency = :currency AND effective_time = :effective_time
                              AND withdraw_time IS NULL))
    -- Another price, if there is one, rather than the one of that id.
    ORDER BY price = :price, price LIMIT 1
    """,
    _PriceRow,
)

_PRICES_OF_PRODUCT = Query(
    """
    SELECT merchant, product, price, unit_price_minor, currency, effective_time, announce_time,
           withdraw_time, tier_mode, tiers, subscriber_discount_bps, version
    FROM prices WHERE product = :product AND merchant = :merchant
      AND (effective_time, price) < (:before, :before_price)
    ORDER BY effective_time DESC, price DESC LIMIT :limit
    """,
    _PriceRow,
)

_PRICE = Query(
    """
    SELECT merchant, product, price, unit_price_minor, currency, effective_time, announce_time,
           withdraw_time, tier_mode, tiers, subscriber_discount_bps, version
    FROM prices WHERE product = :product AND merchant = :merchant AND price = :price
    """,
    _PriceRow,
)

_WITHDRAW = Query(
    """
    UPDATE prices SET withdraw_time = :now, version = version + 1
    WHERE product = :product AND merchant = :merchant AND price = :price
    RETURNING merchant, product, price, unit_price_minor, currency, effective_time, announce_time,
              withdraw_time, tier_mode, tiers, subscriber_discount_bps, version
    """,
    _PriceRow,
)

_CORRECT = Query(
    """
    UPDATE prices SET unit_price_minor = :unit_price_minor, effective_time = :effective_time,
                      announce_time = :announce_time, tier_mode = :tier_mode,
                      tiers = CAST(:tiers AS jsonb),
                      subscriber_discount_bps = :subscriber_discount_bps, version = version + 1
    WHERE product = :product AND merchant = :merchant AND price = :price
    RETURNING merchant, product, price, unit_price_minor, currency, effective_time, announce_time,
              withdraw_time, tier_mode, tiers, subscriber_discount_bps, version
    """,
    _PriceRow,
)

_PRICES_BY_KEY = Query(
    """
    SELECT merchant, product, price, unit_price_minor, currency, effective_time, announce_time,
           withdraw_time, tier_mode, tiers, subscriber_discount_bps, version
    FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[]))
      AS wanted (of_merchant, of_product)
    -- OFFSET has each product looked up by its key, not all prices joined.
    CROSS JOIN LATERAL (
        SELECT * FROM prices
        WHERE product = of_product AND merchant = of_merchant
          AND effective_time <= :until AND withdraw_time IS NULL
        OFFSET 0) AS found
    ORDER BY effective_time
    """,
    _PriceRow,
)


# Products and their prices at once: each statement of a quote is a round trip.
_PRICED_PRODUCTS = Query(
    """
    SELECT merchant, products.product, title, increase_notice_days, stock_tracked,
           low_stock_threshold, state, create_time, products.version AS product_version,
           tax_category, capacity_by_day, price, unit_price_minor, currency, effective_time,
           announce_time, withdraw_time, tier_mode, tiers, subscriber_discount_bps, found.version
    FROM products
    JOIN unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS wanted (merchant, product)
      USING (merchant, product)
    -- OFFSET has each product looked up by its key, not all prices joined.
    LEFT JOIN LATERAL (
        SELECT price, unit_price_minor, currency, effective_time, announce_time, withdraw_time,
               tier_mode, tiers, subscriber_discount_bps, version
        FROM prices
        WHERE product = products.product AND merchant = products.merchant
          AND effective_time <= :until AND withdraw_time IS NULL
        OFFSET 0) AS found ON true
    ORDER BY effective_time
    """,
    _PricedProductRow,
)


async def insert_prices(tx: Connection, prices: Sequence[Price]) -> set[PriceKey]:
    """Add prices; returns those whose id and effective time were free."""
    tiers = [_dump_tiers(price) for price in prices]
    return set(await _INSERT_PRICES.all_for(tx, prices, tiers=tiers))


async def counts(tx: Connection, keys: Iterable[ProductKey]) -> dict[ProductKey, int]:
    """How many prices products have ever had; none: not among them."""
    rows = await _COUNTS.all_for(tx, set(keys))
    return {ProductKey(row.merchant, row.product): row.price_count for row in rows}


async def previous_prices(tx: Connection, prices: Sequence[Price]) -> dict[PriceKey, Price]:
    """By price, the one of its product and currency that it takes over from, where there is one."""
    return {
        PriceKey(row.merchant, row.product, row.price): _price(row)
        for row in await _PREVIOUS.all_for(tx, prices)
    }


async def taken(tx: Connection, price: Price) -> Price | None:
    """The price that has the id of another, or its currency and effective time."""
    row = await _TAKEN.one_or_none(
        tx,
        **price.key._asdict(),
        currency=price.currency,
        effective_time=price.effective_time,
    )
    return row and _price(row)


async def in_the_way(tx: Connection, prices: Sequence[Price]) -> list[Price]:
    """The prices that have the id of a new one, or its currency and effective time."""
    return list(map(_price, await _IN_THE_WAY.all_for(tx, prices)))


async def prices_of_product(
    tx: Connection, key: ProductKey, before: tuple[datetime, str], limit: int
) -> list[Price]:
    """A product's prices, withdrawn ones too, before an effective time and id, the newest first."""
    before_time, before_price = before
    rows = await _PRICES_OF_PRODUCT.all(
        tx, **key._asdict(), before=before_time, before_price=before_price, limit=limit
    )
    return list(map(_price, rows))


async def price(tx: Connection, key: PriceKey) -> Price | None:
    """A price of a product."""
    row = await _PRICE.one_or_none(tx, **key._asdict())
    return row and _price(row)


async def withdraw(tx: Connection, key: PriceKey, now: datetime) -> Price:
    """Take an existing price back."""
    return _price(await _WITHDRAW.one(tx, **key._asdict(), now=now))


async def correct(tx: Connection, price: Price) -> Price:
    """Store another content of an existing price."""
    return _price(
        await _CORRECT.one(
            tx,
            **price.key._asdict(),
            unit_price_minor=price.unit_price_minor,
            effective_time=price.effective_time,
            announce_time=price.announce_time,
            tier_mode=price.tier_mode,
            tiers=_dump_tiers(price),
            subscriber_discount_bps=price.subscriber_discount_bps,
        )
    )


async def prices_by_key(
    tx: Connection, keys: Iterable[ProductKey], until: datetime
) -> dict[ProductKey, list[Price]]:
    """The prices of many products that take effect by an instant, the oldest first.

    None of them is one that was withdrawn.
    """
    prices: dict[ProductKey, list[Price]] = defaultdict(list)
    for row in await _PRICES_BY_KEY.all_for(tx, set(keys), until=until):
        prices[ProductKey(row.merchant, row.product)].append(_price(row))
    return prices


async def priced_products(
    tx: Connection, keys: Iterable[ProductKey], until: datetime
) -> tuple[dict[ProductKey, Product], dict[ProductKey, list[Price]]]:
    """Those of the products that exist, and their prices that take effect by an instant.

    The oldest price comes first. None is one that was withdrawn.
    """
    products: dict[ProductKey, Product] = {}
    prices: dict[ProductKey, list[Price]] = defaultdict(list)
    for row in await _PRICED_PRODUCTS.all_for(tx, set(keys), until=until):
        key = ProductKey(row.merchant, row.product)
        if key not in products:
            products[key] = Product(
                *key,
                row.title,
                row.increase_notice_days,
                row.stock_tracked,
                row.low_stock_threshold,
                row.state,
                row.create_time,
                row.product_version,
                row.tax_category,
                capacity_by_day=row.capacity_by_day,
            )
        if row.price is not None:
            prices[key].append(_version(row, row.price))
    return products, prices


def _price(row: _PriceRow) -> Price:
    return _version(row, row.price)


def _version(row: _PriceRow | _PricedProductRow, price: PriceId) -> Price:
    return Price(
        row.merchant,
        row.product,
        price,
        row.unit_price_minor,
        row.currency,
        row.effective_time,
        row.announce_time,
        row.withdraw_time,
        TierMode(row.tier_mode) if row.tier_mode else None,
        tuple(Tier(*tier) for tier in row.tiers),
        row.subscriber_discount_bps,
        row.version,
    )


def _dump_tiers(price: Price) -> str:
    return to_json([list(tier) for tier in price.tiers])
