"""The double-entry ledger: rows are added and never changed, which PostgreSQL enforces."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from services.payments.domain.keys import MerchantId
from services.payments.domain.ledger import Transfer
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


_BOOK = Command("""
    INSERT INTO ledger_transfers (merchant, customer, source, kind, transaction, debit_account,
                                  credit_account, amount_minor, currency, book_time)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:source AS text[]),
        CAST(:kind AS text[]), CAST(:transaction AS uuid[]), CAST(:debit_account AS text[]),
        CAST(:credit_account AS text[]), CAST(:amount_minor AS bigint[]),
        CAST(:currency AS text[]), CAST(:book_time AS timestamptz[]))
""")

_BALANCES = Query(
    """
    SELECT account, currency, CAST(sum(amount_minor) AS bigint) AS balance_minor
    FROM (
        SELECT debit_account, credit_account, currency, sum(amount_minor) AS total_minor
        FROM ledger_transfers WHERE merchant = :merchant
        GROUP BY debit_account, credit_account, currency) AS moved
    CROSS JOIN LATERAL (
        VALUES (debit_account, total_minor), (credit_account, -total_minor)
    ) AS entry (account, amount_minor)
    WHERE (account, currency) > (:after_account, :after_currency)
    GROUP BY account, currency ORDER BY account, currency LIMIT :limit
""",
    Balance,
)

# A transfer is two entries.
_ENTRIES = Query(
    """
    SELECT merchant, transaction, leg, position, account, entry.amount_minor, currency, source,
           book_time
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


async def balances(
    tx: Connection, merchant: MerchantId, after: tuple[str, str], limit: int
) -> list[Balance]:
    """A merchant's accounts with their balances, by account and currency."""
    account, currency = after
    return await _BALANCES.all(
        tx, merchant=merchant, after_account=account, after_currency=currency, limit=limit
    )


async def entries(
    tx: Connection, merchant: MerchantId, after: tuple[uuid.UUID, int], limit: int
) -> list[Entry]:
    """A merchant's entries in the order of booking, after a position and leg."""
    position, leg = after
    return await _ENTRIES.all(
        tx, merchant=merchant, after_position=position, after_leg=leg, limit=limit
    )
