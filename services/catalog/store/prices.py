"""Rows of prices, and of what protects them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from services.catalog.domain.pricing import Cap, Lock, Price, Protection, SignUpPrice
from services.catalog.domain.products import MerchantId, ProductId, ProductKey, StandingOrderId
from services.catalog.store.keys import key_of, keys_of
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query

# --- prices ------------------------------------------------------------------------------------


class _PriceIdRow(NamedTuple):
    price: str


class _PriceRow(NamedTuple):
    merchant: MerchantId
    product: ProductId
    price: str
    amount_minor: int
    currency: str
    effective_time: datetime
    announce_time: datetime
    withdraw_time: datetime | None


_INSERT_PRICE = Query(
    """
    INSERT INTO prices (merchant, product, price, amount_minor, currency, effective_time,
                        announce_time)
    VALUES (:merchant, :product, :price, :amount_minor, :currency, :effective_time, :announce_time)
    ON CONFLICT DO NOTHING
    RETURNING price
    """,
    _PriceIdRow,
)

_PRICES_OF_PRODUCT = Query(
    """
    SELECT merchant, product, price, amount_minor, currency, effective_time, announce_time,
           withdraw_time
    FROM prices WHERE product = :product AND merchant = :merchant
      AND (effective_time, price) < (:before, :before_price)
    ORDER BY effective_time DESC, price DESC LIMIT :limit
    """,
    _PriceRow,
)

_PRICE = Query(
    """
    SELECT merchant, product, price, amount_minor, currency, effective_time, announce_time,
           withdraw_time
    FROM prices WHERE product = :product AND merchant = :merchant AND price = :price
    """,
    _PriceRow,
)

_WITHDRAW = Query(
    """
    UPDATE prices SET withdraw_time = :now
    WHERE product = :product AND merchant = :merchant AND price = :price
    RETURNING merchant, product, price, amount_minor, currency, effective_time, announce_time,
              withdraw_time
    """,
    _PriceRow,
)

_PRICES_BY_KEY = Query(
    """
    SELECT merchant, product, price, amount_minor, currency, effective_time, announce_time,
           withdraw_time
    FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[]))
      AS asked (of_merchant, of_product)
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


async def insert_price(tx: Connection, key: ProductKey, price: Price) -> bool:
    """Add a price; False if its id or its effective time is taken."""
    row = await _INSERT_PRICE.one_or_none(
        tx,
        **key_of(key),
        price=price.price,
        amount_minor=price.amount_minor,
        currency=price.currency,
        effective_time=price.effective_time,
        announce_time=price.announce_time,
    )
    return row is not None


async def prices_of_product(
    tx: Connection, key: ProductKey, before: tuple[datetime, str], limit: int
) -> list[Price]:
    """A product's prices, withdrawn ones too, before an effective time and id, the newest first."""
    before_time, before_price = before
    rows = await _PRICES_OF_PRODUCT.all(
        tx, **key_of(key), before=before_time, before_price=before_price, limit=limit
    )
    return [_price(row) for row in rows]


async def price(tx: Connection, key: ProductKey, price_id: str) -> Price | None:
    """A price of a product."""
    row = await _PRICE.one_or_none(tx, **key_of(key), price=price_id)
    return _price(row) if row else None


async def withdraw(tx: Connection, key: ProductKey, price_id: str, now: datetime) -> Price:
    """Take an existing price back."""
    return _price(await _WITHDRAW.one(tx, **key_of(key), price=price_id, now=now))


async def prices_by_key(
    tx: Connection, keys: Iterable[ProductKey], until: datetime
) -> dict[ProductKey, list[Price]]:
    """The prices of many products that take effect by an instant, the oldest first.

    None of them is one that was withdrawn.
    """
    prices: dict[ProductKey, list[Price]] = defaultdict(list)
    for row in await _PRICES_BY_KEY.all(tx, **keys_of(keys), until=until):
        prices[ProductKey(row.merchant, row.product)].append(_price(row))
    return prices


def _price(row: _PriceRow) -> Price:
    return Price(
        row.price,
        row.amount_minor,
        row.currency,
        row.effective_time,
        row.announce_time,
        row.withdraw_time,
    )


# --- protections -------------------------------------------------------------------------------


class _ProtectedRow(NamedTuple):
    merchant: MerchantId
    standing_order: StandingOrderId
    product: ProductId


class _ProtectionRow(NamedTuple):
    merchant: MerchantId
    standing_order: StandingOrderId
    product: ProductId
    sign_up_amount_minor: int
    sign_up_price: str
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
    _ProtectedRow,
)

_PROTECTIONS = Query(
    """
    SELECT merchant, standing_order, product, sign_up_amount_minor, sign_up_price, sign_up_time,
           kind, lock_cycle_count, lock_until_time, cap_bps
    FROM protections
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS asked (merchant, standing_order) USING (merchant, standing_order)
    """,
    _ProtectionRow,
)


async def insert_protections(
    tx: Connection, signed_up: Sequence[SignUpPrice]
) -> set[tuple[StandingOrderId, ProductKey]]:
    """Remember sign-up prices; returns of which products of which standing orders they are new.

    What is remembered already stays.
    """
    terms = [each.terms for each in signed_up]
    inserted = await _INSERT_PROTECTIONS.all(
        tx,
        merchant=[each.key.merchant for each in signed_up],
        standing_order=[each.standing_order for each in signed_up],
        product=[each.key.product for each in signed_up],
        sign_up_amount_minor=[each.amount_minor for each in signed_up],
        sign_up_price=[each.price for each in signed_up],
        currency=[each.currency for each in signed_up],
        sign_up_time=[each.sign_up_time for each in signed_up],
        kind=[_kind(each) for each in terms],
        lock_cycle_count=[each.cycle_count if isinstance(each, Lock) else None for each in terms],
        lock_until_time=[each.until_time if isinstance(each, Lock) else None for each in terms],
        cap_bps=[each.increase_limit_bps if isinstance(each, Cap) else None for each in terms],
    )
    return {(row.standing_order, ProductKey(row.merchant, row.product)) for row in inserted}


async def protections(
    tx: Connection, standing_orders: Iterable[tuple[MerchantId, StandingOrderId]]
) -> dict[tuple[StandingOrderId, ProductKey], Protection]:
    """The protections of standing orders, by standing order and product."""
    asked = list(standing_orders)
    rows = await _PROTECTIONS.all(
        tx,
        merchant=[merchant for merchant, _ in asked],
        standing_order=[standing_order for _, standing_order in asked],
    )
    return {
        (row.standing_order, ProductKey(row.merchant, row.product)): _protection(row)
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
