"""Journals are read by the programs that they are for, with the balances that the entries have."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile

from hypothesis import given, settings

from cli.journals import Format
from tests.journals import TRANSFERS, balances_of, entries, written

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
NAMES = {
    "provider-clearing": "Assets:Provider-Clearing",
    "tax-payable-de-19": "Liabilities:Tax-Payable-De-19",
}


def bean_check(journal: str) -> str:
    """What the program says against a journal."""
    with NamedTemporaryFile("w", suffix=".beancount") as file:
        file.write(journal)
        file.flush()
        done = subprocess.run(
            [Path(sys.executable).with_name("bean-check"), "--no-cache", file.name],
            capture_output=True,
            text=True,
            check=False,
        )
    return done.stdout + done.stderr


@settings(max_examples=10, deadline=None)
@given(TRANSFERS)
def test_beancount_reads_a_journal_without_an_error_and_finds_the_same_balances(
    transfers: list[tuple[str, int, datetime, bool]],
) -> None:
    listed = entries(transfers)
    expected = "".join(
        f"2101-01-01 balance {NAMES[account]}  {balance} ~ 0 {currency}\n"
        for (account, currency), balance in balances_of(listed).items()
    )
    assert bean_check(written(Format.BEANCOUNT, listed) + expected) == ""


def test_beancount_tells_a_balance_that_differs() -> None:
    listed = entries([("EUR", 1250, NOON, True)])
    expected = "2101-01-01 balance Assets:Provider-Clearing  12.51 ~ 0 EUR\n"
    said = bean_check(written(Format.BEANCOUNT, listed) + expected)
    assert "Balance failed" in said


def test_a_journal_for_hledger_declares_what_it_names() -> None:
    listed = entries([("EUR", 1250, NOON, True)])
    assert written(Format.HLEDGER, listed) == (
        "; acme\n\n"
        "commodity 1000.00 EUR\ncommodity 1000. JPY\ncommodity 1000.000 KWD\n"
        "account assets:provider-clearing\naccount liabilities:tax-payable-de-19\n"
        "\n2026-11-29 (t-0) merchants/acme/customers/ada/charges/tea-0\n"
        "    assets:provider-clearing  12.50 EUR\n"
        "    liabilities:tax-payable-de-19  -12.50 EUR\n"
    )


def test_what_was_booked_late_keeps_its_own_day() -> None:
    listed = entries([("EUR", 1250, NOON, True), ("EUR", 900, NOON, True)])
    assert "charges/tea-1  ; occurred:2026-11-28\n" in written(Format.HLEDGER, listed)
    assert "\n  occurred: 2026-11-28\n" in written(Format.BEANCOUNT, listed)
    assert ",2026-11-28\n" in written(Format.CSV, listed)


def test_a_spreadsheet_has_a_row_for_each_entry() -> None:
    listed = entries([("JPY", 1250, NOON, False)])
    assert written(Format.CSV, listed) == (
        "date,time,transaction,account,amount,currency,source,occurred\n"
        "2026-11-29,12:00:00Z,t-0,tax-payable-de-19,1250,JPY,"
        "merchants/acme/customers/ada/charges/tea-0,2026-11-29\n"
        "2026-11-29,12:00:00Z,t-0,provider-clearing,-1250,JPY,"
        "merchants/acme/customers/ada/charges/tea-0,2026-11-29\n"
    )
