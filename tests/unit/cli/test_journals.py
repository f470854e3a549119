"""Journals are read by the programs that they are for, with the balances that the entries have."""

from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal

from beancount.core.data import Transaction
from beancount.loader import load_string
from hypothesis import given

from cli.journals import Format
from tests.journals import TRANSFERS, balances_of, entries, written

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
NAMES = {
    "Assets:Provider-Clearing": "provider-clearing",
    "Liabilities:Merchant-Payable": "merchant-payable",
}


@given(TRANSFERS)
def test_beancount_reads_a_journal_without_an_error_and_finds_the_same_balances(
    transfers: list[tuple[str, int, datetime, bool]],
) -> None:
    listed = entries(transfers)
    directives, errors, _ = load_string(written(Format.BEANCOUNT, listed))
    assert errors == []

    balances: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for directive in directives:
        if isinstance(directive, Transaction):
            for posting in directive.postings:
                units = posting.units
                assert units is not None
                assert units.number is not None
                balances[NAMES[posting.account], units.currency] += units.number
    assert balances == balances_of(listed)


def test_a_journal_for_hledger_declares_what_it_names() -> None:
    listed = entries([("EUR", 1250, NOON, True)])
    assert written(Format.HLEDGER, listed) == (
        "; acme\n\n"
        "commodity 1000.00 EUR\ncommodity 1000. JPY\ncommodity 1000.000 KWD\n"
        "account assets:provider-clearing\naccount liabilities:merchant-payable\n"
        "\n2026-11-29 (t-0) merchants/acme/customers/ada/charges/tea-0\n"
        "    assets:provider-clearing  12.50 EUR\n"
        "    liabilities:merchant-payable  -12.50 EUR\n"
    )


def test_a_spreadsheet_has_a_row_for_each_entry() -> None:
    listed = entries([("JPY", 1250, NOON, False)])
    assert written(Format.CSV, listed) == (
        "date,time,transaction,account,amount,currency,source\n"
        "2026-11-29,12:00:00Z,t-0,merchant-payable,1250,JPY,"
        "merchants/acme/customers/ada/charges/tea-0\n"
        "2026-11-29,12:00:00Z,t-0,provider-clearing,-1250,JPY,"
        "merchants/acme/customers/ada/charges/tea-0\n"
    )
