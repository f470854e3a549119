"""What statements are made of: what is booked of a customer, and what they owe."""

from datetime import datetime
from typing import NamedTuple

from services.payments.domain.keys import CustomerKey
from services.payments.domain.transfers import Transfer
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query


class CurrencySum(NamedTuple):
    """An amount in one currency."""

    currency: str
    minor: int


# The key of a transfer begins with the customer's.
_BALANCE = Query(
    """
    SELECT currency, CAST(sum(
        CASE WHEN debit_account IN ('receivable', 'customer-credit') THEN amount_minor ELSE 0 END
        - CASE WHEN credit_account IN ('receivable', 'customer-credit') THEN amount_minor ELSE 0 END
      ) AS bigint) AS minor
    FROM ledger_transfers
    WHERE customer = :customer AND merchant = :merchant AND book_time < :until_time
    GROUP BY currency
""",
    CurrencySum,
)

_BOOKED = Query(
    """
    SELECT merchant, customer, source, kind, debit_account, credit_account, amount_minor, currency,
           book_time, occur_time
    FROM ledger_transfers
    WHERE customer = :customer AND merchant = :merchant
      AND book_time >= :from_time AND book_time < :until_time
    ORDER BY book_time, position LIMIT :limit
""",
    Transfer,
)

_DUE = Query(
    """
    SELECT currency, CAST(sum(amount_minor) AS bigint) AS minor FROM charges
    WHERE customer = :customer AND merchant = :merchant AND create_time < :until_time
      AND (state NOT IN ('SUCCEEDED', 'REFUSED', 'ABANDONED') OR update_time >= :until_time)
    GROUP BY currency
""",
    CurrencySum,
)


async def balance(tx: Connection, customer: CustomerKey, until_time: datetime) -> dict[str, int]:
    """What a customer owed before a time, less their credit, by currency."""
    rows = await _BALANCE.all(tx, **customer._asdict(), until_time=until_time)
    return {row.currency: row.minor for row in rows}


async def booked(
    tx: Connection, customer: CustomerKey, span: tuple[datetime, datetime], limit: int
) -> list[Transfer]:
    """What was booked of a customer from a time until another, in the order of booking."""
    return await _BOOKED.all(
        tx, **customer._asdict(), from_time=span[0], until_time=span[1], limit=limit
    )


async def due(tx: Connection, customer: CustomerKey, until_time: datetime) -> dict[str, int]:
    """What was due before a time, and neither paid nor given up, by currency."""
    rows = await _DUE.all(tx, **customer._asdict(), until_time=until_time)
    return {row.currency: row.minor for row in rows}
