"""Files of tax rates: what is read of them, and what people are told who mistype."""

from pathlib import Path

import pytest
from recurring.catalog.v1 import catalog_pb2 as pb

from cli.errors import CommandError
from cli.tax_files import read_rates

HEADER = "id,region,tax,percent,title,category,compound,with_tax_id,from"


def read(tmp_path: Path, text: str, name: str = "rates.csv") -> list[pb.NewTaxRate]:
    file = tmp_path / name
    file.write_text(text)
    return [rate for _, rate in read_rates(file)]


def test_a_table_is_read_with_all_its_columns(tmp_path: Path) -> None:
    text = f"{HEADER}\nqst,CA-QC,qst,9.975,QST,food,yes,exempt,2027-01-01T00:00Z\n"
    [new] = read(tmp_path, text)
    rate = new.tax_rate
    assert (new.tax_rate_id, rate.region_code, rate.tax, rate.rate_ppm) == (
        "qst", "CA-QC", "qst", 99_750,
    )  # fmt: skip
    assert (rate.title, rate.tax_category, rate.compound) == ("QST", "food", True)
    assert rate.tax_id_treatment == pb.TaxRate.EXEMPT
    assert rate.effective_time.ToJsonString() == "2027-01-01T00:00:00Z"


def test_what_a_table_need_not_say_is_left_to_the_service(tmp_path: Path) -> None:
    [new] = read(tmp_path, "id,region,tax,percent\nvat,DE,vat,19\n")
    assert (new.tax_rate.title, new.tax_rate.rate_ppm) == ("VAT", 190_000)
    assert not new.tax_rate.HasField("effective_time")


def test_json_lines_are_rates_as_the_contract_has_them(tmp_path: Path) -> None:
    text = '{"taxRateId": "vat", "taxRate": {"regionCode": "DE", "ratePpm": 190000}}\n\n'
    [new] = read(tmp_path, text, "rates.jsonl")
    assert (new.tax_rate_id, new.tax_rate.rate_ppm) == ("vat", 190_000)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,region\n", "the header must have id, region, tax, percent"),
        ("id,region,tax,percent,rate\n", "'rate'"),
        ("id,region,tax,percent\nvat,DE,vat,nineteen\n", "line 2: 'nineteen' is no percentage"),
        ("id,region,tax,percent\nvat,DE,vat,100.1\n", "line 2: '100.1' must be 0 to 100 %"),
        ("id,region,tax,percent\nvat,DE\n", "line 2: has another number of cells"),
        (f"{HEADER}\nvat,DE,vat,19,,,maybe,,\n", "line 2: compound must be yes or no"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(CommandError, match=told.replace("(", "[(]").replace("+", "[+]")):
        read(tmp_path, text)
