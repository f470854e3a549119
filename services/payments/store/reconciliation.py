"""The comparison of the books with the provider's list, in one statement a day, and what it found.

A movement is looked for in all of the other side's list, whatever the day it has it on. What mends one
counts as booked of it.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

from services.payments.domain.keys import CustomerId, FindingName, MerchantId
from services.payments.domain.reconciliation import (
    Finding,
    FindingKind,
    Reconciliation,
    RecordedFinding,
    day_of,
)
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query, scalar


class _Row(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    # None: so many are matched.
    kind: FindingKind | None
    source: str
    type: str
    booked_minor: int
    currency: str
    provider_minor: int
    provider_currency: str
    row_count: int


class _ReadRow(NamedTuple):
    provider: str
    is_late: bool
    is_listed: bool


class Turn(NamedTuple):
    """Which days are compared, and which can be."""

    compared_through_date: date
    comparable_through_date: date


class OpenDay(NamedTuple):
    """A day of which something is open."""

    compare_date: date
    # Whether the provider has not listed something.
    is_unlisted: bool


# Of charges that these providers took; and what it lists that is not booked.
_COMPARED = """
    WITH asked AS (
        SELECT merchant FROM unnest(CAST(:merchants AS text[])) AS asked (merchant)
    ), booked AS (
        SELECT merchant, customer, source, type, currency, true AS is_booked
        FROM asked CROSS JOIN LATERAL (
            SELECT customer, source, kind AS type, currency FROM ledger_transfers AS transfer
            WHERE transfer.merchant = asked.merchant
              AND book_time >= :from_time AND book_time < :until_time
              AND kind IN ('CHARGE', 'REFUND', 'REFUND_FAILURE')
              AND EXISTS (
                SELECT FROM attempts
                JOIN payment_methods USING (customer, merchant, payment_method)
                WHERE attempts.customer = transfer.customer
                  AND attempts.merchant = transfer.merchant
                  AND attempts.charge = split_part(transfer.source, '/', 6)
                  AND attempts.state || '' = 'SUCCEEDED'
                  AND payment_methods.provider = ANY (CAST(:providers AS text[])))
            OFFSET 0) AS transfer
    ), unbooked AS (
        SELECT merchant, customer, source, type, min(currency) AS currency, false AS is_booked
        FROM asked CROSS JOIN LATERAL (
            SELECT customer, source, type, coalesce(converted_currency, currency) AS currency
            FROM balance_transactions AS listed
            WHERE listed.merchant = asked.merchant
              AND create_time >= :from_time AND create_time < :until_time
              AND type IN ('CHARGE', 'REFUND', 'REFUND_FAILURE')
              AND listed.provider = ANY (CAST(:providers AS text[]))
              AND NOT EXISTS (
                SELECT FROM ledger_transfers AS transfer
                WHERE transfer.customer = listed.customer AND transfer.merchant = listed.merchant
                  AND transfer.source = listed.source AND transfer.kind = listed.type)
            OFFSET 0) AS listed
        GROUP BY merchant, customer, source, type
    ), summed AS (
        SELECT movement.*, booked_minor, provider_minor, listed_count,
               coalesce(listed_currency, currency) AS provider_currency
        FROM (TABLE booked UNION ALL TABLE unbooked) AS movement
        CROSS JOIN LATERAL (
            SELECT CAST(coalesce(sum(CASE 'provider-clearing' WHEN debit_account THEN amount_minor
                                                              WHEN credit_account THEN -amount_minor
                                     END), 0) AS bigint) AS booked_minor
            FROM ledger_transfers AS transfer
            WHERE transfer.customer = movement.customer AND transfer.merchant = movement.merchant
              AND transfer.source = movement.source
              AND (transfer.kind = movement.type
                   OR starts_with(transfer.kind, 'RECONCILIATION ' || movement.type || ' '))
            OFFSET 0) AS ours
        CROSS JOIN LATERAL (
            SELECT count(*) AS listed_count,
                   min(coalesce(converted_currency, currency)) AS listed_currency,
                   CAST(coalesce(sum(coalesce(converted_minor, amount_minor)), 0) AS bigint)
                       AS provider_minor
            FROM balance_transactions AS listed
            WHERE listed.customer = movement.customer AND listed.merchant = movement.merchant
              AND listed.source = movement.source AND listed.type = movement.type
            OFFSET 0) AS theirs
    ), compared AS (
        SELECT merchant, customer,
               CASE WHEN (booked_minor, currency) = (provider_minor, provider_currency) THEN NULL
                    WHEN NOT is_booked THEN CASE WHEN EXISTS (
                        SELECT FROM charges
                        WHERE charges.customer = summed.customer
                          AND charges.merchant = summed.merchant
                          AND charges.charge = split_part(source, '/', 6)
                          AND (split_part(source, '/', 8) = '' OR EXISTS (
                            SELECT FROM refunds
                            WHERE refunds.customer = summed.customer
                              AND refunds.merchant = summed.merchant
                              AND refunds.charge = charges.charge
                              AND refunds.refund = split_part(source, '/', 8)))
                    ) THEN 'DIFFERENT_STATE' ELSE 'MISSING_HERE' END
                    WHEN listed_count = 0 THEN 'MISSING_AT_PROVIDER'
                    WHEN listed_count > 1 THEN 'DUPLICATE'
                    ELSE 'DIFFERENT_AMOUNT' END AS kind,
               source, type, booked_minor, currency, provider_minor, provider_currency
        FROM summed)
"""
_COMPARE = Query(
    _COMPARED  # noqa: S608 - fixed words
    + """
    SELECT '' AS merchant, '' AS customer, kind, '' AS source, '' AS type,
           CAST(0 AS bigint) AS booked_minor, '' AS currency, CAST(0 AS bigint) AS provider_minor,
           '' AS provider_currency, CAST(count(*) AS integer) AS row_count
    FROM compared WHERE kind IS NULL GROUP BY kind
    UNION ALL (
        SELECT *, 1 FROM compared
        WHERE kind IS NOT NULL AND (source, type) > (:after_source, :after_type)
        ORDER BY source, type LIMIT :limit)
""",
    _Row,
)
# One that is found again stays what it is; one that is not is resolved.
_RECORD = Command(
    _COMPARED  # noqa: S608 - fixed words
    + """
    , found AS MATERIALIZED (
        SELECT * FROM compared WHERE kind IS NOT NULL
    ), resolved AS (
        UPDATE reconciliation_findings AS finding
        SET check_time = :now, resolve_time = :now
        FROM asked
        WHERE finding.merchant = asked.merchant AND compare_date = :compare_date
          AND provider = ANY (CAST(:providers AS text[])) AND resolve_time IS NULL
          AND (finding.merchant, finding.source, finding.type, finding.kind) NOT IN (
            SELECT merchant, source, type, kind FROM found)
    )
    INSERT INTO reconciliation_findings (provider, merchant, customer, kind, source, type,
                                         booked_minor, currency, provider_minor, provider_currency,
                                         compare_date, find_time, check_time)
    SELECT (CAST(:providers AS text[]))[1], found.*, :compare_date, :now, :now FROM found
    ON CONFLICT (merchant, source, type, kind) WHERE resolve_time IS NULL DO UPDATE
    SET booked_minor = excluded.booked_minor, provider_minor = excluded.provider_minor,
        provider_currency = excluded.provider_currency, check_time = excluded.check_time
"""
)
# Before that is read which may be listed later, a day is not compared with a provider that lists late.
_READ = Query(
    """
    SELECT provider, listing_delay_days > 0 AS is_late,
           since_time - make_interval(days => listing_delay_days) >= :until_time AS is_listed
    FROM balance_reading WHERE provider = ANY (CAST(:providers AS text[]))
""",
    _ReadRow,
)
_ANY_BOOKED: Query[bool] = Query(
    _COMPARED + "SELECT EXISTS (TABLE booked)",
    scalar,
)

# As the turn of reading. The list of a day is read, and nothing is booked on it any more; what the
# provider lists late has had an hour.
_TAKE_TURN = Query(
    """
    UPDATE balance_reading SET compare_turn_time = clock_timestamp()
    FROM ledger_closing
    WHERE provider = :provider
      AND compare_turn_time < clock_timestamp() - make_interval(secs => :turn_seconds)
    RETURNING compared_through_date,
              least(kept_through_date,
                    ((since_time - make_interval(days => listing_delay_days, hours => 1))
                     AT TIME ZONE 'UTC')::date - 1)
                AS comparable_through_date
""",
    Turn,
)
# Before the first day with entries there is nothing to compare.
_FIRST_DATE: Query[date] = Query("SELECT min(book_date) FROM ledger_days", scalar)
_ADVANCE = Command("""
    UPDATE balance_reading SET compared_through_date = :compare_date
    WHERE provider = :provider AND compared_through_date < :compare_date
""")
_MERCHANTS: Query[MerchantId] = Query(
    """
    SELECT merchant FROM (
        SELECT merchant FROM ledger_days WHERE book_date = :compare_date
        UNION
        SELECT merchant FROM balance_transactions
        WHERE create_time >= :from_time AND create_time < :until_time
        UNION
        SELECT merchant FROM reconciliation_findings
        WHERE compare_date = :compare_date AND resolve_time IS NULL
    ) AS active
    WHERE merchant > :after ORDER BY merchant LIMIT :limit
""",
    scalar,
)
# Those that were compared longest ago come first.
_OPEN_DAYS = Query(
    """
    SELECT compare_date, bool_or(kind = 'MISSING_AT_PROVIDER') AS is_unlisted
    FROM reconciliation_findings WHERE resolve_time IS NULL AND provider = :provider
    GROUP BY compare_date ORDER BY min(check_time), compare_date LIMIT :limit
""",
    OpenDay,
)
_LISTED = Query(
    """
    SELECT merchant, customer, kind, source, type, booked_minor, currency, provider_minor,
           provider_currency, finding, compare_date, find_time, resolve_time, apply_time, provider
    FROM reconciliation_findings
    WHERE merchant = :merchant AND finding > :after AND (:with_resolved OR resolve_time IS NULL)
    ORDER BY finding LIMIT :limit
""",
    RecordedFinding,
)
_LOCKED = Query(
    """
    SELECT merchant, customer, kind, source, type, booked_minor, currency, provider_minor,
           provider_currency, finding, compare_date, find_time, resolve_time, apply_time, provider
    FROM reconciliation_findings
    WHERE merchant = :merchant AND finding = :finding FOR UPDATE
""",
    RecordedFinding,
)
_SET_APPLIED = Command("""
    UPDATE reconciliation_findings SET resolve_time = :now, apply_time = :now
    WHERE merchant = :merchant AND finding = :finding AND resolve_time IS NULL
""")


async def compare(
    tx: Connection,
    merchant: MerchantId,
    providers: Sequence[str],
    day: date,
    after: tuple[str, str],
    limit: int,
) -> Reconciliation:
    """How much is the same on both sides on a day, and what is not, by name and movement, after one."""
    from_time, until_time = day_of(day)
    after_source, after_type = after
    asked = {"merchants": [merchant], "from_time": from_time, "until_time": until_time}
    read = {row.provider: row for row in await _READ.all(tx, **asked, providers=providers)}
    awaited = [name for name, row in read.items() if row.is_late and not row.is_listed]
    compared = [name for name in providers if name not in awaited]
    rows = await _COMPARE.all(
        tx,
        **asked,
        providers=compared,
        after_source=after_source,
        after_type=after_type,
        limit=limit,
    )
    is_listed = all(name in read and read[name].is_listed for name in compared)
    return Reconciliation(
        complete=is_listed
        and not (awaited and await _ANY_BOOKED.one(tx, **asked, providers=awaited)),
        matched_count=sum(row.row_count for row in rows if row.kind is None),
        findings=[Finding._make(row[:9]) for row in rows if row.kind is not None],
    )


async def record(
    tx: Connection, merchants: Sequence[MerchantId], provider: str, day: date, now: datetime
) -> None:
    """Compare a finished day, keep what is found, and resolve what is not found any more."""
    from_time, until_time = day_of(day)
    await _RECORD.run(
        tx,
        merchants=merchants,
        providers=[provider],
        from_time=from_time,
        until_time=until_time,
        compare_date=day,
        now=now,
    )


async def take_turn(tx: Connection, provider: str, turn_seconds: float) -> Turn | None:
    """Which days can be compared; None while another replica has just had its turn.

    So it is where nothing was read of the provider's balance yet.
    """
    return await _TAKE_TURN.one_or_none(tx, provider=provider, turn_seconds=turn_seconds)


async def first_date(tx: Connection) -> date | None:
    """The first closed day on which anything was booked."""
    return await _FIRST_DATE.one(tx)


async def advance(tx: Connection, provider: str, day: date) -> None:
    """Remember that a day is compared."""
    await _ADVANCE.run(tx, provider=provider, compare_date=day)


async def merchants_of(
    tx: Connection, day: date, after: MerchantId, limit: int
) -> list[MerchantId]:
    """Merchants that have anything to be compared on a day, after one."""
    from_time, until_time = day_of(day)
    return await _MERCHANTS.all(
        tx, compare_date=day, from_time=from_time, until_time=until_time, after=after, limit=limit
    )


async def open_days(tx: Connection, provider: str, limit: int) -> list[OpenDay]:
    """Days of which something is open, those that were compared longest ago first."""
    return await _OPEN_DAYS.all(tx, provider=provider, limit=limit)


async def findings(
    tx: Connection, merchant: MerchantId, after: str, limit: int, *, with_resolved: bool
) -> list[RecordedFinding]:
    """A merchant's findings in the order of their finding, after one."""
    return await _LISTED.all(
        tx, merchant=merchant, after=after, limit=limit, with_resolved=with_resolved
    )


async def locked(tx: Connection, key: FindingName) -> RecordedFinding | None:
    """A finding, which nobody else changes meanwhile."""
    return await _LOCKED.one_or_none(tx, merchant=key.merchant, finding=key.finding)


async def set_applied(tx: Connection, key: FindingName, now: datetime) -> None:
    """Remember that the entry of a finding was booked."""
    await _SET_APPLIED.run(tx, merchant=key.merchant, finding=key.finding, now=now)
