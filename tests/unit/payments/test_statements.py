"""Statements add up, whatever is booked."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.payments.clients.rendering.statement_page import statement_page
from services.payments.clients.rendering.statement_words import STATEMENT_WORDS
from services.payments.domain.documents import Seller
from services.payments.domain.statements import (
    EntryType,
    Period,
    Statement,
    StatementEntry,
    balance_change,
    dump_statement,
    entries_of,
    load_statement,
    months_of,
    parse_period,
    sums_of,
)
from services.payments.domain.transfers import Transfer
from tests.unit.payments.strategies import ANN

YEAR = datetime(2027, 1, 1, tzinfo=UTC)
IS_OVER = True
SELLER = Seller("Tea & Co", ("Kai 1",), "DE1", "")
# As the ledger books them: the kind, and what is debited and credited.
BOOKINGS = {
    "SALE": ("receivable", "revenue"),
    "SALE tax-payable-vat": ("receivable", "tax-payable-vat"),
    "CHARGE": ("provider-clearing", "receivable"),
    "CREDIT_NOTE": ("refunds", "receivable"),
    "CREDIT_NOTE tax-payable-vat": ("tax-payable-vat", "receivable"),
    "CREDIT_NOTE_FAILURE": ("receivable", "refunds"),
    "REFUND": ("receivable", "provider-clearing"),
    "REFUND_FAILURE": ("provider-clearing", "receivable"),
    "DISPUTE_WITHDRAWAL": ("disputes", "provider-clearing"),
}
CREDITS = [
    ("customer-credit", "receivable"),
    ("receivable", "customer-credit"),
    ("credit-granted", "customer-credit"),
    ("customer-credit", "bank"),
]


@st.composite
def transfers(draw: st.DrawFn) -> Transfer:
    kind, accounts = draw(
        st.sampled_from([*BOOKINGS.items(), *(("CREDIT", accounts) for accounts in CREDITS)])
    )
    book_time = YEAR + timedelta(days=draw(st.integers(0, 364)))
    source = f"{ANN.name}/charges/tea-{draw(st.integers(1, 3))}"
    amount_minor = draw(st.integers(1, 9999))
    currency = draw(st.sampled_from(["EUR", "JPY"]))
    return Transfer(*ANN, source, kind, *accounts, amount_minor, currency, book_time)


BOOKED = st.lists(transfers(), max_size=12).map(lambda it: sorted(it, key=lambda t: t.book_time))
OPENING = st.dictionaries(st.sampled_from(["EUR", "USD"]), st.integers(-500, 500))


@given(booked=BOOKED, opening=OPENING)
def test_a_closing_balance_is_what_the_accounts_of_the_customer_come_to(
    booked: list[Transfer], opening: dict[str, int]
) -> None:
    entries = list(entries_of(booked, opening, {}))
    sums = sums_of(entries, opening, {})
    balances = Counter(opening)
    for it in booked:
        balances[it.currency] += balance_change(it)
    closing = {it.currency: it.closing_minor for it in sums}
    assert {code: minor for code, minor in closing.items() if minor} == {
        code: minor for code, minor in balances.items() if minor
    }
    assert {it.currency: it.balance_minor for it in entries}.items() <= closing.items()

    months = months_of(entries, opening, [it.book_time.date() for it in entries])
    for whole in sums:
        of_currency = [m for month in months for m in month.sums if m.currency == whole.currency]
        assert sum(m.invoiced_minor for m in of_currency) == whole.invoiced_minor
        assert sum(m.paid_minor for m in of_currency) == whole.paid_minor
        if of_currency:
            assert of_currency[0].opening_minor == whole.opening_minor
            assert of_currency[-1].closing_minor == whole.closing_minor
    statement = Statement(*ANN, Period(2027), "UTC", IS_OVER, sums, tuple(entries), months)
    assert load_statement(dump_statement(statement)) == statement


def test_what_is_booked_together_is_one_entry_and_credit_that_pays_is_none() -> None:
    owner = (*ANN, f"{ANN.name}/charges/tea-1")
    booked = [
        Transfer(*owner, "SALE", "receivable", "revenue", 1000, "EUR", YEAR),
        Transfer(*owner, "SALE tax-payable-vat", "receivable", "tax-payable-vat", 190, "EUR", YEAR),
        Transfer(*owner, "CREDIT", "customer-credit", "receivable", 190, "EUR", YEAR),
        Transfer(*owner, "CHARGE", "provider-clearing", "receivable", 1000, "EUR", YEAR),
    ]
    numbers = {(owner[2], EntryType.INVOICE): "INV-2027-000001"}
    invoice, payment = entries_of(booked, {"EUR": -190}, numbers)
    assert (invoice.type, invoice.amount_minor, invoice.balance_minor) == ("INVOICE", 1190, 1000)
    assert (invoice.document, payment.document) == ("INV-2027-000001", "")
    assert (payment.type, payment.amount_minor, payment.balance_minor) == ("PAYMENT", -1000, 0)


@pytest.mark.parametrize(
    ("text", "start", "until"),
    [
        ("2027", date(2027, 1, 1), date(2028, 1, 1)),
        ("2027-02", date(2027, 2, 1), date(2027, 3, 1)),
        ("2100-12", date(2100, 12, 1), date(2101, 1, 1)),
    ],
)
def test_a_period_is_a_year_or_a_month(text: str, start: date, until: date) -> None:
    period = parse_period(text)
    assert period is not None
    assert (period.start_date, period.until_date, period.id) == (start, until, text)


@pytest.mark.parametrize("text", ["27", "2027-1", "2027-13", "2027-00", "1969", "2101-01", "tea"])
def test_what_is_no_period_is_none(text: str) -> None:
    assert parse_period(text) is None


@pytest.mark.parametrize("language", sorted(STATEMENT_WORDS))
def test_every_language_says_all_of_a_statement(language: str) -> None:
    assert set(STATEMENT_WORDS[language]) == set(STATEMENT_WORDS["en"])
    entries = tuple(StatementEntry(YEAR, kind, "a/b", "", "EUR", 100, 100) for kind in EntryType)
    sums = sums_of(entries, {"EUR": -5}, {"EUR": 7})
    month = Statement(*ANN, Period(2027, 1), "UTC", not IS_OVER, sums, entries)
    page = statement_page(month, SELLER, "", language)
    assert len(page.rows) == len(EntryType)
    assert page.payments
    year = Statement(
        *ANN, Period(2027), "UTC", IS_OVER, sums, (), months_of(entries, {}, [YEAR.date()] * 8)
    )
    assert len(statement_page(year, SELLER, "", language).rows) == 1
