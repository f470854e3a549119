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
from services.payments.domain.keys import (
    CustomerId,
    CustomerKey,
    MerchantId,
    PaymentMethodId,
    PaymentMethodKey,
)
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class _UseRow(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    payment_method: PaymentMethodId
    blocked: bool
    busy_until: datetime | None
    day_limit_time: datetime | None
    month_limit_time: datetime | None


_INSERT = Command("""
    INSERT INTO payment_methods (merchant, customer, payment_method, provider_token, brand, last4,
                                 create_time)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:payment_method AS text[]),
        CAST(:provider_token AS bytea[]), CAST(:brand AS text[]), CAST(:last4 AS text[]),
        CAST(:create_time AS timestamptz[]))
    ON CONFLICT (customer, merchant, payment_method) DO NOTHING
""")

_BY_KEY = Query(
    """
    SELECT merchant, customer, payment_method, provider_token, brand, last4, create_time,
           block_time, decline_code
    FROM payment_methods
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]),
                CAST(:payment_method AS text[])) AS wanted (customer, merchant, payment_method)
      USING (customer, merchant, payment_method)
    WHERE provider_token <> ''
""",
    PaymentMethod,
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
    PaymentMethod,
)

# In the order of their key, like mandates, by whoever begins an attempt.
_LOCK = Command("""
    SELECT FROM payment_methods
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]),
                CAST(:payment_method AS text[])) AS wanted (customer, merchant, payment_method)
      USING (customer, merchant, payment_method)
    ORDER BY merchant, customer, payment_method FOR NO KEY UPDATE OF payment_methods
""")

_USES = Query(
    """
    SELECT merchant, customer, payment_method, block_time IS NOT NULL AS blocked,
           (SELECT max(next_lookup_time) FROM attempts
            WHERE attempts.customer = wanted.customer AND attempts.merchant = wanted.merchant
              AND attempts.payment_method = wanted.payment_method AND state = 'UNKNOWN'
              AND mismatch = '') AS busy_until,
           (SELECT end_time FROM attempts
            WHERE attempts.customer = wanted.customer AND attempts.merchant = wanted.merchant
              AND attempts.payment_method = wanted.payment_method AND state = 'DECLINED'
            ORDER BY end_time DESC OFFSET :day_max - 1 LIMIT 1) AS day_limit_time,
           (SELECT end_time FROM attempts
            WHERE attempts.customer = wanted.customer AND attempts.merchant = wanted.merchant
              AND attempts.payment_method = wanted.payment_method AND state = 'DECLINED'
            ORDER BY end_time DESC OFFSET :month_max - 1 LIMIT 1) AS month_limit_time
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]),
                CAST(:payment_method AS text[])) AS wanted (customer, merchant, payment_method)
    JOIN payment_methods USING (customer, merchant, payment_method)
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
    PaymentMethod,
)


async def insert(tx: Connection, method: PaymentMethod) -> bool:
    """Add a payment method; False if its id is taken."""
    return await _INSERT.run_for(tx, [method]) == 1


async def by_key(
    tx: Connection, keys: Iterable[PaymentMethodKey]
) -> dict[PaymentMethodKey, PaymentMethod]:
    """Those of the payment methods that exist."""
    return {method.key: method for method in await _BY_KEY.all_for(tx, set(keys))}


async def of_customer(
    tx: Connection, customer: CustomerKey, after: str, limit: int
) -> list[PaymentMethod]:
    """A customer's payment methods by id, after an id."""
    return await _OF_CUSTOMER.all(tx, **customer._asdict(), after=after, limit=limit)


async def uses(
    tx: Connection, keys: Iterable[PaymentMethodKey], now: datetime
) -> dict[PaymentMethodKey, MethodUse]:
    """What payment methods are used for over all orders, locked until the transaction ends.

    Whoever begins an attempt holds the lock: so there is one attempt of a method at a time, and its
    declines are counted by one at a time. Read after the locks were taken.
    """
    methods = set(keys)
    await _LOCK.run_for(tx, methods)
    rows = await _USES.all_for(tx, methods, day_max=DAY_DECLINES_MAX, month_max=MONTH_DECLINES_MAX)
    return {
        PaymentMethodKey(row.merchant, row.customer, row.payment_method): method_use(
            blocked=row.blocked,
            busy_until=row.busy_until,
            day_limit_time=row.day_limit_time,
            month_limit_time=row.month_limit_time,
            now=now,
        )
        for row in rows
    }


async def block(
    tx: Connection, declined: Mapping[PaymentMethodKey, str], now: datetime
) -> dict[PaymentMethodKey, PaymentMethod]:
    """Block payment methods for their decline codes; returns those that were not blocked before."""
    methods = sorted(declined)
    codes = [declined[method] for method in methods]
    blocked = await _BLOCK.all_for(tx, methods, code=codes, now=now)
    return {method.key: method for method in blocked}
