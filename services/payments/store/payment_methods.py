"""Payment methods. One that was erased has no token any more; its row stays, for what refers to it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from services.payments.domain.declines import (
    COUNTED_DECLINES,
    MethodUse,
    method_use,
)
from services.payments.domain.expiry import first_check_time
from services.payments.domain.keys import (
    CustomerId,
    CustomerKey,
    MerchantId,
    PaymentMethodId,
    PaymentMethodKey,
)
from services.payments.domain.payment_methods import PaymentMethod
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class _UseRow(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    payment_method: PaymentMethodId
    blocked: bool
    missing: bool
    expire_time: datetime | None
    busy_until: datetime | None
    decline_times: Sequence[datetime | None]
    brand: str
    provider: str


class ProviderCustomer(NamedTuple):
    """Who a customer is at a provider."""

    provider: str
    provider_customer: str


# The first of a customer is their default: whatever else is there already is in its way.
_INSERT = Command("""
    INSERT INTO payment_methods (merchant, customer, payment_method, provider_token, brand, last4,
                                 create_time, kind, expire_time, provider_customer, is_default,
                                 fallback_order, provider, expiry_check_time)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:payment_method AS text[]),
        CAST(:provider_token AS bytea[]), CAST(:brand AS text[]), CAST(:last4 AS text[]),
        CAST(:create_time AS timestamptz[]), CAST(:kind AS text[]),
        CAST(:expire_time AS timestamptz[]), CAST(:provider_customer AS text[]),
        CAST(:is_default AS boolean[]), CAST(:fallback_order AS integer[]),
        CAST(:provider AS text[]), CAST(:expiry_check_time AS timestamptz[]))
    ON CONFLICT DO NOTHING
""")

_BY_KEY = Query(
    """
    SELECT merchant, customer, payment_method, provider_token, brand, last4, create_time,
           block_time, decline_code, kind, expire_time, provider_customer, is_default,
           fallback_order, detach_time, provider
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
           block_time, decline_code, kind, expire_time, provider_customer, is_default,
           fallback_order, detach_time, provider
    FROM payment_methods
    WHERE customer = :customer AND merchant = :merchant AND payment_method > :after
      AND provider_token <> ''
    ORDER BY payment_method LIMIT :limit
""",
    PaymentMethod,
)

_PROVIDER_CUSTOMERS = Query(
    """
    SELECT DISTINCT provider, provider_customer FROM payment_methods
    WHERE customer = :customer AND merchant = :merchant AND provider_customer <> ''
""",
    ProviderCustomer,
)

# In the order of their key, like mandates, by whoever begins an attempt.
_LOCK = Command("""
    SELECT FROM payment_methods
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]),
                CAST(:payment_method AS text[])) AS wanted (customer, merchant, payment_method)
      USING (customer, merchant, payment_method)
    ORDER BY merchant, customer, payment_method FOR NO KEY UPDATE OF payment_methods
""")

# All of a customer, in the order of their key: so none of them becomes the default, or stops being it.
_LOCK_OF_CUSTOMER = Query(
    """
    SELECT merchant, customer, payment_method FROM payment_methods
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[])) AS wanted (customer, merchant)
      USING (customer, merchant)
    ORDER BY merchant, customer, payment_method FOR NO KEY UPDATE OF payment_methods
""",
    PaymentMethodKey,
)

_DEFAULT = Query(
    """
    SELECT merchant, customer, payment_method, provider_token, brand, last4, create_time,
           block_time, decline_code, kind, expire_time, provider_customer, is_default,
           fallback_order, detach_time, provider
    FROM payment_methods
    WHERE customer = :customer AND merchant = :merchant AND is_default AND provider_token <> ''
""",
    PaymentMethod,
)

# What is charged under mandates that name no method, the default first.
_IN_ORDER = Query(
    """
    SELECT merchant, customer, payment_method FROM payment_methods
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[])) AS wanted (customer, merchant)
      USING (customer, merchant)
    WHERE detach_time IS NULL AND provider_token <> '' AND (is_default OR fallback_order > 0)
    ORDER BY is_default DESC, fallback_order, payment_method
""",
    PaymentMethodKey,
)

_USES = Query(
    """
    SELECT merchant, customer, payment_method, block_time IS NOT NULL AS blocked,
           detach_time IS NOT NULL OR provider_token = '' AS missing, expire_time,
           (SELECT max(next_lookup_time) FROM attempts
            WHERE attempts.customer = wanted.customer AND attempts.merchant = wanted.merchant
              AND attempts.payment_method = wanted.payment_method AND state = 'UNKNOWN'
              AND mismatch = '') AS busy_until,
           -- Those of the last declines that the networks' limits count.
           ARRAY(
               SELECT declined.end_time FROM unnest(CAST(:counted AS integer[])) AS counts (number)
               LEFT JOIN LATERAL (
                   SELECT end_time FROM attempts
                   WHERE attempts.customer = wanted.customer
                     AND attempts.merchant = wanted.merchant
                     AND attempts.payment_method = wanted.payment_method AND state = 'DECLINED'
                   ORDER BY end_time DESC OFFSET counts.number - 1 LIMIT 1) AS declined ON true
               ORDER BY counts.number) AS decline_times,
           brand, provider
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]),
                CAST(:payment_method AS text[])) AS wanted (customer, merchant, payment_method)
    JOIN payment_methods USING (customer, merchant, payment_method)
""",
    _UseRow,
)

_SAVE = Command("""
    UPDATE payment_methods SET is_default = new.is_default, fallback_order = new.fallback_order,
                               detach_time = new.detach_time
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]),
                CAST(:payment_method AS text[]), CAST(:is_default AS boolean[]),
                CAST(:fallback_order AS integer[]), CAST(:detach_time AS timestamptz[]))
      AS new (customer, merchant, payment_method, is_default, fallback_order, detach_time)
    WHERE payment_methods.customer = new.customer AND payment_methods.merchant = new.merchant
      AND payment_methods.payment_method = new.payment_method
""")

_ATTACH = Command("""
    UPDATE payment_methods SET provider_customer = attached.provider_customer
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]),
                CAST(:payment_method AS text[]), CAST(:provider_customer AS text[]))
      AS attached (customer, merchant, payment_method, provider_customer)
    WHERE payment_methods.customer = attached.customer
      AND payment_methods.merchant = attached.merchant
      AND payment_methods.payment_method = attached.payment_method
      AND payment_methods.provider_token <> ''
""")

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
              payment_methods.decline_code, kind, expire_time, provider_customer, is_default,
              fallback_order, detach_time, provider
""",
    PaymentMethod,
)


async def insert(tx: Connection, method: PaymentMethod) -> bool:
    """Add a payment method; False if its id is taken."""
    check_time = first_check_time(method.expire_time)
    return await _INSERT.run_for(tx, [method], expiry_check_time=[check_time]) == 1


async def save(tx: Connection, methods: Sequence[PaymentMethod]) -> None:
    """Write what has changed of payment methods whose rows this transaction has locked.

    What stops being the default comes before what becomes it.
    """
    for is_default in (False, True):
        await _SAVE.run_for(tx, [method for method in methods if method.is_default is is_default])


async def lock_of_customers(tx: Connection, customers: Iterable[CustomerKey]) -> None:
    """Lock all payment methods of customers until the transaction ends.

    Twice: what took the place of another while the first statement waited is seen by the second only,
    and nothing can take a place after it.
    """
    wanted = set(customers)
    await _LOCK_OF_CUSTOMER.all_for(tx, wanted)
    await _LOCK_OF_CUSTOMER.all_for(tx, wanted)


async def default_of(tx: Connection, customer: CustomerKey) -> PaymentMethod | None:
    """A customer's default payment method, if there is one."""
    return await _DEFAULT.one_or_none(tx, **customer._asdict())


async def provider_customers(tx: Connection, customer: CustomerKey) -> set[ProviderCustomer]:
    """Who a customer is at each provider, by the payment methods that they have had."""
    return {*await _PROVIDER_CUSTOMERS.all(tx, **customer._asdict())}


async def in_order(
    tx: Connection, customers: Iterable[CustomerKey]
) -> dict[CustomerKey, list[PaymentMethodKey]]:
    """What customers are charged by under mandates that name no method, the default first."""
    methods: dict[CustomerKey, list[PaymentMethodKey]] = {}
    for method in await _IN_ORDER.all_for(tx, set(customers)):
        methods.setdefault(CustomerKey(*method[:2]), []).append(method)
    return methods


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
    rows = await _USES.all_for(tx, methods, counted=list(COUNTED_DECLINES))
    return {
        PaymentMethodKey(row.merchant, row.customer, row.payment_method): method_use(
            blocked=row.blocked,
            busy_until=row.busy_until,
            decline_times=row.decline_times,
            brand=row.brand,
            now=now,
            missing=row.missing,
            expire_time=row.expire_time,
            provider=row.provider,
        )
        for row in rows
    }


async def attach(tx: Connection, attached: Mapping[PaymentMethodKey, str]) -> None:
    """Keep whose payment methods are at the provider."""
    methods = sorted(attached)
    customers = [attached[method] for method in methods]
    await _ATTACH.run_for(tx, methods, provider_customer=customers)


async def block(
    tx: Connection, declined: Mapping[PaymentMethodKey, str], now: datetime
) -> dict[PaymentMethodKey, PaymentMethod]:
    """Block payment methods for their decline codes; returns those that were not blocked before."""
    methods = sorted(declined)
    codes = [declined[method] for method in methods]
    blocked = await _BLOCK.all_for(tx, methods, code=codes, now=now)
    return {method.key: method for method in blocked}
