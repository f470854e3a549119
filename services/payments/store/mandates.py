"""Mandates, and what was charged under them in a period."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from services.payments.domain.bank_debits import SCHEMES
from services.payments.domain.consent import Mandate
from services.payments.domain.idempotent_retries import KEY_RELIED_ON
from services.payments.domain.keys import (
    ChargeKey,
    CustomerId,
    CustomerKey,
    MandateId,
    MandateKey,
    MerchantId,
    PaymentMethodId,
    PaymentMethodKey,
)
from services.payments.domain.rules import NoticeTerms, scheme_of
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class MandatePeriod(NamedTuple):
    """A mandate, and a period by its first instant and that of the next one."""

    merchant: MerchantId
    customer: CustomerId
    mandate: MandateId
    first: datetime
    following: datetime


@dataclass(frozen=True, slots=True)
class MandateWithMethod(Mandate):
    """A mandate, with what is known of what is charged under it."""

    # Whether there is nothing, or nothing that was not declined for good.
    method_missing: bool = False
    method_blocked: bool = False
    # Of the payment method that it is charged by first, as the provider names it.
    brand: str = ""


class _TotalRow(NamedTuple):
    ordinal: int
    total_minor: int


class _TermsRow(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    mandate: MandateId
    brand: str
    lead_seconds: int


class _LastChargeRow(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    mandate: MandateId
    charge_time: datetime


_INSERT = Command("""
    INSERT INTO mandates (merchant, customer, mandate, payment_method, charge_ceiling_minor,
                          period_ceiling_minor, currency, valid_from_time, valid_until_time,
                          evidence, create_time, is_pending, period_days, time_zone,
                          standing_orders, lead_seconds)
    SELECT merchant, customer, mandate, payment_method, charge_ceiling_minor, period_ceiling_minor,
           currency, valid_from_time, valid_until_time, evidence, create_time, is_pending, period_days,
           time_zone, string_to_array(standing_orders, ','), lead_seconds
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:mandate AS text[]),
        CAST(:payment_method AS text[]), CAST(:charge_ceiling_minor AS bigint[]),
        CAST(:period_ceiling_minor AS bigint[]), CAST(:currency AS text[]),
        CAST(:valid_from_time AS timestamptz[]), CAST(:valid_until_time AS timestamptz[]),
        CAST(:evidence AS bytea[]), CAST(:create_time AS timestamptz[]),
        CAST(:is_pending AS boolean[]), CAST(:period_days AS integer[]),
        CAST(:time_zone AS text[]), CAST(:standing_orders AS text[]),
        CAST(:lead_seconds AS integer[]))
      AS new (merchant, customer, mandate, payment_method, charge_ceiling_minor,
              period_ceiling_minor, currency, valid_from_time, valid_until_time, evidence,
              create_time, is_pending, period_days, time_zone, standing_orders, lead_seconds)
    ON CONFLICT (customer, merchant, mandate) DO NOTHING
""")

_BY_KEY = Query(
    """
    SELECT merchant, customer, mandate, payment_method, charge_ceiling_minor, period_ceiling_minor,
           currency, valid_from_time, valid_until_time, evidence, create_time, revoke_time,
           is_pending, pause_time, pause_reason, lapse_time, version, period_days, time_zone,
           standing_orders, lead_seconds
    FROM mandates
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:mandate AS text[]))
      AS wanted (customer, merchant, mandate) USING (customer, merchant, mandate)
""",
    Mandate,
)

# Rows are locked in the order of their key, so that two batches never wait for each other.
_LOCKED = Query(
    """
    SELECT merchant, customer, mandate, payment_method, charge_ceiling_minor, period_ceiling_minor,
           currency, valid_from_time, valid_until_time, evidence, create_time, revoke_time,
           is_pending, pause_time, pause_reason, lapse_time, version, period_days, time_zone,
           standing_orders, lead_seconds
    FROM mandates
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:mandate AS text[]))
      AS wanted (customer, merchant, mandate) USING (customer, merchant, mandate)
    ORDER BY merchant, customer, mandate FOR UPDATE OF mandates
""",
    Mandate,
)

_OF_CUSTOMER = Query(
    """
    SELECT merchant, customer, mandate, payment_method, charge_ceiling_minor, period_ceiling_minor,
           currency, valid_from_time, valid_until_time, evidence, create_time, revoke_time,
           is_pending, pause_time, pause_reason, lapse_time, version, period_days, time_zone,
           standing_orders, lead_seconds
    FROM mandates
    WHERE customer = :customer AND merchant = :merchant AND mandate > :after
    ORDER BY mandate LIMIT :limit
""",
    Mandate,
)

_SAVE = Command("""
    UPDATE mandates SET
        evidence = new.evidence, is_pending = new.is_pending, pause_time = new.pause_time,
        pause_reason = new.pause_reason, lapse_time = new.lapse_time,
        revoke_time = new.revoke_time, version = new.version
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:mandate AS text[]),
        CAST(:evidence AS bytea[]), CAST(:is_pending AS boolean[]),
        CAST(:pause_time AS timestamptz[]), CAST(:pause_reason AS text[]),
        CAST(:lapse_time AS timestamptz[]), CAST(:revoke_time AS timestamptz[]),
        CAST(:version AS integer[]))
      AS new (merchant, customer, mandate, evidence, is_pending, pause_time, pause_reason,
              lapse_time, revoke_time, version)
    WHERE mandates.customer = new.customer AND mandates.merchant = new.merchant
      AND mandates.mandate = new.mandate
""")

_AMEND = Command("""
    UPDATE mandates SET
        charge_ceiling_minor = new.charge_ceiling_minor,
        period_ceiling_minor = new.period_ceiling_minor, period_days = new.period_days,
        time_zone = new.time_zone, valid_until_time = new.valid_until_time,
        standing_orders = string_to_array(new.standing_orders, ','),
        lead_seconds = new.lead_seconds, version = new.version
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:mandate AS text[]),
        CAST(:charge_ceiling_minor AS bigint[]), CAST(:period_ceiling_minor AS bigint[]),
        CAST(:period_days AS integer[]), CAST(:time_zone AS text[]),
        CAST(:valid_until_time AS timestamptz[]), CAST(:standing_orders AS text[]),
        CAST(:lead_seconds AS integer[]), CAST(:version AS integer[]))
      AS new (merchant, customer, mandate, charge_ceiling_minor, period_ceiling_minor, period_days,
              time_zone, valid_until_time, standing_orders, lead_seconds, version)
    WHERE mandates.customer = new.customer AND mandates.merchant = new.merchant
      AND mandates.mandate = new.mandate
""")

_OF_METHOD = Query(
    """
    SELECT merchant, customer, mandate FROM mandates
    WHERE customer = :customer AND merchant = :merchant AND revoke_time IS NULL
      AND (valid_until_time IS NULL OR valid_until_time > :now)
      AND (payment_method = :payment_method OR payment_method IS NULL AND :any_method)
    ORDER BY mandate LIMIT :limit
""",
    MandateKey,
)

_LOCK_OF_METHOD = Command("""
    SELECT FROM mandates
    WHERE customer = :customer AND merchant = :merchant AND payment_method = :payment_method
    ORDER BY merchant, customer, mandate FOR UPDATE
""")

_MOVE = Command("""
    UPDATE mandates SET payment_method = :successor, version = version + 1
    WHERE customer = :customer AND merchant = :merchant AND payment_method = :payment_method
      AND revoke_time IS NULL
""")

# An attempt that was sent twice counts in both periods: in either it may be made.
_PERIOD_TOTALS = Query(
    """
    SELECT ordinal, total_minor
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:mandate AS text[]),
                CAST(:first AS timestamptz[]), CAST(:following AS timestamptz[]))
      WITH ORDINALITY AS wanted (customer, merchant, mandate, first, following, ordinal)
    CROSS JOIN LATERAL (
        SELECT CAST(coalesce(sum(amount_minor), 0) AS bigint) AS total_minor FROM attempts
        WHERE attempts.customer = wanted.customer AND attempts.merchant = wanted.merchant
          AND attempts.mandate = wanted.mandate AND state NOT IN ('DECLINED', 'NOT_MADE')
          AND start_time >= wanted.first - CAST(:resent_within AS interval)
          AND start_time < wanted.following
          AND (start_time >= wanted.first
               OR resend_time >= wanted.first AND resend_time < wanted.following)
    ) AS period
""",
    _TotalRow,
)

# The last of a mandate's, by the index of its attempts; those of some charges are none.
_LAST_CHARGES = Query(
    """
    SELECT merchant, customer, mandate, last.start_time AS charge_time
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:mandate AS text[]))
      AS wanted (customer, merchant, mandate)
    CROSS JOIN LATERAL (
        SELECT start_time FROM attempts
        WHERE attempts.customer = wanted.customer AND attempts.merchant = wanted.merchant
          AND attempts.mandate = wanted.mandate AND state NOT IN ('DECLINED', 'NOT_MADE')
          AND merchant || '/' || customer || '/' || charge <> ALL(CAST(:but_for AS text[]))
        ORDER BY start_time DESC LIMIT 1
    ) AS last
""",
    _LastChargeRow,
)

_WITH_METHODS = Query(
    """
    SELECT merchant, customer, mandate, payment_method, charge_ceiling_minor, period_ceiling_minor,
           mandates.currency, valid_from_time, valid_until_time, evidence, mandates.create_time,
           revoke_time, is_pending, pause_time, pause_reason, lapse_time, version, period_days,
           time_zone, standing_orders, lead_seconds, false AS is_disputed, scope.method_missing,
           scope.method_blocked, coalesce(scope.brand, '') AS brand
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:mandate AS text[]))
      AS wanted (customer, merchant, mandate)
    JOIN mandates USING (customer, merchant, mandate)
    CROSS JOIN LATERAL (
        SELECT count(*) = 0 AS method_missing,
               coalesce(bool_and(block_time IS NOT NULL), false) AS method_blocked,
               (array_agg(brand ORDER BY
                   EXISTS (
                       SELECT FROM unnest(CAST(:scheme AS text[]), CAST(:scheme_currency AS text[]))
                         AS schemes (scheme, currency)
                       WHERE scheme = brand AND schemes.currency <> mandates.currency),
                   block_time IS NOT NULL, NOT is_default, fallback_order))[1] AS brand
        FROM payment_methods
        WHERE payment_methods.customer = mandates.customer
          AND payment_methods.merchant = mandates.merchant
          AND CASE WHEN mandates.payment_method IS NULL THEN is_default OR fallback_order > 0
                   ELSE payment_methods.payment_method = mandates.payment_method END
          AND detach_time IS NULL AND provider_token <> ''
        OFFSET 0) AS scope
""",
    MandateWithMethod,
)


# What binds the charges under mandates that may still be charged. What is charged first, as
# `payment_methods.first_valid` has it.
_TERMS = Query(
    """
    SELECT merchant, customer, mandate, coalesce(scope.brand, '') AS brand, lead_seconds
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[])) AS wanted (customer, merchant)
    JOIN mandates USING (customer, merchant)
    CROSS JOIN LATERAL (
        SELECT (array_agg(brand ORDER BY
                   EXISTS (
                       SELECT FROM unnest(CAST(:scheme AS text[]), CAST(:scheme_currency AS text[]))
                         AS schemes (scheme, currency)
                       WHERE scheme = brand AND schemes.currency <> mandates.currency),
                   block_time IS NOT NULL, NOT is_default, fallback_order))[1] AS brand
        FROM payment_methods
        WHERE payment_methods.customer = mandates.customer
          AND payment_methods.merchant = mandates.merchant
          AND CASE WHEN mandates.payment_method IS NULL THEN is_default OR fallback_order > 0
                   ELSE payment_methods.payment_method = mandates.payment_method END
          AND detach_time IS NULL AND provider_token <> ''
        OFFSET 0) AS scope
    WHERE revoke_time IS NULL AND lapse_time IS NULL
""",
    _TermsRow,
)


_SCHEMES = {
    "scheme": list(SCHEMES),
    "scheme_currency": [scheme.currency for scheme in SCHEMES.values()],
}


async def of_method(
    tx: Connection, method: PaymentMethodKey, now: datetime, *, any_method: bool, limit: int
) -> list[MandateKey]:
    """The first active mandates that name a payment method or, with `any_method`, name none."""
    return await _OF_METHOD.all(tx, **method._asdict(), now=now, any_method=any_method, limit=limit)


async def lock_of_method(tx: Connection, method: PaymentMethodKey) -> None:
    """Lock the mandates that name a payment method until the transaction ends."""
    await _LOCK_OF_METHOD.run(tx, **method._asdict())


async def move(tx: Connection, method: PaymentMethodKey, successor: PaymentMethodId) -> None:
    """Have the mandates that name a payment method, and are not revoked, name another."""
    await _MOVE.run(tx, **method._asdict(), successor=successor)


async def insert(tx: Connection, mandate: Mandate) -> bool:
    """Add a mandate; False if its id is taken."""
    scope = [",".join(mandate.standing_orders)]
    return await _INSERT.run_for(tx, [mandate], standing_orders=scope) == 1


async def by_key(
    tx: Connection, keys: Iterable[MandateKey], *, lock: bool = False
) -> dict[MandateKey, Mandate]:
    """Those of the mandates that exist, locked until the transaction ends if `lock` is set.

    Whoever begins an attempt holds the lock: so a mandate that was revoked begins no other, and its
    period's total is counted by one at a time.
    """
    mandates = await (_LOCKED if lock else _BY_KEY).all_for(tx, set(keys))
    return {mandate.key: mandate for mandate in mandates}


async def of_customer(
    tx: Connection, customer: CustomerKey, after: str, limit: int
) -> list[Mandate]:
    """A customer's mandates by id, after an id."""
    return await _OF_CUSTOMER.all(tx, **customer._asdict(), after=after, limit=limit)


async def save(tx: Connection, mandates: Sequence[Mandate]) -> list[Mandate]:
    """Write what has changed of mandates that are locked; returns them as they are then."""
    changed = [replace(mandate, version=mandate.version + 1) for mandate in mandates]
    await _SAVE.run_for(tx, changed)
    return changed


async def amend(tx: Connection, mandate: Mandate) -> Mandate:
    """Write the terms of a mandate that is locked; returns it as it is then."""
    changed = replace(mandate, version=mandate.version + 1)
    await _AMEND.run_for(tx, [changed], standing_orders=[",".join(changed.standing_orders)])
    return changed


async def period_totals_minor(
    tx: Connection, periods: Collection[MandatePeriod]
) -> dict[MandatePeriod, int]:
    """What mandates have paid, or may be paying, in each of some periods."""
    wanted = list(dict.fromkeys(periods))
    rows = await _PERIOD_TOTALS.all_for(tx, wanted, resent_within=KEY_RELIED_ON)
    return {wanted[row.ordinal - 1]: row.total_minor for row in rows}


async def last_charge_times(
    tx: Connection, keys: Iterable[MandateKey], but_for: Iterable[ChargeKey] = ()
) -> dict[MandateKey, datetime]:
    """When mandates were last charged, or may have been, but for some charges; if they ever were."""
    names = ["/".join(key) for key in but_for]
    rows = await _LAST_CHARGES.all_for(tx, set(keys), but_for=names)
    return {MandateKey(row.merchant, row.customer, row.mandate): row.charge_time for row in rows}


async def with_methods(
    tx: Connection, keys: Iterable[MandateKey]
) -> dict[MandateKey, MandateWithMethod]:
    """Those of the mandates that exist, with what is known of what is charged under them."""
    mandates = await _WITH_METHODS.all_for(tx, set(keys), **_SCHEMES)
    return {mandate.key: mandate for mandate in mandates}


async def notice_terms(
    tx: Connection, customers: Iterable[CustomerKey]
) -> dict[MandateKey, NoticeTerms]:
    """By what the notices of customers' charges are timed, by mandate."""
    rows = await _TERMS.all_for(tx, set(customers), **_SCHEMES)
    return {
        MandateKey(row.merchant, row.customer, row.mandate): NoticeTerms(
            scheme_of(row.brand), row.lead_seconds
        )
        for row in rows
    }
