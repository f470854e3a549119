"""Payment methods, mandates, and the notices that are kept as evidence."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text

from services.payments.domain.consent import BillingMode, Mandate, Notice, PaymentMethod
from services.payments.domain.declines import (
    DAY_DECLINES_MAX,
    MONTH_DECLINES_MAX,
    MethodUse,
    method_use,
)
from services.payments.domain.idempotent_retries import KEY_RELIED_ON
from services.payments.domain.keys import ChargeKey, CustomerKey, MandateKey, PaymentMethodKey
from services.payments.store import keys
from services.runtime.db.pool import Connection

# --- payment methods ----------------------------------------------------------------------------
# One that was erased has no token any more. Its row stays, for what refers to it.

_INSERT_PAYMENT_METHOD = text("""
    INSERT INTO payment_methods (merchant, customer, payment_method, provider_token, brand, last4,
                                 create_time)
    VALUES (:merchant, :customer, :payment_method, :provider_token, :brand, :last4, :create_time)
    ON CONFLICT (customer, merchant, payment_method) DO NOTHING
    RETURNING payment_method
""")

_PAYMENT_METHODS_BY_KEY = text("""
    SELECT payment_methods.* FROM payment_methods
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]),
                CAST(:payment_method AS text[])) AS asked (customer, merchant, payment_method)
      USING (customer, merchant, payment_method)
    WHERE provider_token <> ''
""")

_PAYMENT_METHODS_OF_CUSTOMER = text("""
    SELECT * FROM payment_methods
    WHERE customer = :customer AND merchant = :merchant AND payment_method > :after
      AND provider_token <> ''
    ORDER BY payment_method LIMIT :limit
""")


async def insert_payment_method(tx: Connection, method: PaymentMethod) -> bool:
    """Add a payment method; False if its id is taken."""
    found = await tx.execute(
        _INSERT_PAYMENT_METHOD,
        {
            **keys.owner(method.key.owner),
            "payment_method": method.key.payment_method,
            "provider_token": method.provider_token,
            "brand": method.brand,
            "last4": method.last4,
            "create_time": method.create_time,
        },
    )
    return found.one_or_none() is not None


async def payment_methods(
    tx: Connection, wanted: Iterable[PaymentMethodKey]
) -> dict[PaymentMethodKey, PaymentMethod]:
    """Those of the payment methods that exist."""
    rows = await tx.execute(_PAYMENT_METHODS_BY_KEY, keys.payment_methods(wanted))
    return {found.key: found for found in map(_payment_method, rows)}


async def payment_methods_of(
    tx: Connection, owner: CustomerKey, after: str, limit: int
) -> list[PaymentMethod]:
    """A customer's payment methods by id, after an id."""
    rows = await tx.execute(
        _PAYMENT_METHODS_OF_CUSTOMER, {**keys.owner(owner), "after": after, "limit": limit}
    )
    return [_payment_method(row) for row in rows]


# Locked in the order of their key, like mandates, by whoever begins an attempt.
_METHODS_LOCKED = text("""
    SELECT payment_methods.* FROM payment_methods
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]),
                CAST(:payment_method AS text[])) AS asked (customer, merchant, payment_method)
      USING (customer, merchant, payment_method)
    ORDER BY customer, merchant, payment_method FOR NO KEY UPDATE OF payment_methods
""")

_METHOD_USES = text("""
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
""")

_BLOCK_METHODS = text("""
    UPDATE payment_methods SET block_time = :now, decline_code = declined.code
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]),
                CAST(:payment_method AS text[]), CAST(:code AS text[]))
      AS declined (customer, merchant, payment_method, code)
    WHERE payment_methods.customer = declined.customer
      AND payment_methods.merchant = declined.merchant
      AND payment_methods.payment_method = declined.payment_method
      AND block_time IS NULL
    RETURNING payment_methods.*
""")


async def method_uses(
    tx: Connection, wanted: Iterable[PaymentMethodKey], now: datetime
) -> dict[PaymentMethodKey, MethodUse]:
    """What payment methods are used for over all orders, locked until the transaction ends.

    Whoever begins an attempt holds the lock: so there is one attempt of a method at a time, and its
    declines are counted by one at a time. Read after the locks were taken.
    """
    parameters = keys.payment_methods(wanted)
    methods = [_payment_method(row) for row in await tx.execute(_METHODS_LOCKED, parameters)]
    blocked = {method.key: method.block_time is not None for method in methods}
    limits = {"day_max": DAY_DECLINES_MAX, "month_max": MONTH_DECLINES_MAX}
    rows = await tx.execute(_METHOD_USES, {**parameters, **limits})
    uses = {}
    for row in rows:
        key = PaymentMethodKey(CustomerKey(row.customer, row.merchant), row.payment_method)
        uses[key] = method_use(
            blocked=blocked.get(key, False),
            busy_until=row.busy_until,
            day_limit_time=row.day_limit_time,
            month_limit_time=row.month_limit_time,
            now=now,
        )
    return uses


async def block_methods(
    tx: Connection, declined: Mapping[PaymentMethodKey, str], now: datetime
) -> dict[PaymentMethodKey, PaymentMethod]:
    """Block payment methods for their decline codes; returns those that were not blocked before."""
    if not declined:
        return {}
    methods = sorted(declined)
    codes = [declined[key] for key in methods]
    parameters = {**keys.payment_methods(methods), "code": codes, "now": now}
    blocked = [_payment_method(row) for row in await tx.execute(_BLOCK_METHODS, parameters)]
    return {method.key: method for method in blocked}


# --- mandates -----------------------------------------------------------------------------------

_INSERT_MANDATE = text("""
    INSERT INTO mandates (merchant, customer, mandate, payment_method, charge_ceiling_minor,
                          month_ceiling_minor, currency, valid_from_time, valid_until_time,
                          evidence, create_time)
    VALUES (:merchant, :customer, :mandate, :payment_method, :charge_ceiling_minor,
            :month_ceiling_minor, :currency, :valid_from_time, :valid_until_time,
            :evidence, :create_time)
    ON CONFLICT (customer, merchant, mandate) DO NOTHING
    RETURNING mandate
""")

_MANDATES_BY_KEY = text("""
    SELECT mandates.* FROM mandates
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:mandate AS text[]))
      AS asked (customer, merchant, mandate) USING (customer, merchant, mandate)
""")

# Rows are locked in the order of their key, so that two batches never wait for each other.
_MANDATES_LOCKED = text("""
    SELECT mandates.* FROM mandates
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:mandate AS text[]))
      AS asked (customer, merchant, mandate) USING (customer, merchant, mandate)
    ORDER BY customer, merchant, mandate FOR UPDATE OF mandates
""")

_MANDATES_OF_CUSTOMER = text("""
    SELECT * FROM mandates
    WHERE customer = :customer AND merchant = :merchant AND mandate > :after
    ORDER BY mandate LIMIT :limit
""")

_REVOKE_MANDATE = text("""
    UPDATE mandates SET revoke_time = :now, version = version + 1
    WHERE customer = :customer AND merchant = :merchant AND mandate = :mandate
    RETURNING *
""")

# An attempt that was sent twice counts in both months: in either it may be made.
_MONTH_TOTALS = text("""
    SELECT asked.ordinal, CAST(sum(attempts.amount_minor) AS bigint) AS total_minor FROM attempts
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:mandate AS text[]),
                CAST(:first AS timestamptz[]), CAST(:following AS timestamptz[]))
      WITH ORDINALITY AS asked (customer, merchant, mandate, first, following, ordinal)
      USING (customer, merchant, mandate)
    WHERE attempts.state IN ('UNKNOWN', 'SUCCEEDED')
      AND attempts.start_time >= asked.first - CAST(:resent_within AS interval)
      AND attempts.start_time < asked.following
      AND (attempts.start_time >= asked.first
           OR attempts.resend_time >= asked.first AND attempts.resend_time < asked.following)
    GROUP BY asked.ordinal
""")

# The sum is of interest only where there is a ceiling to it.
_MANDATES_WITH_TOTALS = text("""
    SELECT mandates.*, asked.place, payment_methods.block_time IS NOT NULL AS method_blocked,
           CASE WHEN mandates.month_ceiling_minor IS NOT NULL THEN (
               SELECT CAST(sum(attempts.amount_minor) AS bigint) FROM attempts
               WHERE attempts.customer = asked.customer AND attempts.merchant = asked.merchant
                 AND attempts.mandate = asked.mandate AND attempts.state IN ('UNKNOWN', 'SUCCEEDED')
                 AND attempts.start_time >= asked.first - CAST(:resent_within AS interval)
                 AND attempts.start_time < asked.following
                 AND (attempts.start_time >= asked.first
                      OR attempts.resend_time >= asked.first
                         AND attempts.resend_time < asked.following))
           END AS total_minor
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:mandate AS text[]),
                CAST(:first AS timestamptz[]), CAST(:following AS timestamptz[]))
      WITH ORDINALITY AS asked (customer, merchant, mandate, first, following, place)
    JOIN mandates USING (customer, merchant, mandate)
    JOIN payment_methods USING (customer, merchant, payment_method)
""")


async def insert_mandate(tx: Connection, mandate: Mandate) -> bool:
    """Add a mandate; False if its id is taken."""
    found = await tx.execute(
        _INSERT_MANDATE,
        {
            **keys.owner(mandate.key.owner),
            "mandate": mandate.key.mandate,
            "payment_method": mandate.payment_method,
            "charge_ceiling_minor": mandate.charge_ceiling_minor,
            "month_ceiling_minor": mandate.month_ceiling_minor,
            "currency": mandate.currency,
            "valid_from_time": mandate.valid_from_time,
            "valid_until_time": mandate.valid_until_time,
            "evidence": mandate.evidence,
            "create_time": mandate.create_time,
        },
    )
    return found.one_or_none() is not None


async def mandates(
    tx: Connection, wanted: Iterable[MandateKey], *, lock: bool = False
) -> dict[MandateKey, Mandate]:
    """Those of the mandates that exist, locked until the transaction ends if asked for.

    Whoever begins an attempt holds the lock: so a mandate that was revoked begins no other, and its
    month's total is counted by one at a time.
    """
    statement = _MANDATES_LOCKED if lock else _MANDATES_BY_KEY
    rows = await tx.execute(statement, keys.mandates(wanted))
    return {found.key: found for found in map(_mandate, rows)}


async def mandates_of(tx: Connection, owner: CustomerKey, after: str, limit: int) -> list[Mandate]:
    """A customer's mandates by id, after an id."""
    rows = await tx.execute(
        _MANDATES_OF_CUSTOMER, {**keys.owner(owner), "after": after, "limit": limit}
    )
    return [_mandate(row) for row in rows]


async def revoke_mandate(tx: Connection, key: MandateKey, now: datetime) -> Mandate:
    """End the consent of an existing mandate."""
    parameters = {**keys.owner(key.owner), "mandate": key.mandate, "now": now}
    return _mandate((await tx.execute(_REVOKE_MANDATE, parameters)).one())


async def month_totals_minor(
    tx: Connection, asked: Sequence[tuple[MandateKey, tuple[datetime, datetime]]]
) -> list[int]:
    """What each mandate has paid, or may be paying, from an instant until before another."""
    rows = await tx.execute(_MONTH_TOTALS, {**_months(asked), "resent_within": KEY_RELIED_ON})
    totals = {row.ordinal: row.total_minor for row in rows}
    return [totals.get(ordinal, 0) for ordinal in range(1, len(asked) + 1)]


async def mandates_with_totals(
    tx: Connection, asked: Sequence[tuple[MandateKey, tuple[datetime, datetime]]]
) -> list[tuple[Mandate | None, int, bool]]:
    """Mandates, None for one that does not exist, each with its total where it has a ceiling to it.

    Last, whether the mandate's payment method is blocked.
    """
    parameters = {**_months(asked), "resent_within": KEY_RELIED_ON}
    rows = await tx.execute(_MANDATES_WITH_TOTALS, parameters)
    found = {row.place: (_mandate(row), row.total_minor or 0, row.method_blocked) for row in rows}
    return [found.get(place, (None, 0, False)) for place in range(1, len(asked) + 1)]


def _months(
    asked: Sequence[tuple[MandateKey, tuple[datetime, datetime]]],
) -> dict[str, list[Any]]:
    return {
        **keys.owners([key.owner for key, _ in asked]),
        "mandate": [key.mandate for key, _ in asked],
        "first": [first for _, (first, _) in asked],
        "following": [following for _, (_, following) in asked],
    }


# --- notices ------------------------------------------------------------------------------------

_INSERT_NOTICES = text("""
    INSERT INTO notices (merchant, customer, charge, notice, amount_minor, currency,
                         charge_not_before_time, deliver_time, billing_mode)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:charge AS text[]),
        CAST(:notice AS text[]), CAST(:amount_minor AS bigint[]), CAST(:currency AS text[]),
        CAST(:charge_not_before_time AS timestamptz[]), CAST(:deliver_time AS timestamptz[]),
        CAST(:billing_mode AS text[]))
    ON CONFLICT (customer, merchant, charge, notice) DO NOTHING
""")

# What the customer heard last is what counts.
_LATEST_NOTICES = text("""
    SELECT DISTINCT ON (customer, merchant, charge) notices.* FROM notices
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]))
      AS asked (customer, merchant, charge) USING (customer, merchant, charge)
    ORDER BY customer, merchant, charge, deliver_time DESC, notice DESC
""")


async def insert_notices(tx: Connection, notices: Sequence[Notice]) -> None:
    """Keep what delivered notices promised; what is kept already stays."""
    await tx.execute(
        _INSERT_NOTICES,
        {
            **keys.owners([notice.charge.owner for notice in notices]),
            "charge": [notice.charge.charge for notice in notices],
            "notice": [notice.notice for notice in notices],
            "amount_minor": [notice.amount_minor for notice in notices],
            "currency": [notice.currency for notice in notices],
            "charge_not_before_time": [notice.charge_not_before_time for notice in notices],
            "deliver_time": [notice.deliver_time for notice in notices],
            "billing_mode": [notice.billing_mode for notice in notices],
        },
    )


async def latest_notices(tx: Connection, wanted: Iterable[ChargeKey]) -> dict[ChargeKey, Notice]:
    """The last notice delivered about each charge that had any."""
    rows = await tx.execute(_LATEST_NOTICES, keys.charges(wanted))
    return {found.charge: found for found in map(_notice, rows)}


# --- rows ---------------------------------------------------------------------------------------


def _payment_method(row: Any) -> PaymentMethod:  # noqa: ANN401 - a row
    return PaymentMethod(
        key=PaymentMethodKey(CustomerKey(row.customer, row.merchant), row.payment_method),
        provider_token=row.provider_token,
        brand=row.brand,
        last4=row.last4,
        create_time=row.create_time,
        block_time=row.block_time,
        decline_code=row.decline_code,
    )


def _mandate(row: Any) -> Mandate:  # noqa: ANN401 - a row
    return Mandate(
        key=MandateKey(CustomerKey(row.customer, row.merchant), row.mandate),
        payment_method=row.payment_method,
        charge_ceiling_minor=row.charge_ceiling_minor,
        month_ceiling_minor=row.month_ceiling_minor,
        currency=row.currency,
        valid_from_time=row.valid_from_time,
        valid_until_time=row.valid_until_time,
        evidence=row.evidence,
        create_time=row.create_time,
        revoke_time=row.revoke_time,
        version=row.version,
    )


def _notice(row: Any) -> Notice:  # noqa: ANN401 - a row
    return Notice(
        charge=keys.charge_of(row),
        notice=row.notice,
        amount_minor=row.amount_minor,
        currency=row.currency,
        charge_not_before_time=row.charge_not_before_time,
        deliver_time=row.deliver_time,
        billing_mode=BillingMode[row.billing_mode],
    )
