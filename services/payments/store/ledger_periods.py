"""Periods that merchants have closed, and through which day each may be."""

from datetime import date, datetime

from services.payments.domain.keys import MerchantId
from services.payments.domain.ledger_periods import LedgerPeriod
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query, scalar

# Nothing is booked any more on days through this one.
_KEPT_THROUGH: Query[date] = Query("SELECT kept_through_date FROM ledger_closing", scalar)
_COVERING = Query(
    """
    SELECT merchant, through_date, close_time, balance_digest FROM ledger_periods
    WHERE merchant = :merchant AND through_date >= :through_date
    ORDER BY through_date LIMIT 1
""",
    LedgerPeriod,
)
# A line an account and currency, in the order of their bytes.
_CLOSE = Command("""
    INSERT INTO ledger_periods (merchant, through_date, close_time, balance_digest)
    SELECT :merchant, :through_date, :close_time,
           encode(sha256(convert_to(coalesce(string_agg(
               format(E'%s %s %s\\n', account, currency, balance_minor), ''
               ORDER BY account COLLATE "C", currency COLLATE "C"), ''), 'UTF8')), 'hex')
    FROM (
        SELECT account, currency, sum(debit_minor - credit_minor) AS balance_minor
        FROM ledger_days WHERE merchant = :merchant AND book_date <= :through_date
        GROUP BY account, currency) AS balance
    ON CONFLICT (merchant, through_date) DO NOTHING
""")
_PERIODS = Query(
    """
    SELECT merchant, through_date, close_time, balance_digest FROM ledger_periods
    WHERE merchant = :merchant
      AND through_date < coalesce(CAST(:before_date AS date), 'infinity')
    ORDER BY through_date DESC LIMIT :limit
""",
    LedgerPeriod,
)


async def kept_through_date(tx: Connection) -> date:
    """The last day on which nothing is booked any more."""
    return await _KEPT_THROUGH.one(tx)


async def covering(tx: Connection, merchant: MerchantId, through_date: date) -> LedgerPeriod | None:
    """The first period of a merchant that a day is in."""
    return await _COVERING.one_or_none(tx, merchant=merchant, through_date=through_date)


async def close(
    tx: Connection, merchant: MerchantId, through_date: date, close_time: datetime
) -> None:
    """Close a merchant's books through a day that is kept; without effect if they are."""
    await _CLOSE.run(tx, merchant=merchant, through_date=through_date, close_time=close_time)


async def periods(
    tx: Connection, merchant: MerchantId, before_date: date | None, limit: int
) -> list[LedgerPeriod]:
    """A merchant's periods, the latest first, before a day."""
    return await _PERIODS.all(tx, merchant=merchant, before_date=before_date, limit=limit)
