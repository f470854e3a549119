"""Mandates, and what was charged under them in a month."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from services.payments.domain.consent import Mandate
from services.payments.domain.idempotent_retries import KEY_RELIED_ON
from services.payments.domain.keys import CustomerId, CustomerKey, MandateKey, MerchantId
from services.payments.store import keys
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query


class _MandateIdRow(NamedTuple):
    mandate: str


class _MandateRow(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    mandate: str
    payment_method: str
    charge_ceiling_minor: int
    month_ceiling_minor: int | None
    currency: str
    valid_from_time: datetime
    valid_until_time: datetime | None
    evidence: bytes
    create_time: datetime
    revoke_time: datetime | None
    version: int


class _MandateWithTotalRow(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    mandate: str
    payment_method: str
    charge_ceiling_minor: int
    month_ceiling_minor: int | None
    currency: str
    valid_from_time: datetime
    valid_until_time: datetime | None
    evidence: bytes
    create_time: datetime
    revoke_time: datetime | None
    version: int
    place: int
    method_blocked: bool
    total_minor: int | None


class _TotalRow(NamedTuple):
    ordinal: int
    total_minor: int


_INSERT = Query(
    """
    INSERT INTO mandates (merchant, customer, mandate, payment_method, charge_ceiling_minor,
                          month_ceiling_minor, currency, valid_from_time, valid_until_time,
                          evidence, create_time)
    VALUES (:merchant, :customer, :mandate, :payment_method, :charge_ceiling_minor,
            :month_ceiling_minor, :currency, :valid_from_time, :valid_until_time,
            :evidence, :create_time)
    ON CONFLICT (customer, merchant, mandate) DO NOTHING
    RETURNING mandate
""",
    _MandateIdRow,
)

_BY_KEY = Query(
    """
    SELECT merchant, customer, mandate, payment_method, charge_ceiling_minor, month_ceiling_minor,
           currency, valid_from_time, valid_until_time, evidence, create_time, revoke_time,
           version
    FROM mandates
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:mandate AS text[]))
      AS asked (customer, merchant, mandate) USING (customer, merchant, mandate)
""",
    _MandateRow,
)

# Rows are locked in the order of their key, so that two batches never wait for each other.
_LOCKED = Query(
    """
    SELECT merchant, customer, mandate, payment_method, charge_ceiling_minor, month_ceiling_minor,
           currency, valid_from_time, valid_until_time, evidence, create_time, revoke_time,
           version
    FROM mandates
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:mandate AS text[]))
      AS asked (customer, merchant, mandate) USING (customer, merchant, mandate)
    ORDER BY merchant, customer, mandate FOR UPDATE OF mandates
""",
    _MandateRow,
)

_OF_CUSTOMER = Query(
    """
    SELECT merchant, customer, mandate, payment_method, charge_ceiling_minor, month_ceiling_minor,
           currency, valid_from_time, valid_until_time, evidence, create_time, revoke_time,
           version
    FROM mandates
    WHERE customer = :customer AND merchant = :merchant AND mandate > :after
    ORDER BY mandate LIMIT :limit
""",
    _MandateRow,
)

_REVOKE = Query(
    """
    UPDATE mandates SET revoke_time = :now, version = version + 1
    WHERE customer = :customer AND merchant = :merchant AND mandate = :mandate
    RETURNING merchant, customer, mandate, payment_method, charge_ceiling_minor,
              month_ceiling_minor, currency, valid_from_time, valid_until_time, evidence,
              create_time, revoke_time, version
""",
    _MandateRow,
)

# An attempt that was sent twice counts in both months: in either it may be made.
_MONTH_TOTALS = Query(
    """
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
""",
    _TotalRow,
)

# The sum is of interest only where there is a ceiling to it.
_WITH_TOTALS = Query(
    """
    SELECT merchant, customer, mandate, payment_method, charge_ceiling_minor, month_ceiling_minor,
           mandates.currency, valid_from_time, valid_until_time, evidence, mandates.create_time,
           revoke_time, version,
           asked.place, payment_methods.block_time IS NOT NULL AS method_blocked,
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
""",
    _MandateWithTotalRow,
)


async def insert(tx: Connection, mandate: Mandate) -> bool:
    """Add a mandate; False if its id is taken."""
    inserted = await _INSERT.one_or_none(
        tx,
        **keys.owner(mandate.key.owner),
        mandate=mandate.key.mandate,
        payment_method=mandate.payment_method,
        charge_ceiling_minor=mandate.charge_ceiling_minor,
        month_ceiling_minor=mandate.month_ceiling_minor,
        currency=mandate.currency,
        valid_from_time=mandate.valid_from_time,
        valid_until_time=mandate.valid_until_time,
        evidence=mandate.evidence,
        create_time=mandate.create_time,
    )
    return inserted is not None


async def by_key(
    tx: Connection, wanted: Iterable[MandateKey], *, lock: bool = False
) -> dict[MandateKey, Mandate]:
    """Those of the mandates that exist, locked until the transaction ends if asked for.

    Whoever begins an attempt holds the lock: so a mandate that was revoked begins no other, and its
    month's total is counted by one at a time.
    """
    query = _LOCKED if lock else _BY_KEY
    rows = await query.all(tx, **keys.mandates(wanted))
    return {found.key: found for found in map(_mandate, rows)}


async def of_customer(tx: Connection, owner: CustomerKey, after: str, limit: int) -> list[Mandate]:
    """A customer's mandates by id, after an id."""
    rows = await _OF_CUSTOMER.all(tx, **keys.owner(owner), after=after, limit=limit)
    return [_mandate(row) for row in rows]


async def revoke(tx: Connection, key: MandateKey, now: datetime) -> Mandate:
    """End the consent of an existing mandate."""
    parameters = {**keys.owner(key.owner), "mandate": key.mandate, "now": now}
    return _mandate(await _REVOKE.one(tx, **parameters))


async def month_totals_minor(
    tx: Connection, asked: Sequence[tuple[MandateKey, tuple[datetime, datetime]]]
) -> list[int]:
    """What each mandate has paid, or may be paying, from an instant until before another."""
    rows = await _MONTH_TOTALS.all(tx, **_months(asked), resent_within=KEY_RELIED_ON)
    totals = {row.ordinal: row.total_minor for row in rows}
    return [totals.get(ordinal, 0) for ordinal in range(1, len(asked) + 1)]


async def with_totals(
    tx: Connection, asked: Sequence[tuple[MandateKey, tuple[datetime, datetime]]]
) -> list[tuple[Mandate | None, int, bool]]:
    """Mandates, None for one that does not exist, each with its total where it has a ceiling to it.

    Last, whether the mandate's payment method is blocked.
    """
    parameters = {**_months(asked), "resent_within": KEY_RELIED_ON}
    rows = await _WITH_TOTALS.all(tx, **parameters)
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


def _mandate(row: _MandateRow | _MandateWithTotalRow) -> Mandate:
    return Mandate(
        key=MandateKey(CustomerKey(row.merchant, row.customer), row.mandate),
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
