"""A book from another system, by the command alone."""

import re
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.e2e.conftest import Recurring
from tests.e2e.test_commands import ok, sign_up

pytestmark = [pytest.mark.e2e]

HEADER = "id,customer,title,items,every,start,at,zone,next_cycle,next_date,mandate,lead"


def test_a_book_is_tried_then_taken_over_then_billed(recurring: Recurring, tmp_path: Path) -> None:
    ok(recurring, "products", "create", "beans", "--title", "Beans")
    ok(recurring, "prices", "add", "beans", "12.50 EUR")
    sign_up(recurring, "fay")
    today = date.fromisoformat(ok(recurring, "clock", "show")["now"][:10])
    day = today + timedelta(days=2)
    start = day - timedelta(weeks=4)
    good = f"crm-1,fay,Beans,beans=2,week,{start},23:59,UTC,5,{day},consent,1h"
    bad = f"crm-2,nobody,Beans,beans,week,{start},23:59,UTC,5,{day},,1h"
    book = tmp_path / "book.csv"

    book.write_text(f"{HEADER}\n{good}\n{bad}\n")
    tried = recurring.run("import", str(book), "--dry-run", "--shadow", "1")
    assert tried.returncode == 1
    assert re.search(r"\b3 +crm-2 ", tried.stdout)
    assert "PHONE_NOT_BOUND" in tried.stdout
    assert "25.00 EUR" in tried.stdout
    assert recurring.run("import", str(book)).returncode == 1
    assert recurring.run("standing-orders", "get", "crm-1").returncode == 1

    book.write_text(f"{HEADER}\n{good}\n")
    assert ok(recurring, "import", str(book))["importedCount"] == 1
    assert ok(recurring, "import", str(book))["unchangedCount"] == 1
    recurring.run("clock", "advance", "4d")
    [order] = ok(recurring, "orders", "list", "crm-1")
    assert (order["cycle"], order["state"]) == (5, "PAID")
    audited = recurring.run("prove", "--full")
    assert audited.returncode == 0, audited.stdout


def test_products_and_prices_are_tried_then_imported_once(
    recurring: Recurring, tmp_path: Path
) -> None:
    products, prices = tmp_path / "products.csv", tmp_path / "prices.csv"
    products.write_text(
        "id,title,stock_tracked,parts\ngyokuro,Gyokuro,yes,\npot-of-two,Pot,,gyokuro=2\n"
    )
    prices.write_text(
        "id,product,amount,tiers,tier_mode\n"
        "list,gyokuro,12.50 EUR,10=11.00 EUR,volume\n"
        "list,pot-of-two,12.505 EUR,,\n"
    )
    assert ok(recurring, "products", "import", str(products), "--dry-run")["importedCount"] == 2
    assert ok(recurring, "products", "import", str(products))["importedCount"] == 2
    assert ok(recurring, "products", "import", str(products))["unchangedCount"] == 2

    refused = recurring.run("prices", "import", str(prices))
    assert refused.returncode == 1
    assert re.search(r"\b3 +pot-of-two/list +amount +FIELD_INVALID", refused.stdout)
    assert ok(recurring, "prices", "list", "gyokuro") == []

    prices.write_text(prices.read_text().replace("12.505", "12.50"))
    assert ok(recurring, "prices", "import", str(prices))["importedCount"] == 2
    assert ok(recurring, "prices", "import", str(prices))["unchangedCount"] == 2


def test_a_file_with_a_wrong_header_is_not_sent(recurring: Recurring, tmp_path: Path) -> None:
    book = tmp_path / "book.csv"
    book.write_text("id,client\n1,ada\n")
    refused = recurring.run("import", str(book))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "unknown columns 'client'" in refused.stderr
