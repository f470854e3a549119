"""The comparison of the books with the provider's list, in one statement a day and merchant."""

from datetime import datetime
from typing import NamedTuple

from services.payments.domain.keys import MerchantId
from services.payments.domain.reconciliation import Finding, FindingKind, Reconciliation
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query, scalar


class _Row(NamedTuple):
    # None: so many are matched.
    kind: FindingKind | None
    source: str
    booked_minor: int
    provider_minor: int
    currency: str
    row_count: int


# What is booked on the day is looked for in all of the provider's list, and what the provider lists of
# the day in all of the books: the two may have it on two days.
_COMPARE = Query(
    """
    WITH booked AS (
        SELECT customer, source, kind, amount_minor, currency FROM ledger_transfers AS transfer
        WHERE merchant = :merchant AND book_time >= :from_time AND book_time < :until_time
          AND kind IN ('CHARGE', 'REFUND', 'REFUND_FAILURE')
          -- Of charges that this provider took.
          AND EXISTS (
            SELECT FROM attempts
            JOIN payment_methods USING (customer, merchant, payment_method)
            WHERE attempts.customer = transfer.customer AND attempts.merchant = transfer.merchant
              AND attempts.charge = split_part(transfer.source, '/', 6)
              AND attempts.state || '' = 'SUCCEEDED' AND payment_methods.provider = :provider)
    ), ours AS (
        SELECT CASE WHEN listed_count = 0 THEN 'MISSING_AT_PROVIDER'
                    WHEN listed_count > 1 THEN 'DUPLICATE'
                    WHEN (listed_minor, listed_currency) <> (amount_minor, booked.currency)
                      THEN 'DIFFERENT_AMOUNT' END AS kind,
               booked.source, amount_minor AS booked_minor, listed_minor AS provider_minor,
               booked.currency
        FROM booked CROSS JOIN LATERAL (
            SELECT count(*) AS listed_count, coalesce(sum(abs(amount_minor)), 0) AS listed_minor,
                   min(currency) AS listed_currency
            FROM balance_transactions AS listed
            WHERE listed.customer = booked.customer AND listed.merchant = :merchant
              AND listed.source = booked.source AND listed.type = booked.kind
            OFFSET 0) AS listed
    ), theirs AS (
        SELECT CASE WHEN known.is_known THEN 'DIFFERENT_STATE' ELSE 'MISSING_HERE' END AS kind,
               source, 0 AS booked_minor, sum(abs(amount_minor)) AS provider_minor, currency
        FROM balance_transactions AS listed CROSS JOIN LATERAL (
            SELECT EXISTS (
                     SELECT FROM ledger_transfers AS transfer
                     WHERE transfer.customer = listed.customer AND transfer.merchant = :merchant
                       AND transfer.source = listed.source AND transfer.kind = listed.type
                   ) AS is_booked,
                   EXISTS (
                     SELECT FROM charges
                     WHERE charges.customer = listed.customer AND charges.merchant = :merchant
                       AND charges.charge = split_part(listed.source, '/', 6)
                       AND (split_part(listed.source, '/', 8) = '' OR EXISTS (
                         SELECT FROM refunds
                         WHERE refunds.customer = listed.customer AND refunds.merchant = :merchant
                           AND refunds.charge = charges.charge
                           AND refunds.refund = split_part(listed.source, '/', 8)))
                   ) AS is_known
            OFFSET 0) AS known
        WHERE merchant = :merchant AND create_time >= :from_time AND create_time < :until_time
          AND type IN ('CHARGE', 'REFUND', 'REFUND_FAILURE') AND NOT is_booked
        GROUP BY 1, source, currency
    ), compared AS (TABLE ours UNION ALL TABLE theirs)
    SELECT kind, '' AS source, CAST(0 AS bigint) AS booked_minor, CAST(0 AS bigint) AS provider_minor,
           '' AS currency, CAST(count(*) AS integer) AS row_count
    FROM compared WHERE kind IS NULL GROUP BY kind
    UNION ALL (
        SELECT kind, source, CAST(booked_minor AS bigint), CAST(provider_minor AS bigint), currency, 1
        FROM compared WHERE kind IS NOT NULL AND (source, kind) > (:after_source, :after_kind)
        ORDER BY source, kind LIMIT :limit)
""",
    _Row,
)
_READ_THROUGH: Query[datetime] = Query("SELECT since_time FROM balance_reading", scalar)


async def compare(
    tx: Connection,
    merchant: MerchantId,
    provider: str,
    day: tuple[datetime, datetime],
    after: tuple[str, str],
    limit: int,
) -> Reconciliation:
    """How much is the same on both sides on a day, and what is not, by name and kind, after one."""
    from_time, until_time = day
    after_source, after_kind = after
    rows = await _COMPARE.all(
        tx,
        merchant=merchant,
        provider=provider,
        from_time=from_time,
        until_time=until_time,
        after_source=after_source,
        after_kind=after_kind,
        limit=limit,
    )
    return Reconciliation(
        complete=await _READ_THROUGH.one(tx) >= until_time,
        matched_count=sum(row.row_count for row in rows if row.kind is None),
        findings=[Finding(row.kind, *row[1:5]) for row in rows if row.kind is not None],
    )
