"""Rows of prices, and of what protects them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from services.catalog.domain.pricing import Cap, Lock, Price, Protection, ProtectionKey, SignUpPrice
from services.catalog.domain.products import (
    MerchantId,
    PriceId,
    PriceKey,
    ProductId,
    ProductKey,
    StandingOrderId,
    StandingOrderKey,
)
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

# --- prices ------------------------------------------------------------------------------------


_INSERT_PRICE = Command("""
    INSERT INTO prices (merchant, product, price, amount_minor, currency, effective_time,
                        announce_time)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:product AS text[]), CAST(:price AS text[]),
        CAST(:amount_minor AS bigint[]), CAST(:currency AS text[]),
        CAST(:effective_time AS timestamptz[]), CAST(:announce_time AS timestamptz[]))
    ON CONFLICT DO NOTHING
""")

_PRICES_OF_PRODUCT = Query(
    """
    SELECT merchant, product, price, amount_minor, currency, effective_time, announce_time,
           withdraw_time
    FROM prices WHERE product = :product AND merchant = :merchant
      AND (effective_time, price) < (:before, :before_price)
    ORDER BY effective_time DESC, price DESC LIMIT :limit
    """,
    Price,
)

_PRICE = Query(
    """
    SELECT merchant, product, price, amount_minor, currency, effective_time, announce_time,
           withdraw_time
    FROM prices WHERE product = :product AND merchant = :merchant AND price = :price
    """,
    Price,
)

_WITHDRAW = Query(
    """
    UPDATE prices SET withdraw_time = :now
    WHERE product = :product AND merchant = :merchant AND price = :price
    RETURNING merchant, product, price, amount_minor, currency, effective_time, announce_time,
              withdraw_time
    """,
    Price,
)

_PRICES_BY_KEY = Query(
    """
    SELECT merchant, product, price, amount_minor, currency, effective_time, announce_time,
           withdraw_time
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
    Price,
)


async def insert_price(tx: Connection, price: Price) -> bool:
    """Add a price; False if its id or its effective time is taken."""
    return await _INSERT_PRICE.run_for(tx, [price]) == 1


async def prices_of_product(
    tx: Connection, key: ProductKey, before: tuple[datetime, str], limit: int
) -> list[Price]:
    """A product's prices, withdrawn ones too, before an effective time and id, the newest first."""
    before_time, before_price = before
    return await _PRICES_OF_PRODUCT.all(
        tx, **key._asdict(), before=before_time, before_price=before_price, limit=limit
    )


async def price(tx: Connection, key: PriceKey) -> Price | None:
    """A price of a product."""
    return await _PRICE.one_or_none(tx, **key._asdict())


async def withdraw(tx: Connection, key: PriceKey, now: datetime) -> Price:
    """Take an existing price back."""
    return await _WITHDRAW.one(tx, **key._asdict(), now=now)


async def prices_by_key(
    tx: Connection, keys: Iterable[ProductKey], until: datetime
) -> dict[ProductKey, list[Price]]:
    """The prices of many products that take effect by an instant, the oldest first.

    None of them is one that was withdrawn.
    """
    prices: dict[ProductKey, list[Price]] = defaultdict(list)
    for price in await _PRICES_BY_KEY.all_for(tx, set(keys), until=until):
        prices[price.key.product_key].append(price)
    return prices


# --- protections -------------------------------------------------------------------------------


class _ProtectionRow(NamedTuple):
    merchant: MerchantId
    standing_order: StandingOrderId
    product: ProductId
    sign_up_amount_minor: int
    sign_up_price: PriceId
    sign_up_time: datetime
    kind: str
    lock_cycle_count: int | None
    lock_until_time: datetime | None
    cap_bps: int | None


_INSERT_PROTECTIONS = Query(
    """
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
    """,
    ProtectionKey,
)

_PROTECTIONS = Query(
    """
    SELECT merchant, standing_order, product, sign_up_amount_minor, sign_up_price, sign_up_time,
           kind, lock_cycle_count, lock_until_time, cap_bps
    FROM protections
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS wanted (merchant, standing_order) USING (merchant, standing_order)
    """,
    _ProtectionRow,
)


async def insert_protections(
    tx: Connection, signed_up: Sequence[SignUpPrice]
) -> set[ProtectionKey]:
    """Remember sign-up prices; returns which are new. What is remembered already stays."""
    terms = [price.terms for price in signed_up]
    return set(
        await _INSERT_PROTECTIONS.all_for(
            tx,
            signed_up,
            kind=list(map(_kind, terms)),
            lock_cycle_count=[t.cycle_count if isinstance(t, Lock) else None for t in terms],
            lock_until_time=[t.until_time if isinstance(t, Lock) else None for t in terms],
            cap_bps=[t.increase_limit_bps if isinstance(t, Cap) else None for t in terms],
        )
    )


async def protections(
    tx: Connection, standing_orders: Iterable[StandingOrderKey]
) -> dict[ProtectionKey, Protection]:
    """The protections of standing orders."""
    rows = await _PROTECTIONS.all_for(tx, set(standing_orders))
    return {
        ProtectionKey(row.merchant, row.standing_order, row.product): _protection(row)
        for row in rows
    }


def _kind(terms: Lock | Cap | None) -> str:
    return "LOCK" if isinstance(terms, Lock) else "CAP" if isinstance(terms, Cap) else "NONE"


def _protection(row: _ProtectionRow) -> Protection:
    terms: Lock | Cap | None = None
    if row.kind == "LOCK":
        terms = Lock(row.lock_cycle_count, row.lock_until_time)
    elif row.kind == "CAP" and row.cap_bps is not None:
        terms = Cap(row.cap_bps)
    return Protection(row.sign_up_amount_minor, row.sign_up_price, row.sign_up_time, terms)
