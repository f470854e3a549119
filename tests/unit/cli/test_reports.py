"""What `recurring books` makes of reports."""

import json
from datetime import date
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from cli import expected_sales
from cli.errors import CommandError
from cli.reports import bar, print_csv, share
from cli.values import from_minor, to_date


def test_the_largest_bar_is_the_widest_and_the_least_can_be_seen() -> None:
    assert bar(100, 100, 4) == "████"
    assert bar(50, 100, 4) == "██"
    assert bar(1, 10_000, 4) == "▏"
    assert bar(0, 100, 4) == bar(-5, 100, 4) == bar(5, 0, 4) == ""


def test_a_share_is_in_per_cent_of_what_there_is() -> None:
    assert share(1, 3) == "33.3 %"
    assert share(0, 0) == ""


def test_a_spreadsheet_gets_plain_amounts_and_no_formula(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sales = payments_pb2.ProductSales(title="=1+1", quantity=3, net_amount=from_minor(1250, "EUR"))
    for field in ("tax_amount", "refunded_net_amount", "refunded_tax_amount"):
        getattr(sales, field).CopyFrom(from_minor(5, "EUR"))
    print_csv(payments_pb2.ProductSales, [sales])
    header, row = capsys.readouterr().out.splitlines()
    assert header.startswith("currency,product,title,quantity,charge_count,net_amount,")
    assert row == "EUR,,'=1+1,3,0,12.50,0.05,0.05,0.05"


def test_a_forecast_is_read_as_it_was_written(tmp_path: Path) -> None:
    forecast = scheduler_pb2.DemandForecast(
        date=to_date(date(2027, 1, 31)),
        product="merchants/demo/products/tea",
        units=2,
        gross_revenue=from_minor(900, "EUR"),
    )
    file = tmp_path / "then.json"
    file.write_text(json.dumps([MessageToDict(forecast)]))
    assert expected_sales.read_forecast(file) == [forecast]


@pytest.mark.parametrize("content", ["", "[]", "{}", "[1]", '[{"nothing": 1}]', "[{}]"])
def test_what_is_no_forecast_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "then.json"
    file.write_text(content)
    with pytest.raises(CommandError, match=r"then\.json"):
        expected_sales.read_forecast(file)
