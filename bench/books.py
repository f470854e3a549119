"""The books: entries posted in a second, a trial balance over many, and the comparison of a day.

The payments service's own statements run here, on the stack's database. `python -m bench.books` starts
a stack for them alone.
"""

import argparse
import asyncio
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import asyncpg

from bench import stack
from bench.measure import Aim, Figure, WrongResultError, check
from bench.stack import Stack
from deploy.embedded.__main__ import DEFAULT_HOME, HOME_VARIABLE
from deploy.embedded.process import PartError
from services.payments.clients.stripe import STRIPE
from services.payments.domain.keys import CustomerId, MerchantId
from services.payments.domain.transfers import Transfer
from services.payments.store import ledger, reconciliation
from services.runtime.auth.call_context import Caller, set_caller
from services.runtime.crypto.encryption import Keyring
from services.runtime.db.pool import Database, Pool

MERCHANT = MerchantId("books")
POSTED_TRANSFERS = 40_000
BATCH_TRANSFERS = 1_000
WORKERS = 2
# Two of each transfer.
ENTRIES = 10_000_000
DAYS = 365
BALANCES = 20
COMPARED_ROWS = 100_000
ENTRIES_A_SECOND = Aim(10_000)
TRIAL_BALANCE_SECONDS = Aim(1.0, at_least=False)
COMPARISON_SECONDS = Aim(30.0, at_least=False)
ACCOUNTS_MAX = 100

_TRANSFERS = """
    INSERT INTO ledger_transfers (merchant, customer, source, kind, transaction, debit_account,
                                  credit_account, amount_minor, currency, book_time)
    SELECT $1::text, 'customer-' || number % 1000, 'seeded-' || number, 'CHARGE', gen_random_uuid(),
           'provider-clearing', 'receivable', 900, 'EUR',
           date_trunc('day', now(), 'UTC') - number % $3::integer * interval '1 day'
    FROM generate_series(1, $2::integer) AS number
"""
_DAYS = """
    INSERT INTO ledger_days (merchant, account, currency, book_date, debit_minor, credit_minor)
    SELECT merchant, account, currency, (book_time AT TIME ZONE 'UTC')::date, sum(debit_minor),
           sum(credit_minor)
    FROM ledger_transfers CROSS JOIN LATERAL (
        VALUES (debit_account, amount_minor, 0), (credit_account, 0, amount_minor)
    ) AS entry (account, debit_minor, credit_minor)
    WHERE merchant = $1 AND book_time < date_trunc('day', now(), 'UTC')
    GROUP BY 1, 2, 3, 4
    ON CONFLICT DO NOTHING
"""
_CLOSED_DAYS = "ALTER TABLE ledger_transfers {} TRIGGER ledger_transfers_closed_days"
_CLOSED = """
    UPDATE ledger_closing
    SET closed_through_date = (now() AT TIME ZONE 'UTC')::date - 1,
        kept_through_date = (now() AT TIME ZONE 'UTC')::date - 1
"""
# A day of charges of a merchant of its own that the provider lists as they are booked.
_COMPARED = (
    """
    INSERT INTO payment_methods (merchant, customer, payment_method, provider_token, provider, brand,
                                 last4, create_time)
    SELECT $1::text, 'customer-' || number, 'card', '', $3, 'visa', '4242', '2020-01-01'
    FROM generate_series(1, $2::integer) AS number
    """,
    """
    INSERT INTO attempts (merchant, customer, charge, number, idempotency_key, amount_minor, currency,
                          payment_method, mandate, permit, start_time, end_time, state)
    SELECT $1::text, 'customer-' || number, 'tea-1', 1, 'key', 900, 'EUR', 'card', '', 1,
           '2020-01-01', '2020-01-01', 'SUCCEEDED'
    FROM generate_series(1, $2::integer) AS number WHERE $3 <> ''
    """,
    """
    INSERT INTO ledger_transfers (merchant, customer, source, kind, transaction, debit_account,
                                  credit_account, amount_minor, currency, book_time)
    SELECT $1::text, 'customer-' || number,
           format('merchants/%s/customers/customer-%s/charges/tea-1', $1::text, number), 'CHARGE',
           gen_random_uuid(), 'provider-clearing', 'receivable', 900, 'EUR', '2020-01-01'
    FROM generate_series(1, $2::integer) AS number WHERE $3 <> ''
    """,
    """
    INSERT INTO balance_transactions (provider, merchant, customer, source, balance_transaction, type,
                                      amount_minor, fee_minor, currency, create_time)
    SELECT $3, $1::text, 'customer-' || number,
           format('merchants/%s/customers/customer-%s/charges/tea-1', $1::text, number),
           'txn_' || number, 'CHARGE', 900, 38, 'EUR', '2020-01-01'
    FROM generate_series(1, $2::integer) AS number
    """,
)
_TABLES = ("ledger_transfers", "balance_transactions", "attempts", "payment_methods")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="bench.books", description=__doc__)
    parser.add_argument("--entries", type=int, default=ENTRIES, help="of the trial balance")
    chosen = parser.parse_args(arguments)
    home = Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME) / "bench"
    try:
        with stack.running(home / "stack") as running:
            figures = asyncio.run(measure(running, chosen.entries))
    except (PartError, WrongResultError) as error:
        print(f"bench.books: {error}", file=sys.stderr)
        return 1
    for figure in figures:
        print(f"{figure.name}: {figure.value:,.3g} {figure.unit} (aim {figure.aim})")
    return 0


async def measure(running: Stack, entries: int = ENTRIES) -> list[Figure]:
    """All of it; afterwards the rows stay."""
    keyring = running.keyring("payments")
    return await measure_on(running.own_url("payments"), running.url("payments"), keyring, entries)


async def measure_on(own_url: str, owner_url: str, keyring: Keyring, entries: int) -> list[Figure]:
    """On a database, as the service and as its owner."""
    run = uuid.uuid4().hex[:8]
    database = Database(
        Pool(own_url, application="recurring-bench", size=WORKERS + 1, keyring=keyring)
    )
    try:
        posted = await _post(database, MerchantId(f"posting-{run}"))
        async with _owner(owner_url) as owner:
            await _write_past(owner, run, entries)
            for merchant in (MERCHANT + run, f"compared-{run}"):
                await owner.execute(_DAYS, merchant)
            await owner.execute(_CLOSED)
            for table in _TABLES:
                await owner.execute(f"VACUUM ANALYZE {table}")
        balance_seconds = await _balance(database, MerchantId(MERCHANT + run), entries)
        compared_seconds = await _compare(database, MerchantId(f"compared-{run}"))
    finally:
        await database.close()
    return [
        Figure("ledger entries posted", posted, "/s", ENTRIES_A_SECOND),
        Figure(
            f"trial balance over {entries:,} entries", balance_seconds, "s", TRIAL_BALANCE_SECONDS
        ),
        Figure(f"a day of {COMPARED_ROWS:,} compared", compared_seconds, "s", COMPARISON_SECONDS),
    ]


async def _write_past(owner: asyncpg.Connection, run: str, entries: int) -> None:
    """The year and the compared day: the service may close these days while they are written."""
    async with owner.transaction():
        await owner.execute(_CLOSED_DAYS.format("DISABLE"))
        await owner.execute(_TRANSFERS, MERCHANT + run, entries // 2, DAYS)
        for statement in _COMPARED:
            await owner.execute(statement, f"compared-{run}", COMPARED_ROWS, STRIPE)
        await owner.execute(_CLOSED_DAYS.format("ENABLE"))


@asynccontextmanager
async def _owner(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def _post(database: Database, merchant: MerchantId) -> float:
    """Entries a second, by workers that each post batches in transactions of their own."""
    set_caller(Caller("bench", merchant))
    now = datetime.now(UTC)

    def batch(number: int) -> list[Transfer]:
        return [
            Transfer(
                merchant,
                CustomerId(f"customer-{item % 97}"),
                f"posted-{number}-{item}",
                "CHARGE",
                "provider-clearing",
                "receivable",
                900,
                "EUR",
                now,
            )
            for item in range(BATCH_TRANSFERS)
        ]

    batches = iter([batch(number) for number in range(POSTED_TRANSFERS // BATCH_TRANSFERS)])

    async def work() -> None:
        for transfers in batches:
            async with database.begin() as tx:
                await ledger.book(tx, transfers)

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(WORKERS)))
    seconds = time.perf_counter() - started
    return 2 * POSTED_TRANSFERS / seconds


async def _balance(database: Database, merchant: MerchantId, entries: int) -> float:
    """The mean time of a trial balance; that it sums to zero, and holds every entry."""
    set_caller(Caller("bench", merchant))
    balances: list[ledger.Balance] = []
    started = time.perf_counter()
    for _ in range(BALANCES):
        async with database.read() as connection:
            balances = await ledger.balances(connection, merchant, None, ("", ""), ACCOUNTS_MAX)
    seconds = (time.perf_counter() - started) / BALANCES
    check("sum of a trial balance", 0, sum(balance.balance_minor for balance in balances))
    largest = max(balance.balance_minor for balance in balances)
    check("balance of an account", entries // 2 * 900, largest)
    return seconds


async def _compare(database: Database, merchant: MerchantId) -> float:
    set_caller(Caller("bench", merchant))
    day = date(2020, 1, 1)
    started = time.perf_counter()
    async with database.read() as connection:
        compared = await reconciliation.compare(connection, merchant, [STRIPE], day, ("", ""), 100)
    check("charges compared", COMPARED_ROWS, compared.matched_count)
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
