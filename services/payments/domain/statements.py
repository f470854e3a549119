"""Statements: what a customer was invoiced, paid and got back in a month or a year. Pure.

A balance is what the customer owes less what they have of credit: what `receivable` and
`customer-credit` were debited with in their transfers, less what both were credited with. So credit
that pays an invoice changes no balance, and one below zero is in the customer's favour.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from services.payments.domain.accounts import CUSTOMER_CREDIT, RECEIVABLE
from services.payments.domain.buyers import Buyer, dump_buyer, load_buyer
from services.payments.domain.keys import CustomerId, MerchantId
from services.payments.domain.transfers import Transfer

# What is booked of a customer in a period; nobody buys more often.
TRANSFERS_MAX = 5000
FIRST_YEAR, LAST_YEAR = 1970, 2100
_DECEMBER = 12
_PERIOD = re.compile(r"([0-9]{4})(?:-(0[1-9]|1[0-2]))?")
_OF_CUSTOMER = (RECEIVABLE, CUSTOMER_CREDIT)


class EntryType(StrEnum):
    """What an entry of a statement is."""

    INVOICE = "INVOICE"
    PAYMENT = "PAYMENT"
    CREDIT_NOTE = "CREDIT_NOTE"
    # What a refund gave back came back.
    DEBIT_NOTE = "DEBIT_NOTE"
    REFUND = "REFUND"
    REFUND_RETURNED = "REFUND_RETURNED"
    CREDIT_GIVEN = "CREDIT_GIVEN"
    # It was paid out, or corrected.
    CREDIT_TAKEN = "CREDIT_TAKEN"


# In which sum each counts, and how: all of them are what the balance changes by.
INVOICED = frozenset({EntryType.INVOICE, EntryType.DEBIT_NOTE})
PAID = frozenset({EntryType.PAYMENT, EntryType.REFUND_RETURNED})
CREDITED = frozenset({EntryType.CREDIT_NOTE, EntryType.CREDIT_GIVEN})
REFUNDED = frozenset({EntryType.REFUND, EntryType.CREDIT_TAKEN})


class Period(NamedTuple):
    """A month, or a year."""

    year: int
    # None: the whole year.
    month: int | None = None

    @property
    def start_date(self) -> date:
        """Its first day."""
        return date(self.year, self.month or 1, 1)

    @property
    def until_date(self) -> date:
        """The first day after it."""
        last_month = date(self.year, self.month or _DECEMBER, 1)
        return (last_month + timedelta(days=31)).replace(day=1)

    @property
    def id(self) -> str:
        """What statements of it are called."""
        return f"{self.year}" if self.month is None else f"{self.year}-{self.month:02}"


def parse_period(text: str) -> Period | None:
    """The period that an id stands for, if it stands for one that a statement may have."""
    match = _PERIOD.fullmatch(text)
    if match is None or not FIRST_YEAR <= int(match[1]) <= LAST_YEAR:
        return None
    return Period(int(match[1]), int(match[2]) if match[2] else None)


class StatementEntry(NamedTuple):
    """Something that changed the balance."""

    book_time: datetime
    type: EntryType
    # The name of the charge, refund or change of credit.
    source: str
    # Number of its document; empty: it has none.
    document: str
    currency: str
    # What the balance rose by.
    amount_minor: int
    balance_minor: int


class StatementSums(NamedTuple):
    """What happened in one currency."""

    currency: str
    opening_minor: int
    invoiced_minor: int
    paid_minor: int
    credited_minor: int
    refunded_minor: int
    # What was due at the end, and neither paid nor given up.
    due_minor: int

    @property
    def closing_minor(self) -> int:
        """The balance at the end."""
        return (
            self.opening_minor
            + self.invoiced_minor
            - self.paid_minor
            - self.credited_minor
            + self.refunded_minor
        )


class StatementMonth(NamedTuple):
    """What happened in a month, by currency."""

    start_date: date
    sums: tuple[StatementSums, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said of a customer and a period."""

    merchant: MerchantId
    customer: CustomerId
    period: Period
    time_zone: str
    # Whether the period is over, so that nothing is booked in it any more.
    is_complete: bool
    sums: tuple[StatementSums, ...]
    # Of a month.
    entries: tuple[StatementEntry, ...] = ()
    # Of a year.
    months: tuple[StatementMonth, ...] = ()
    # As the customer is named now; None: by the id alone.
    buyer: Buyer | None = None


def balance_change(transfer: Transfer) -> int:
    """What a transfer changes of what a customer owes, less their credit."""
    debited = transfer.debit_account in _OF_CUSTOMER
    credited = transfer.credit_account in _OF_CUSTOMER
    return transfer.amount_minor * (debited - credited)


def entries_of(
    transfers: Iterable[Transfer],
    opening: Mapping[str, int],
    documents: Mapping[tuple[str, EntryType], str],
) -> Iterator[StatementEntry]:
    """The entries of transfers in the order of booking; those of one thing are one entry.

    Of what is booked at the same time, an invoice comes before its payment.
    """
    changes: dict[tuple[datetime, str, EntryType, str], int] = defaultdict(int)
    for it in transfers:
        if change := balance_change(it):
            kind = _entry_type(it, change)
            changes[it.book_time, it.source, kind, it.currency] += change
    balances = Counter(opening)
    places = {kind: place for place, kind in enumerate(EntryType)}
    ordered = sorted(changes.items(), key=lambda it: (*it[0][:2], places[it[0][2]]))
    for (book_time, source, kind, currency), change in ordered:
        balances[currency] += change
        document = documents.get((source, kind), "")
        yield StatementEntry(
            book_time, kind, source, document, currency, change, balances[currency]
        )


def _entry_type(transfer: Transfer, change: int) -> EntryType:
    """What a transfer that changes a balance is to the customer."""
    other = {transfer.debit_account, transfer.credit_account}
    if CUSTOMER_CREDIT in other:
        return EntryType.CREDIT_GIVEN if change < 0 else EntryType.CREDIT_TAKEN
    kind = transfer.kind
    if kind.startswith("SALE"):
        return EntryType.INVOICE
    if kind.startswith("CREDIT_NOTE"):
        return EntryType.CREDIT_NOTE if change < 0 else EntryType.DEBIT_NOTE
    if kind.startswith("REFUND"):
        return EntryType.REFUND if change > 0 else EntryType.REFUND_RETURNED
    return EntryType.PAYMENT


def sums_of(
    entries: Iterable[StatementEntry], opening: Mapping[str, int], due: Mapping[str, int]
) -> tuple[StatementSums, ...]:
    """What happened, by currency; of currencies in which anything did, or is owed."""
    sums: dict[str, Counter[EntryType]] = defaultdict(Counter)
    for entry in entries:
        sums[entry.currency][entry.type] += entry.amount_minor
    currencies = {code for known in (opening, due) for code, minor in known.items() if minor}
    return tuple(
        StatementSums(
            code,
            opening.get(code, 0),
            _sum(sums[code], INVOICED),
            -_sum(sums[code], PAID),
            -_sum(sums[code], CREDITED),
            _sum(sums[code], REFUNDED),
            due.get(code, 0),
        )
        for code in sorted(currencies | set(sums))
    )


def _sum(sums: Mapping[EntryType, int], types: frozenset[EntryType]) -> int:
    return sum(sums.get(kind, 0) for kind in types)


def months_of(
    entries: Sequence[StatementEntry], opening: Mapping[str, int], dates: Sequence[date]
) -> tuple[StatementMonth, ...]:
    """A year by months, of those in which anything happened; `dates` are the days of the entries."""
    by_month: dict[date, list[StatementEntry]] = defaultdict(list)
    for entry, day in zip(entries, dates, strict=True):
        by_month[day.replace(day=1)].append(entry)
    balances = dict(opening)
    months = []
    for start_date in sorted(by_month):
        of_month = by_month[start_date]
        changed = {entry.currency for entry in of_month}
        before = {code: minor for code, minor in balances.items() if code in changed}
        sums = sums_of(of_month, before, {})
        months.append(StatementMonth(start_date, sums))
        balances |= {it.currency: it.closing_minor for it in sums}
    return tuple(months)


# --- as they are sent to what renders them ----------------------------------------------------------


def dump_statement(statement: Statement) -> bytes:
    """A statement as JSON."""
    return json.dumps(
        {
            "merchant": statement.merchant,
            "customer": statement.customer,
            "period": statement.period,
            "time_zone": statement.time_zone,
            "is_complete": statement.is_complete,
            "sums": statement.sums,
            "entries": statement.entries,
            "months": statement.months,
            "buyer": None if statement.buyer is None else dump_buyer(statement.buyer),
        },
        default=lambda it: it.isoformat(),
        ensure_ascii=False,
    ).encode()


def load_statement(text: str | bytes) -> Statement:
    """A statement from its JSON."""
    read = json.loads(text)
    return Statement(
        read["merchant"],
        read["customer"],
        Period(*read["period"]),
        read["time_zone"],
        read["is_complete"],
        tuple(StatementSums(*it) for it in read["sums"]),
        tuple(
            StatementEntry(datetime.fromisoformat(book_time), EntryType(kind), *rest)
            for book_time, kind, *rest in read["entries"]
        ),
        tuple(
            StatementMonth(date.fromisoformat(day), tuple(StatementSums(*it) for it in sums))
            for day, sums in read["months"]
        ),
        None if read["buyer"] is None else load_buyer(read["buyer"]),
    )
