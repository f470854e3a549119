"""The ledger as journals that other programs read. Pure.

Sources: https://hledger.org/1.25/hledger.html (journal format) and
https://beancount.github.io/docs/beancount_language_syntax.html, read on 2026-11-29.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from cli.values import minor_digits

# What both programs call the sides of the books.
_ROOTS = {"ASSET": "Assets", "LIABILITY": "Liabilities", "INCOME": "Income", "EXPENSE": "Expenses"}
_CSV_HEADER = (
    *("date", "time", "transaction", "account", "amount", "currency", "source"),
    "occurred",
)
# Before the first entry of any merchant.
_OPEN_DATE = "1970-01-01"


class Format(StrEnum):
    """What reads a journal."""

    CSV = "csv"
    HLEDGER = "hledger"
    BEANCOUNT = "beancount"


class Account(NamedTuple):
    """An account in one currency."""

    account: str
    type: str
    currency: str


class Entry(NamedTuple):
    """One side of a transaction: a positive amount is a debit, a negative one a credit."""

    transaction: str
    account: str
    amount_minor: int
    currency: str
    source: str
    # In UTC; it happened before it was booked where its day was closed by then.
    book_time: datetime
    occur_time: datetime


class Journal:
    """Writes entries in their order; those of a transaction follow one another."""

    def __init__(self, form: Format, merchant: str, accounts: Sequence[Account]) -> None:
        self._form = form
        self._merchant = merchant
        self._accounts = accounts
        self._full_names = {it.account: _full_name(form, it) for it in accounts}
        self._transaction = ""

    def head(self) -> Iterator[str]:
        """What comes before the first entry: a header, or what the entries name."""
        if self._form is Format.CSV:
            yield _csv_line(_CSV_HEADER)
            return
        yield f"; {self._merchant}\n\n"
        if self._form is Format.HLEDGER:
            for currency in sorted({it.currency for it in self._accounts}):
                # An amount with a decimal mark declares the mark.
                sample = _amount(10 ** minor_digits(currency) * 1000, currency)
                yield f"commodity {sample if '.' in sample else sample + '.'} {currency}\n"
            for name in sorted(set(self._full_names.values())):
                yield f"account {name}\n"
        else:
            for name in sorted(set(self._full_names.values())):
                yield f"{_OPEN_DATE} open {name}\n"

    def entry(self, entry: Entry) -> Iterator[str]:
        """One side of a transaction, and the transaction's own line before the first."""
        amount = _amount(entry.amount_minor, entry.currency)
        if self._form is Format.CSV:
            booked = (f"{entry.book_time:%Y-%m-%d}", f"{entry.book_time:%H:%M:%SZ}")
            what = (entry.transaction, entry.account, amount, entry.currency, entry.source)
            yield _csv_line((*booked, *what, f"{entry.occur_time:%Y-%m-%d}"))
            return
        if entry.transaction != self._transaction:
            self._transaction = entry.transaction
            yield from self._beginning(entry)
        yield f"    {self._full_names[entry.account]}  {amount} {entry.currency}\n"

    def _beginning(self, entry: Entry) -> Iterator[str]:
        day = entry.book_time.date().isoformat()
        occurred = entry.occur_time.date().isoformat()
        if self._form is Format.HLEDGER:
            tag = f"  ; occurred:{occurred}" if occurred != day else ""
            yield f"\n{day} ({entry.transaction}) {entry.source}{tag}\n"
        else:
            yield f'\n{day} * "{entry.source}"\n  transaction: "{entry.transaction}"\n'
            if occurred != day:
                yield f"  occurred: {occurred}\n"


def _full_name(form: Format, account: Account) -> str:
    root = _ROOTS[account.type]
    if form is Format.HLEDGER:
        return f"{root.lower()}:{account.account}"
    return f"{root}:{account.account.title()}"


def _amount(amount_minor: int, currency: str) -> str:
    digits = minor_digits(currency)
    return f"{Decimal(amount_minor).scaleb(-digits):.{digits}f}"


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
