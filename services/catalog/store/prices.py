"""Rows of prices, and of what protects them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.catalog.domain import Cap, Lock, Price, ProductKey, Protection
from services.catalog.store.keys import key_of, keys_of

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
      AND (effective_time, price) < (:before, :before_price)
    ORDER BY effective_time DESC, price DESC LIMIT :limit
""")

_PRICE = text("""
    SELECT * FROM prices WHERE product = :product AND merchant = :merchant AND price = :price
""")

_WITHDRAW = text("""
    UPDATE prices SET withdraw_time = :now
    WHERE product = :product AND merchant = :merchant AND price = :price
    RETURNING *
""")

_PRICES_BY_KEY = text("""
    SELECT prices.* FROM prices
    JOIN unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS asked (merchant, product)
      USING (merchant, product)
    WHERE effective_time <= :until AND withdraw_time IS NULL
    ORDER BY effective_time
""")


async def insert_price(tx: AsyncConnection, key: ProductKey, price: Price) -> bool:
    """Add a price; False if its id or its effective time is taken."""
    found = await tx.execute(
        _INSERT_PRICE,
        {
            **key_of(key),
            "price": price.price,
            "amount_minor": price.amount_minor,
            "currency": price.currency,
            "effective_time": price.effective_time,
            "announce_time": price.announce_time,
        },
    )
    return found.one_or_none() is not None


async def prices_of_product(
    tx: AsyncConnection, key: ProductKey, before: tuple[datetime, str], limit: int
) -> list[Price]:
    """A product's prices, withdrawn ones too, before an effective time and id, the newest first."""
    before_time, before_price = before
    rows = await tx.execute(
        _PRICES_OF_PRODUCT,
        {**key_of(key), "before": before_time, "before_price": before_price, "limit": limit},
    )
    return [_price(row) for row in rows]


async def price(tx: AsyncConnection, key: ProductKey, price_id: str) -> Price | None:
    """A price of a product."""
    row = (await tx.execute(_PRICE, {**key_of(key), "price": price_id})).one_or_none()
    return _price(row) if row else None


async def withdraw(tx: AsyncConnection, key: ProductKey, price_id: str, now: datetime) -> Price:
    """Take an existing price back."""
    row = (await tx.execute(_WITHDRAW, {**key_of(key), "price": price_id, "now": now})).one()
    return _price(row)


async def prices_by_key(
    tx: AsyncConnection, keys: Iterable[ProductKey], until: datetime
) -> dict[ProductKey, list[Price]]:
    """The prices of many products that take effect by an instant, the oldest first.

    None of them is one that was withdrawn.
    """
    found: dict[ProductKey, list[Price]] = defaultdict(list)
    for row in await tx.execute(_PRICES_BY_KEY, {**keys_of(keys), "until": until}):
        found[ProductKey(row.merchant, row.product)].append(_price(row))
    return found


# --- protections -------------------------------------------------------------------------------

_INSERT_PROTECTIONS = text("""
    INSERT INTO protections (merchant, standing_order, product, sign_up_amount_minor, sign_up_price,
                             currency, sign_up_time, kind, lock_cycle_count, lock_until_time, cap_bps)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:product AS text[]),
        CAST(:sign_up_amount_minor AS bigint[]), CAST(:sign_up_price AS text[]),
        CAST(:currency AS text[]), CAST(:sign_up_time AS timestamptz[]), CAST(:kind AS text[]),
        CAST(:lock_cycle_count AS integer[]), CAST(:lock_until_time AS timestamptz[]),
        CAST(:cap_bps AS integer[]))
    ON CONFLICT (standing_order, merchant, product) DO NOTHING
    RETURNING merchant, standing_order, product
""")

_PROTECTIONS = text("""
    SELECT protections.* FROM protections
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS asked (merchant, standing_order) USING (merchant, standing_order)
""")


async def insert_protections(
    tx: AsyncConnection, rows: Sequence[Mapping[str, Any]]
) -> set[tuple[str, ProductKey]]:
    """Remember sign-up prices; returns of which products of which standing orders they are new.

    What is remembered already stays.
    """
    names = (
        "merchant", "standing_order", "product", "sign_up_amount_minor", "sign_up_price", "currency",
        "sign_up_time", "kind", "lock_cycle_count", "lock_until_time", "cap_bps",
    )  # fmt: skip
    inserted = await tx.execute(
        _INSERT_PROTECTIONS, {name: [row[name] for row in rows] for name in names}
    )
    return {(row.standing_order, ProductKey(row.merchant, row.product)) for row in inserted}


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


# --- rows --------------------------------------------------------------------------------------


def _price(row: Any) -> Price:  # noqa: ANN401 - a row
    return Price(
        row.price,
        row.amount_minor,
        row.currency,
        row.effective_time,
        row.announce_time,
        row.withdraw_time,
    )


def _protection(row: Any) -> Protection:  # noqa: ANN401 - a row
    terms: Lock | Cap | None = None
    if row.kind == "LOCK":
        terms = Lock(row.lock_cycle_count, row.lock_until_time)
    elif row.kind == "CAP":
        terms = Cap(row.cap_bps)
    return Protection(row.sign_up_amount_minor, row.sign_up_price, row.sign_up_time, terms)
