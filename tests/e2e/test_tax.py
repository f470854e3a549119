"""A merchant's taxes by the command: imported, listed, withdrawn, quoted, or left to a tax service."""

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Recurring

pytestmark = [pytest.mark.e2e]

RATES = """\
id,region,tax,percent,title,category,from
t-vat,PT,vat,19,VAT,,
t-food,PT,vat,7,VAT,food,
t-next,PT,vat,20,VAT,,2090-01-01T00:00Z
"""


def ok(recurring: Recurring, *arguments: str) -> str:
    done = recurring.run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def quoted(recurring: Recurring, region: str = "PT") -> tuple[str, list[str]]:
    """What a unit costs in a region, and the titles of its taxes."""
    answer = json.loads(ok(recurring, "prices", "quote", "taxed=1", "--region", region, "--json"))
    total = answer["total"]
    amount = f"{total.get('units', '0')}.{int(total.get('nanos', 0)) // 10_000_000:02}"
    return amount, [rate["title"] for rate in answer.get("appliedTaxRates", ())]


def test_a_merchant_imports_lists_withdraws_and_quotes_taxes(
    recurring: Recurring, tmp_path: Path
) -> None:
    ok(recurring, "products", "create", "taxed", "--title", "Taxed tea")
    ok(recurring, "prices", "add", "taxed", "10 EUR")
    ok(recurring, "tax", "set", "--prices", "exclusive", "--region", "PT")
    assert quoted(recurring) == ("10.00", [])

    rates = tmp_path / "rates.csv"
    rates.write_text(RATES.replace(",20,", ",120,"))
    refused = recurring.run("tax", "import", str(rates))
    assert refused.returncode == 1
    assert "line 4" in refused.stderr
    rates.write_text(RATES)
    assert "3" in ok(recurring, "tax", "import", str(rates), "--dry-run")
    assert "t-vat" not in ok(recurring, "tax", "list")
    ok(recurring, "tax", "import", str(rates))
    listed = ok(recurring, "tax", "list", "--region", "PT")
    assert all(rate in listed for rate in ("t-vat", "t-food", "t-next"))
    assert quoted(recurring) == ("11.90", ["VAT"])

    ok(recurring, "tax", "withdraw", "t-next")
    again = recurring.run("tax", "withdraw", "t-vat")
    assert again.returncode == 1
    assert "TAX_RATE_IN_EFFECT" in again.stderr

    assert quoted(recurring, "IN") == ("10.00", [])
    assert "TAX_SERVICE" in ok(recurring, "tax", "set", "--source", "tax-service")
    assert quoted(recurring, "IN") == ("11.80", ["GST"])
    ok(recurring, "sandbox", "outage", "tax")
    assert "TAX_UNAVAILABLE" in recurring.run("prices", "quote", "taxed=1").stdout
    ok(recurring, "sandbox", "outage", "tax", "--off")
    ok(recurring, "tax", "set", "--source", "own-rates", "--prices", "inclusive", "--region", "")
