"""Payment methods. One that was erased has no token any more; its row stays, for what refers to it."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from services.payments.domain.consent import PaymentMethod
from services.payments.domain.declines import (
    DAY_DECLINES_MAX,
    MONTH_DECLINES_MAX,
    MethodUse,
    method_use,
)
from services.payments.domain.keys import CustomerId, CustomerKey, MerchantId, PaymentMethodKey
from services.payments.store import keys
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query


class _PaymentMethodIdRow(NamedTuple):
    payment_method: str


class _PaymentMethodRow(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    payment_method: str
    provider_token: bytes
    brand: str
    last4: str
    create_time: datetime
    block_time: datetime | None
    decline_code: str


class _UseRow(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    payment_method: str
    busy_until: datetime | None
    day_limit_time: datetime | None
    month_limit_time: datetime | None


_INSERT = Query(
    """
    INSERT INTO payment_methods (merchant, customer, payment_method, provider_token, brand, last4,
                                 create_time)
    VALUES (:merchant, :customer, :payment_method, :provider_token, :brand, :last4, :create_time)
    ON CONFLICT (customer, merchant, payment_method) DO NOTHING
    RETURNING payment_method
""",
    _PaymentMethodIdRow,
)

_BY_KEY = Query(
    """
    SELECT merchant, customer, payment_method, provider_token, brand, last4, create_time,
           block_time, decline_code
    FROM payment_methods
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]),
                CAST(:payment_method AS text[])) AS asked (customer, merchant, payment_method)
      USING (customer, merchant, payment_method)
    WHERE provider_token <> ''
""",
    _PaymentMethodRow,
)

_OF_CUSTOMER = Query(
    """
    SELECT merchant, customer, payment_method, provider_token, brand, last4, create_time,
           block_time, decline_code
    FROM payment_methods
    WHERE customer = :customer AND merchant = :merchant AND payment_method > :after
      AND provider_token <> ''
    ORDER BY payment_method LIMIT :limit
""",
    _PaymentMethodRow,
)


async def insert(tx: Connection, method: PaymentMethod) -> bool:
    """Add a payment method; False if its id is taken."""
    inserted = await _INSERT.one_or_none(
        tx,
        **keys.owner(method.key.owner),
        payment_method=method.key.payment_method,
        provider_token=method.provider_token,
        brand=method.brand,
        last4=method.last4,
        create_time=method.create_time,
    )
    return inserted is not None


async def by_key(
    tx: Connection, wanted: Iterable[PaymentMethodKey]
) -> dict[PaymentMethodKey, PaymentMethod]:
    """Those of the payment methods that exist."""
    rows = await _BY_KEY.all(tx, **keys.payment_methods(wanted))
    return {found.key: found for found in map(_payment_method, rows)}


async def of_customer(
    tx: Connection, owner: CustomerKey, after: str, limit: int
) -> list[PaymentMethod]:
    """A customer's payment methods by id, after an id."""
    rows = await _OF_CUSTOMER.all(tx, **keys.owner(owner), after=after, limit=limit)
    return [_payment_method(row) for row in rows]


# Locked in the order of their key, like mandates, by whoever begins an attempt.
_LOCKED = Query(
    """
    SELECT merchant, customer, payment_method, provider_token, brand, last4, create_time,
           block_time, decline_code
    FROM payment_methods
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]),
                CAST(:payment_method AS text[])) AS asked (customer, merchant, payment_method)
      USING (customer, merchant, payment_method)
    ORDER BY merchant, customer, payment_method FOR NO KEY UPDATE OF payment_methods
""",
    _PaymentMethodRow,
)

_USES = Query(
    """
    SELECT asked.merchant, asked.customer, asked.payment_method,
           (SELECT max(next_lookup_time) FROM attempts
            WHERE attempts.customer = asked.customer AND attempts.merchant = asked.merchant
              AND attempts.payment_method = asked.payment_method AND state = 'UNKNOWN'
              AND mismatch = '') AS busy_until,
           (SELECT end_time FROM attempts
            WHERE attempts.customer = asked.customer AND attempts.merchant = asked.merchant
              AND attempts.payment_method = asked.payment_method AND state = 'DECLINED'
            ORDER BY end_time DESC OFFSET :day_max - 1 LIMIT 1) AS day_limit_time,
           (SELECT end_time FROM attempts
            WHERE attempts.customer = asked.customer AND attempts.merchant = asked.merchant
              AND attempts.payment_method = asked.payment_method AND state = 'DECLINED'
            ORDER BY end_time DESC OFFSET :month_max - 1 LIMIT 1) AS month_limit_time
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]),
                CAST(:payment_method AS text[])) AS asked (customer, merchant, payment_method)
""",
    _UseRow,
)

_BLOCK = Query(
    """
    UPDATE payment_methods SET block_time = :now, decline_code = declined.code
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]),
                CAST(:payment_method AS text[]), CAST(:code AS text[]))
      AS declined (customer, merchant, payment_method, code)
    WHERE payment_methods.customer = declined.customer
      AND payment_methods.merchant = declined.merchant
      AND payment_methods.payment_method = declined.payment_method
      AND block_time IS NULL
    RETURNING payment_methods.merchant, payment_methods.customer, payment_methods.payment_method,
              provider_token, brand, last4, create_time, block_time,
              payment_methods.decline_code
""",
    _PaymentMethodRow,
)


async def uses(
    tx: Connection, wanted: Iterable[PaymentMethodKey], now: datetime
) -> dict[PaymentMethodKey, MethodUse]:
    """What payment methods are used for over all orders, locked until the transaction ends.

    Whoever begins an attempt holds the lock: so there is one attempt of a method at a time, and its
    declines are counted by one at a time. Read after the locks were taken.
    """
    parameters = keys.payment_methods(wanted)
    methods = [_payment_method(row) for row in await _LOCKED.all(tx, **parameters)]
    blocked = {method.key: method.block_time is not None for method in methods}
    limits = {"day_max": DAY_DECLINES_MAX, "month_max": MONTH_DECLINES_MAX}
    rows = await _USES.all(tx, **parameters, **limits)
    uses = {}
    for row in rows:
        key = PaymentMethodKey(CustomerKey(row.merchant, row.customer), row.payment_method)
        uses[key] = method_use(
            blocked=blocked.get(key, False),
            busy_until=row.busy_until,
            day_limit_time=row.day_limit_time,
            month_limit_time=row.month_limit_time,
            now=now,
        )
    return uses


async def block(
    tx: Connection, declined: Mapping[PaymentMethodKey, str], now: datetime
) -> dict[PaymentMethodKey, PaymentMethod]:
    """Block payment methods for their decline codes; returns those that were not blocked before."""
    if not declined:
        return {}
    methods = sorted(declined)
    codes = [declined[key] for key in methods]
    parameters = {**keys.payment_methods(methods), "code": codes, "now": now}
    blocked = [_payment_method(row) for row in await _BLOCK.all(tx, **parameters)]
    return {method.key: method for method in blocked}


def _payment_method(row: _PaymentMethodRow) -> PaymentMethod:
    return PaymentMethod(
        key=PaymentMethodKey(CustomerKey(row.merchant, row.customer), row.payment_method),
        provider_token=row.provider_token,
        brand=row.brand,
        last4=row.last4,
        create_time=row.create_time,
        block_time=row.block_time,
        decline_code=row.decline_code,
    )
