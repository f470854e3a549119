"""The double-entry ledger of a merchant: balances, entries, and journals for other programs."""

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from recurring.payments.v1 import payments_pb2 as pb

from cli.command import command, group
from cli.connect import Session, all_pages, pages
from cli.journals import Account, Entry, Format, Journal
from cli.names import last_id, short_name
from cli.output import Columns
from cli.values import format_money, format_timestamp, parse_moment, to_minor, to_timestamp

ledger = group("Show the double-entry ledger of the merchant.")

ACCOUNT_COLUMNS: Columns[pb.LedgerAccount] = {
    "account": lambda it: last_id(it.name),
    "type": lambda it: pb.LedgerAccount.Type.Name(it.type),
    "balance": lambda it: format_money(it.balance),
}
ENTRY_COLUMNS: Columns[pb.LedgerEntry] = {
    "booked": lambda it: format_timestamp(it.book_time),
    "account": lambda it: last_id(it.account),
    "amount": lambda it: format_money(it.amount),
    "for": lambda it: short_name(it.source),
    "transaction": lambda it: last_id(it.transaction),
    "happened": lambda it: format_timestamp(it.occur_time),
}


@command(ledger, "accounts")
async def list_accounts(
    session: Session,
    at: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_moment, metavar="TIME", help="Of what was booked before. Default: of all."
        ),
    ] = None,
) -> None:
    """List the accounts with their balances, which sum to zero: a trial balance."""
    request = pb.ListLedgerAccountsRequest(
        parent=session.parent, as_of_time=to_timestamp(at) if at else None
    )
    ledger_accounts = await all_pages(
        session.payments.ListLedgerAccounts, request, "ledger_accounts"
    )
    session.output.many(ledger_accounts, ACCOUNT_COLUMNS, "no accounts")


@command(ledger, "entries")
async def list_entries(session: Session) -> None:
    """List the entries, the oldest first."""
    request = pb.ListLedgerEntriesRequest(parent=session.parent)
    ledger_entries = await all_pages(session.payments.ListLedgerEntries, request, "ledger_entries")
    session.output.many(ledger_entries, ENTRY_COLUMNS, "no entries")


@command(ledger, "journal")
async def export_journal(
    session: Session,
    form: Annotated[
        Format, typer.Option("--format", help="What reads it.", case_sensitive=False)
    ] = Format.CSV,
) -> None:
    """Print all entries as a journal, for hledger, beancount or a spreadsheet."""
    accounts = await all_pages(
        session.payments.ListLedgerAccounts,
        pb.ListLedgerAccountsRequest(parent=session.parent),
        "ledger_accounts",
    )
    journal = Journal(
        form,
        session.merchant,
        [
            Account(last_id(it.name), pb.LedgerAccount.Type.Name(it.type), it.balance.currency_code)
            for it in accounts
        ],
    )
    entries = pb.ListLedgerEntriesRequest(parent=session.parent)
    sys.stdout.writelines(journal.head())
    async for it in pages(session.payments.ListLedgerEntries, entries, "ledger_entries"):
        entry = Entry(
            it.transaction,
            last_id(it.account),
            to_minor(it.amount),
            it.amount.currency_code,
            it.source,
            it.book_time.ToDatetime(UTC),
            it.occur_time.ToDatetime(UTC),
        )
        sys.stdout.writelines(journal.entry(entry))
    sys.stdout.flush()
