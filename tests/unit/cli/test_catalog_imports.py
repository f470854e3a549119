"""Files of products and prices: what is read of them, and what people are told who mistype."""

from pathlib import Path

import pytest
from recurring.catalog.v1 import catalog_pb2 as pb

from cli.errors import CommandError
from cli.imports.catalog_tables import PRICES, PRODUCTS
from cli.imports.rows import Kind
from cli.imports.sending import describe_errors, read_book
from services.runtime.rpc.conversions import to_money

PRODUCT_HEADER = ",".join(PRODUCTS.columns)
PRICE_HEADER = ",".join(PRICES.columns)


def written(folder: Path, content: str | bytes, name: str = "rows.csv") -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def refusal(file: Path, kind: Kind) -> str:
    """What is said of a file that is not sent."""
    try:
        book = read_book(file, "acme", kind)
    except CommandError as error:
        return str(error)
    return describe_errors(file, book.errors)


def test_products_are_read_with_all_their_columns(tmp_path: Path) -> None:
    text = f"{PRODUCT_HEADER}\ntea,Green tea,7,yes,3,food,no,\nbox,Gift box,,,,,,tea=2;cup\n"
    tea, box = read_book(written(tmp_path, text), "acme", PRODUCTS).rows
    assert tea.message == pb.NewProduct(
        product_id="tea",
        product=pb.Product(
            title="Green tea",
            increase_notice_days=7,
            stock_tracked=True,
            low_stock_threshold=3,
            tax_category="food",
        ),
    )
    assert (box.line, box.message.product.HasField("increase_notice_days")) == (3, False)
    assert [(part.product, part.quantity) for part in box.message.product.bundle_parts] == [
        ("merchants/acme/products/tea", 2),
        ("merchants/acme/products/cup", 1),
    ]


def test_prices_are_read_with_all_their_columns(tmp_path: Path) -> None:
    text = (
        f"{PRICE_HEADER}\n"
        "p1,tea,12.50 EUR,2027-01-01T00:00Z,10=9.00 EUR;100=8.00 EUR,graduated,7.5\n"
        "p2,tea,1500 JPY,,,,\n"
    )
    first, second = read_book(written(tmp_path, text), "acme", PRICES).rows
    price = first.message.price
    assert first.message.parent == "merchants/acme/products/tea"
    assert (price.unit_price, price.tier_mode) == (to_money(1250, "EUR"), pb.Price.GRADUATED)
    assert price.effective_time.ToJsonString() == "2027-01-01T00:00:00Z"
    assert [(tier.first_quantity, tier.unit_price.units) for tier in price.tiers] == [
        (10, 9),
        (100, 8),
    ]
    assert price.subscriber_discount_bps == 750
    assert not second.message.price.HasField("effective_time")


def test_json_lines_are_rows_as_the_contract_has_them(tmp_path: Path) -> None:
    text = '{"productId": "tea", "product": {"title": "Tea"}}\r\n\r\n'
    [row] = read_book(written(tmp_path, text, "rows.jsonl"), "acme", PRODUCTS).rows
    assert (row.line, row.message.product.title) == (1, "Tea")


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfid,title\ntea,T\xc3\xa9\n",
        b"id,title\r\ntea,T\xc3\xa9\r\n",
        b"title,id\nT\xc3\xa9,tea\n",
        b" ID ,Title\ntea,T\xc3\xa9\n,\n",
    ],
    ids=["byte order mark", "CRLF", "another order", "capitals and blanks"],
)
def test_a_table_may_look_as_programs_write_it(tmp_path: Path, content: bytes) -> None:
    [row] = read_book(written(tmp_path, content), "acme", PRODUCTS).rows
    assert (row.message.product_id, row.message.product.title) == ("tea", "Té")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("id,title\ntea,T\xe9\n".encode("latin-1"), "line 2: is not UTF-8"),
        ("id,title\ntea,Té\n".encode("utf-16"), "is utf-16, not UTF-8"),
        (b"id,title\ntea,T\x00\n", "line 2: has a NUL"),
        (b"", "is empty"),
        (b"id,title\n", "has no rows"),
        (b"id\ntea\n", "add the missing columns title"),
        (b"id,title,title\ntea,Tea,Tea\n", "title: each column once"),
        (b"id,title,colour\ntea,Tea,green\n", "unknown columns 'colour'"),
        (b"id;title\ntea;Tea\n", "separated by commas, not by semicolons"),
        (b"id,title\ntea\n", "line 2: has 1 columns, the header 2"),
        (b"id,title\ntea,Tea\ntea,Tea\n", "line 3: id: line 2 has it already"),
        (b"id,title\ntea,\n", "line 2: title: must not be empty"),
        (b'id,title\ntea,"Te', "line 2: unexpected end of data"),
        (b"id,title,stock_tracked\ntea,Tea,maybe\n", "line 2: stock_tracked: 'maybe' is neither"),
        (b"id,title,low_stock_threshold\ntea,Tea,-1\n", "line 2: low_stock_threshold: '-1'"),
        (b"id,title,parts\nbox,Box,tea;;cup\n", "line 2: parts: 'tea;;cup'"),
    ],
)
def test_a_bad_file_of_products_is_refused_with_its_line_and_column(
    tmp_path: Path, content: bytes, told: str
) -> None:
    assert told in refusal(written(tmp_path, content), PRODUCTS)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("p1,tea,12.50,,,,", "line 2: amount: '12.50' is not an amount"),
        ('p1,tea,"12,50 EUR",,,,', "line 2: amount: '12,50 EUR' is not an amount"),
        ("p1,tea,12.50 EUX,,,,", "line 2: amount: '12.50 EUX': EUX is not a currency"),
        ("p1,tea,1 EUR,soon,,,", "line 2: from: 'soon'"),
        ("p1,tea,1 EUR,,10,volume,", "line 2: tiers: '10' is not QUANTITY=AMOUNT"),
        ("p1,tea,1 EUR,,10=1 EUR,steps,", "line 2: tier_mode: 'steps' is none of"),
        ("p1,tea,1 EUR,,,,a lot", "line 2: subscriber_discount: 'a lot'"),
        ("p1,,1 EUR,,,,", "line 2: product: must not be empty"),
    ],
)
def test_a_bad_price_is_refused_with_its_line_and_column(
    tmp_path: Path, row: str, told: str
) -> None:
    assert told in refusal(written(tmp_path, f"{PRICE_HEADER}\n{row}\n"), PRICES)


def test_two_products_may_have_prices_of_one_id(tmp_path: Path) -> None:
    text = "id,product,amount\np1,tea,1 EUR\np1,cup,1 EUR\np1,tea,2 EUR\n"
    book = read_book(written(tmp_path, text), "acme", PRICES)
    assert [row.line for row in book.rows] == [2, 3]
    assert [(error.line, error.row_id) for error in book.errors] == [(4, "tea/p1")]


@pytest.mark.parametrize(
    ("kind", "path", "column"),
    [
        (PRICES, "price_id", "id"),
        (PRICES, "parent", "product"),
        (PRICES, "price.unit_price.nanos", "amount"),
        (PRICES, "price.effective_time", "from"),
        (PRICES, "price.tiers[1].first_quantity", "tiers[1].first_quantity"),
        (PRODUCTS, "product.low_stock_threshold", "low_stock_threshold"),
        (PRODUCTS, "product.bundle_parts[0].product", "parts"),
    ],
)
def test_what_the_service_finds_is_said_by_column(kind: Kind, path: str, column: str) -> None:
    assert kind.column_of(path) == column
