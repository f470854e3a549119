"""The double-entry ledger: rows are added and never changed, which PostgreSQL enforces."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from services.payments.domain.keys import MerchantId
from services.payments.domain.ledger import Booking
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class Balance(NamedTuple):
    """An account's balance in one currency."""

    account: str
    currency: str
    balance_minor: int


class Entry(NamedTuple):
    """One leg of a booking."""

    merchant: MerchantId
    transaction: uuid.UUID
    leg: int
    position: uuid.UUID
    account: str
    amount_minor: int
    currency: str
    source: str
    book_time: datetime


_INSERT_TRANSACTIONS = Command("""
    INSERT INTO ledger_transactions (merchant, customer, transaction, source, kind, book_time)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:transaction AS uuid[]),
        CAST(:source AS text[]), CAST(:kind AS text[]), CAST(:book_time AS timestamptz[]))
""")

_INSERT_ENTRIES = Command("""
    INSERT INTO ledger_entries (merchant, customer, transaction, leg, account, amount_minor,
                                currency)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:transaction AS uuid[]),
        CAST(:leg AS integer[]), CAST(:account AS text[]), CAST(:amount_minor AS bigint[]),
        CAST(:currency AS text[]))
""")

_BALANCES = Query(
    """
    SELECT account, currency, CAST(sum(amount_minor) AS bigint) AS balance_minor
    FROM ledger_entries
    WHERE merchant = :merchant AND (account, currency) > (:after_account, :after_currency)
    GROUP BY account, currency ORDER BY account, currency LIMIT :limit
""",
    Balance,
)

_ENTRIES = Query(
    """
    SELECT merchant, transaction, leg, position, account, amount_minor, currency, source,
           book_time
    FROM ledger_entries
    JOIN ledger_transactions USING (customer, merchant, transaction)
    WHERE merchant = :merchant AND position > :after
    ORDER BY position LIMIT :limit
""",
    Entry,
)


async def book(tx: Connection, bookings: Sequence[Booking]) -> None:
    """Add transactions with their entries. PostgreSQL refuses one whose source is booked already."""
    await _INSERT_TRANSACTIONS.run_for(tx, bookings)
    legs = [leg for booking in bookings for leg in booking.legs]
    await _INSERT_ENTRIES.run_for(
        tx,
        [booking for booking in bookings for _ in booking.legs],
        leg=[number for booking in bookings for number in range(1, len(booking.legs) + 1)],
        account=[leg.account for leg in legs],
        amount_minor=[leg.amount_minor for leg in legs],
        currency=[leg.currency for leg in legs],
    )


async def balances(
    tx: Connection, merchant: MerchantId, after: tuple[str, str], limit: int
) -> list[Balance]:
    """A merchant's accounts with their balances, by account and currency."""
    account, currency = after
    return await _BALANCES.all(
        tx, merchant=merchant, after_account=account, after_currency=currency, limit=limit
    )


async def entries(
    tx: Connection, merchant: MerchantId, after_position: uuid.UUID, limit: int
) -> list[Entry]:
    """A merchant's entries in the order of booking, after a position."""
    return await _ENTRIES.all(tx, merchant=merchant, after=after_position, limit=limit)
