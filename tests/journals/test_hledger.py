"""hledger (RECURRING_HLEDGER, or of the path) reads journals strictly, and finds the same balances."""

import csv
import os
import subprocess
from datetime import datetime
from decimal import Decimal

from hypothesis import given, settings

from cli.journals import Format
from tests.journals import TRANSFERS, balances_of, entries, written

HLEDGER = os.environ.get("RECURRING_HLEDGER") or "hledger"
NAMES = {
    "assets:provider-clearing": "provider-clearing",
    "liabilities:tax-payable-de-19": "tax-payable-de-19",
}


def hledger(journal: str, *arguments: str) -> str:
    done = subprocess.run(
        [HLEDGER, "--file", "-", *arguments],
        input=journal,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@settings(max_examples=30, deadline=None)
@given(TRANSFERS)
def test_hledger_reads_a_journal_strictly_and_finds_the_same_balances(
    transfers: list[tuple[str, int, datetime, bool]],
) -> None:
    listed = entries(transfers)
    journal = written(Format.HLEDGER, listed)
    hledger(journal, "check", "--strict")

    table = hledger(journal, "balance", "--flat", "--no-total", "--layout=bare", "-O", "csv")
    balances = {
        (NAMES[row["account"]], row["commodity"]): Decimal(row["balance"])
        for row in csv.DictReader(table.splitlines())
    }
    assert balances == {key: balance for key, balance in balances_of(listed).items() if balance}
