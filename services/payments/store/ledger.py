"""The double-entry ledger: rows are added and never changed, which PostgreSQL enforces.

A day (UTC) is closed in two steps. First it is said that it is closed: from then on what has a time of
that day is booked on the next. When every statement is over that may not have seen it, what each
account was debited and credited with on that day is kept, and what was sold on it. So a balance at any
instant is a sum over days, and over the transfers of days that are not kept yet; and so are reports.
"""

import uuid
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import NamedTuple

from services.payments.domain.disputes import Dispute
from services.payments.domain.keys import ChargeId, ChargeKey, CustomerId, MerchantId, RefundKey
from services.payments.domain.transfers import Transfer
from services.runtime.db import statement_timeout
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class Balance(NamedTuple):
    """An account's balance in one currency."""

    account: str
    currency: str
    balance_minor: int


class Entry(NamedTuple):
    """One side of a transfer: a positive amount is a debit, a negative one a credit."""

    merchant: MerchantId
    transaction: uuid.UUID
    leg: int
    position: uuid.UUID
    account: str
    amount_minor: int
    currency: str
    source: str
    book_time: datetime
    occur_time: datetime


class _GivenBackRow(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId
    account: str
    amount_minor: int


# No statement of the service lasts so long: the role's own limit is 30 s.
CLOSING_SETTLE_SECONDS = 60

# A closed day stays as it is: what comes late is booked on the next.
_BOOK = Command("""
    INSERT INTO ledger_transfers (merchant, customer, source, kind, transaction, debit_account,
                                  credit_account, amount_minor, currency, book_time, occur_time)
    SELECT merchant, customer, source, kind, transaction, debit_account, credit_account,
           amount_minor, currency, greatest(book_time, open_from_time) AS book_time,
           CASE WHEN least(book_time, occur_time) < greatest(book_time, open_from_time)
                THEN least(book_time, occur_time) END AS occur_time
    FROM ledger_closing CROSS JOIN unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:source AS text[]),
        CAST(:kind AS text[]), CAST(:transaction AS uuid[]), CAST(:debit_account AS text[]),
        CAST(:credit_account AS text[]), CAST(:amount_minor AS bigint[]),
        CAST(:currency AS text[]), CAST(:book_time AS timestamptz[]),
        CAST(:occur_time AS timestamptz[])
    ) AS booked (merchant, customer, source, kind, transaction, debit_account, credit_account,
                 amount_minor, currency, book_time, occur_time)
""")

# What was booked of refunds and disputes. The id of a transfer is derived from
# what it books, as `Transfer.transaction` is.
_OF_SOURCES = Query(
    """
    SELECT merchant, customer, source, kind, debit_account, credit_account, amount_minor, currency,
           book_time, occur_time
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:source AS text[]))
      AS wanted (customer, merchant, source)
    CROSS JOIN LATERAL (
        SELECT kind, debit_account, credit_account, amount_minor, currency, book_time, occur_time
        FROM ledger_transfers AS booked
        WHERE booked.customer = wanted.customer AND booked.merchant = wanted.merchant
          AND booked.source = wanted.source
        OFFSET 0) AS booked
""",
    Transfer,
)

# By account, less what came back. The names of a charge's refunds begin with its own. The kind is
# compared so that the planner reads by the names, and not all that a merchant has given back.
_GIVEN_BACK = Query(
    """
    SELECT merchant, customer, charge, account, CAST(sum(minor) AS bigint) AS amount_minor
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:refunds_from AS text[]), CAST(:refunds_until AS text[]))
      AS wanted (customer, merchant, charge, refunds_from, refunds_until)
    CROSS JOIN LATERAL (
        SELECT CASE 'receivable' WHEN credit_account THEN debit_account ELSE credit_account END
                 AS account,
               CASE 'receivable' WHEN credit_account THEN amount_minor ELSE -amount_minor END AS minor
        FROM ledger_transfers AS booked
        WHERE booked.customer = wanted.customer AND booked.merchant = wanted.merchant
          AND booked.source > wanted.refunds_from AND booked.source < wanted.refunds_until
          AND kind || '' LIKE 'CREDIT_NOTE%' AND 'receivable' IN (credit_account, debit_account)
        OFFSET 0) AS part
    GROUP BY merchant, customer, charge, account
""",
    _GivenBackRow,
)

_CLOSE_DAYS = Command("""
    UPDATE ledger_closing SET closed_through_date = :through_date, close_time = clock_timestamp()
    WHERE kept_through_date = closed_through_date AND closed_through_date < :through_date
""")

_KEEP_DAYS = Command("""
    WITH closing AS (
        SELECT kept_through_date, closed_through_date,
               (kept_through_date + 1)::timestamp AT TIME ZONE 'UTC' AS from_time, open_from_time
        FROM ledger_closing
        WHERE kept_through_date < closed_through_date
          AND close_time < clock_timestamp() - make_interval(secs => :settle_seconds)
        FOR UPDATE
    ), kept AS (
        INSERT INTO ledger_days (merchant, account, currency, book_date, debit_minor, credit_minor)
        SELECT merchant, account, currency, (book_time AT TIME ZONE 'UTC')::date AS book_date,
               sum(debit_minor) AS debit_minor, sum(credit_minor) AS credit_minor
        FROM closing
        JOIN ledger_transfers AS transfer
          ON book_time >= closing.from_time AND book_time < closing.open_from_time
        CROSS JOIN LATERAL (
            VALUES (debit_account, amount_minor, 0), (credit_account, 0, amount_minor)
        ) AS entry (account, debit_minor, credit_minor)
        GROUP BY merchant, account, currency, (book_time AT TIME ZONE 'UTC')::date
    ), sold AS (
        INSERT INTO sales_days (merchant, book_date, region_code, currency, lines_md5, lines,
                                charge_count, amount_minor)
        SELECT transfer.merchant, (book_time AT TIME ZONE 'UTC')::date AS book_date, region_code,
               transfer.currency, CAST(md5(CAST(lines AS text)) AS uuid), lines, count(*),
               sum(of_charge.amount_minor)
        FROM closing
        JOIN ledger_transfers AS transfer
          ON book_time >= closing.from_time AND book_time < closing.open_from_time AND kind = 'SALE'
        CROSS JOIN LATERAL (
            SELECT region_code, lines, amount_minor FROM charges
            WHERE charges.customer = transfer.customer AND charges.merchant = transfer.merchant
              AND charges.charge = split_part(transfer.source, '/', 6)
            OFFSET 0) AS of_charge
        GROUP BY transfer.merchant, (book_time AT TIME ZONE 'UTC')::date, region_code,
                 transfer.currency, lines
    )
    UPDATE ledger_closing SET kept_through_date = closing.closed_through_date FROM closing
""")

# Days that are kept, and the transfers since.
_BALANCES = Query(
    """
    WITH span AS (
        SELECT least(
            kept_through_date + 1,
            (CAST(:as_of_time AS timestamptz) AT TIME ZONE 'UTC')::date) AS until_date
        FROM ledger_closing
    )
    SELECT account, currency, CAST(sum(amount_minor) AS bigint) AS balance_minor
    FROM (
        SELECT account, currency, sum(debit_minor - credit_minor) AS amount_minor
        FROM ledger_days CROSS JOIN span
        WHERE merchant = :merchant AND book_date < until_date
        GROUP BY account, currency
        UNION ALL
        SELECT entry.account, currency, entry.amount_minor
        FROM (
            SELECT debit_account, credit_account, currency, sum(amount_minor) AS total_minor
            FROM ledger_transfers
            WHERE merchant = :merchant
              AND book_time >= (SELECT until_date::timestamp AT TIME ZONE 'UTC' FROM span)
              AND book_time < coalesce(:as_of_time, 'infinity')
            GROUP BY debit_account, credit_account, currency) AS moved
        CROSS JOIN LATERAL (
            VALUES (debit_account, total_minor), (credit_account, -total_minor)
        ) AS entry (account, amount_minor)
    ) AS part
    WHERE (account, currency) > (:after_account, :after_currency)
    GROUP BY account, currency ORDER BY account, currency LIMIT :limit
""",
    Balance,
)

# A transfer is two entries.
_ENTRIES = Query(
    """
    SELECT merchant, transaction, leg, position, account, entry.amount_minor, currency, source,
           book_time, coalesce(occur_time, book_time) AS occur_time
    FROM (
        SELECT * FROM ledger_transfers WHERE merchant = :merchant AND position >= :after_position
        ORDER BY position LIMIT :limit) AS transfer
    CROSS JOIN LATERAL (
        VALUES (1, debit_account, transfer.amount_minor),
               (2, credit_account, -transfer.amount_minor)
    ) AS entry (leg, account, amount_minor)
    WHERE (position, leg) > (:after_position, :after_leg)
    ORDER BY position, leg LIMIT :limit
""",
    Entry,
)


async def book(tx: Connection, transfers: Sequence[Transfer]) -> None:
    """Add transfers. PostgreSQL refuses one whose source is booked already."""
    await _BOOK.run_for(tx, transfers)


async def of_refunds(tx: Connection, refunds: Sequence[RefundKey]) -> list[Transfer]:
    """All that was booked of refunds."""
    return await _OF_SOURCES.all_for(tx, refunds, source=[refund.name for refund in refunds])


async def of_disputes(tx: Connection, disputes: Sequence[Dispute]) -> list[Transfer]:
    """All that was booked of disputes."""
    return await _OF_SOURCES.all_for(tx, disputes, source=[it.name for it in disputes])


async def given_back(
    tx: Connection, charges: Collection[ChargeKey]
) -> dict[ChargeKey, Counter[str]]:
    """What was given back of charges of which something was, by account."""
    rows = await _GIVEN_BACK.all_for(
        tx,
        charges,
        refunds_from=[f"{charge.name}/refunds/" for charge in charges],
        # The next character.
        refunds_until=[f"{charge.name}/refunds0" for charge in charges],
    )
    found: dict[ChargeKey, Counter[str]] = {}
    for row in rows:
        key = ChargeKey(row.merchant, row.customer, row.charge)
        found.setdefault(key, Counter())[row.account] = row.amount_minor
    return found


async def close_days(tx: Connection, through_date: date) -> None:
    """Close the days through that one; without effect while closed days are not kept yet."""
    await _CLOSE_DAYS.run(tx, through_date=through_date)


async def keep_days(tx: Connection, deadline_seconds: float) -> None:
    """Keep what was booked on the days that are closed, once nothing is booked on them any more."""
    await statement_timeout.extend(tx, deadline_seconds)
    await _KEEP_DAYS.run(tx, settle_seconds=CLOSING_SETTLE_SECONDS)


async def balances(
    tx: Connection,
    merchant: MerchantId,
    as_of_time: datetime | None,
    after: tuple[str, str],
    limit: int,
) -> list[Balance]:
    """A merchant's accounts, by account and currency, with the sums of what was booked before then."""
    account, currency = after
    return await _BALANCES.all(
        tx,
        merchant=merchant,
        as_of_time=as_of_time,
        after_account=account,
        after_currency=currency,
        limit=limit,
    )


async def entries(
    tx: Connection, merchant: MerchantId, after: tuple[uuid.UUID, int], limit: int
) -> list[Entry]:
    """A merchant's entries in the order of booking, after a position and leg."""
    position, leg = after
    return await _ENTRIES.all(
        tx, merchant=merchant, after_position=position, after_leg=leg, limit=limit
    )
