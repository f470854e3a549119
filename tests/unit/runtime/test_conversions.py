"""Money, times, names and pages between the wire and the domain."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf import timestamp_pb2
from google.type import date_pb2, money_pb2
from hypothesis import given
from hypothesis import strategies as st
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2

from services.runtime.errors import Problem, Violations
from services.runtime.money import AMOUNT_MINOR_MAX, Money
from services.runtime.resource_names import NamePattern
from services.runtime.rpc.conversions import (
    from_money,
    from_timestamp,
    read_bound,
    read_date,
    read_money,
    read_signed_money,
    read_timestamp,
    read_uuid,
    to_money,
    to_timestamp,
)
from services.runtime.rpc.paging import (
    BEFORE_ALL,
    PAGE_MAX_BYTES,
    PAGE_SIZE_DEFAULT,
    PAGE_SIZE_MAX,
    PORTION_ROWS,
    read_page,
)

CURRENCIES = ("EUR", "USD", "JPY", "KWD")
PRODUCT = NamePattern("merchants/{merchant}/products/{product}")

amounts = st.integers(min_value=-(10**15), max_value=10**15)
currencies = st.sampled_from(CURRENCIES)
ids = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)


def faults(violations: Violations) -> list[str]:
    """The fields that are at fault."""
    try:
        violations.check()
    except Problem as problem:
        return [violation.field for violation in problem.violations]
    return []


# --- money --------------------------------------------------------------------------------------


@given(amounts, currencies)
def test_money_is_the_same_after_a_journey(amount_minor: int, currency: str) -> None:
    assert from_money(to_money(amount_minor, currency)) == Money(amount_minor, currency)


@given(amounts, currencies)
def test_units_and_nanos_never_have_different_signs(amount_minor: int, currency: str) -> None:
    money = to_money(amount_minor, currency)
    assert money.units * money.nanos >= 0


@pytest.mark.parametrize(
    ("amount_minor", "currency", "units", "nanos"),
    [
        (1250, "EUR", 12, 500_000_000),
        (-5, "EUR", 0, -50_000_000),
        (-1250, "EUR", -12, -500_000_000),
        (1250, "JPY", 1250, 0),
        (1250, "KWD", 1, 250_000_000),
    ],
)
def test_minor_units_follow_the_currency(
    amount_minor: int, currency: str, units: int, nanos: int
) -> None:
    assert to_money(amount_minor, currency) == money_pb2.Money(
        currency_code=currency, units=units, nanos=nanos
    )


@given(st.integers(min_value=1, max_value=AMOUNT_MINOR_MAX), currencies)
def test_a_callers_positive_amount_is_read_exactly(amount_minor: int, currency: str) -> None:
    violations = Violations()
    read = read_money(violations, "price", to_money(amount_minor, currency))
    assert (read, faults(violations)) == (Money(amount_minor, currency), [])


@pytest.mark.parametrize(
    ("money", "field"),
    [
        (money_pb2.Money(units=1), "price.currency_code"),
        (money_pb2.Money(currency_code="eur", units=1), "price.currency_code"),
        (money_pb2.Money(currency_code="EUR"), "price"),
        (money_pb2.Money(currency_code="EUR", units=-1), "price"),
        (money_pb2.Money(currency_code="EUR", units=1, nanos=-10_000_000), "price"),
        (money_pb2.Money(currency_code="EUR", nanos=1), "price.nanos"),
        (money_pb2.Money(currency_code="EUR", nanos=1_000_000_000), "price.nanos"),
        (money_pb2.Money(currency_code="JPY", units=1, nanos=500_000_000), "price.nanos"),
        (to_money(AMOUNT_MINOR_MAX + 1, "EUR"), "price"),
    ],
)
def test_an_amount_that_is_no_price_is_refused_by_its_field(
    money: money_pb2.Money, field: str
) -> None:
    violations = Violations()
    read_money(violations, "price", money)
    assert faults(violations) == [field]


@pytest.mark.parametrize(
    "money",
    [
        money_pb2.Money(currency_code="EUR"),
        money_pb2.Money(currency_code="EUR", units=-(2**63)),
        money_pb2.Money(currency_code="EUR", units=1, nanos=-10_000_000),
        to_money(-AMOUNT_MINOR_MAX - 1, "EUR"),
    ],
)
def test_an_amount_that_is_no_change_is_refused(money: money_pb2.Money) -> None:
    violations = Violations()
    read_signed_money(violations, "amount", money)
    assert faults(violations) == ["amount"]


@pytest.mark.parametrize("amount_minor", [-AMOUNT_MINOR_MAX, -1, 1, AMOUNT_MINOR_MAX])
def test_a_change_is_above_or_below_nothing(amount_minor: int) -> None:
    violations = Violations()
    read = read_signed_money(violations, "amount", to_money(amount_minor, "EUR"))
    assert (read, faults(violations)) == (Money(amount_minor, "EUR"), [])


def test_the_largest_amount_is_accepted() -> None:
    violations = Violations()
    read_money(violations, "price", to_money(AMOUNT_MINOR_MAX, "EUR"))
    assert faults(violations) == []


# --- times and dates ----------------------------------------------------------------------------


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_is_the_same_after_a_journey(moment: datetime) -> None:
    assert from_timestamp(to_timestamp(moment)) == moment


@pytest.mark.parametrize("seconds", [2**62, -(2**62)])
@pytest.mark.parametrize("read", [read_timestamp, read_bound])
def test_what_is_no_time_is_refused(seconds: int, read: Any) -> None:  # noqa: ANN401 - either
    violations = Violations()
    read(violations, "time", timestamp_pb2.Timestamp(seconds=seconds))
    assert faults(violations) == ["time"]


@pytest.mark.parametrize("year", [1, 1969, 2102, 9999])
def test_a_time_that_is_far_away_is_a_bound_and_not_stored(year: int) -> None:
    stamp = to_timestamp(datetime(year, 6, 1, tzinfo=UTC))
    violations = Violations()
    assert read_bound(violations, "time", stamp) == datetime(year, 6, 1, tzinfo=UTC)
    assert faults(violations) == []
    read_timestamp(violations, "time", stamp)
    assert faults(violations) == ["time"]


@pytest.mark.parametrize(
    ("year", "month", "day"), [(2026, 2, 29), (2026, 13, 1), (2026, 0, 1), (0, 1, 1)]
)
def test_a_date_that_does_not_exist_is_refused(year: int, month: int, day: int) -> None:
    violations = Violations()
    read_date(violations, "date", date_pb2.Date(year=year, month=month, day=day))
    assert faults(violations) == ["date"]


def test_a_leap_day_is_read() -> None:
    violations = Violations()
    leap_day = read_date(violations, "date", date_pb2.Date(year=2028, month=2, day=29))
    assert (leap_day, faults(violations)) == (date(2028, 2, 29), [])


# --- names and ids ------------------------------------------------------------------------------


@given(ids, ids)
def test_a_name_gives_back_the_ids_it_was_made_of(merchant: str, product: str) -> None:
    assert PRODUCT.parse(PRODUCT.format(merchant, product)) == (merchant, product)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "merchants/acme",
        "merchants/acme/products/",
        "merchants/acme/products/a/b",
        "merchants//products/a",
        "merchants/acme/products/A",
        "merchants/acme/products/-a",
        "merchants/acme/products/a\n",
        "merchants/acme/products/" + "a" * 64,
        "/merchants/acme/products/a",
    ],
)
def test_another_name_is_refused_whoever_sends_it(name: str) -> None:
    violations = Violations()
    assert PRODUCT.read(violations, "name", name) == ("", "")
    assert faults(violations) == ["name"]
    with pytest.raises(ValueError, match="does not match"):
        PRODUCT.parse(name)


def test_only_the_wildcard_may_be_a_dash() -> None:
    orders = NamePattern("merchants/{merchant}/standingOrders/{order}", wildcard="order")
    assert orders.parse("merchants/acme/standingOrders/-") == ("acme", "-")
    with pytest.raises(ValueError, match="does not match"):
        orders.parse("merchants/-/standingOrders/-")


def test_a_request_id_is_a_uuid_in_either_case() -> None:
    violations = Violations()
    identity = uuid4()
    assert read_uuid(violations, "request_id", str(identity).upper()) == identity
    assert faults(violations) == []


@pytest.mark.parametrize(
    "text",
    ["", "1", "b9f613daf78b4beab9d7f793ba7338ad", "{c6e93523-90c3-4bf2-bd91-14958b60023d}"],
)
def test_a_request_id_of_another_form_is_refused(text: str) -> None:
    violations = Violations()
    read_uuid(violations, "request_id", text)
    assert faults(violations) == ["request_id"]


# --- pages --------------------------------------------------------------------------------------

POSITION = "0190b0c2-5e1c-7c3a-8d5e-1f2a3b4c5d6e"


def products(**fields: str | int) -> catalog_pb2.ListProductsRequest:
    return catalog_pb2.ListProductsRequest(parent="merchants/acme", **fields)  # type: ignore[arg-type]


@given(st.text(alphabet=st.characters(exclude_characters="\x00\x1f", codec="utf-8")))
def test_a_page_goes_on_after_the_row_that_its_token_was_made_for(last: str) -> None:
    token = read_page(products(), keys=1).token((last,))
    assert read_page(products(page_token=token), keys=1).after == (last,)


def test_a_page_has_a_size_of_its_own() -> None:
    token = read_page(products(page_size=2), keys=1).token(("a",))
    page = read_page(products(page_size=PAGE_SIZE_MAX, page_token=token), keys=1)
    assert (page.size, page.after) == (PAGE_SIZE_MAX, ("a",))
    assert read_page(products(), keys=1).size == PAGE_SIZE_DEFAULT


def test_a_page_of_large_rows_is_short_and_none_is_left_out() -> None:
    # Each a third of a page, and the one in the middle more than a page by itself.
    sizes = [PAGE_MAX_BYTES // 3] * 4 + [PAGE_MAX_BYTES + 1] + [PAGE_MAX_BYTES // 3] * 2
    rows = [(str(number), "x" * size) for number, size in enumerate(sizes)]
    pages: list[list[str]] = []
    token = ""
    while token or not pages:
        page = read_page(products(page_token=token, page_size=6), keys=1)
        start = int(page.after[0]) + 1 if page.after else 0
        shown, token = page.cut(
            rows[start : start + page.limit],
            lambda row: catalog_pb2.Product(name=row[0], title=row[1]),
            lambda row: (row[0],),
        )
        pages.append([product.name for product in shown])
    assert pages == [["0", "1"], ["2", "3"], ["4"], ["5", "6"]]


@pytest.mark.parametrize(
    ("sizes", "page_size", "expected"),
    [
        ([1] * 250, 250, [250]),
        ([1] * 250, 100, [100, 100, 50]),
        ([1] * 200, 100, [100, 100]),
        ([PAGE_MAX_BYTES // 3] * 3 + [PAGE_MAX_BYTES + 1] * 2, 100, [2, 1, 1, 1]),
        ([], 100, [0]),
    ],
)
async def test_a_page_is_filled_from_portions_and_none_is_left_out(
    sizes: list[int], page_size: int, expected: list[int]
) -> None:
    rows = list(enumerate(sizes))
    pages: list[list[str]] = []
    token = ""
    while token or not pages:
        page = read_page(products(page_token=token, page_size=page_size), keys=1)
        first = int(page.after[0]) + 1 if page.after else 0

        async def find(
            last: tuple[int, int] | None, limit: int, first: int = first
        ) -> list[tuple[int, int]]:
            assert limit <= PORTION_ROWS
            start = first if last is None else last[0] + 1
            return rows[start : start + limit]

        shown, token = await page.fill(
            find,
            lambda row: catalog_pb2.Product(name=str(row[0]), title="x" * row[1]),
            lambda row: (str(row[0]),),
        )
        pages.append([product.name for product in shown])
    assert [len(page) for page in pages] == expected
    assert [name for page in pages for name in page] == [str(number) for number, _ in rows]


def foreign_tokens() -> list[str]:
    other_list = catalog_pb2.ListProductsRequest(parent="merchants/other")
    # The same bytes on the wire, but another kind of list.
    other_kind = notify_pb2.ListContactsRequest(parent="merchants/acme")
    return [
        read_page(other_list, keys=1).token(("a",)),
        read_page(other_kind, keys=1).token(("a",)),
        read_page(products(), keys=2).token(("a", "b")),
        read_page(products(), keys=1).token(("\x00",)),
        "abc",
        "%%%",
        "é",
        "/////w==",
    ]


@pytest.mark.parametrize("token", foreign_tokens())
def test_a_token_belongs_to_one_list(token: str) -> None:
    with pytest.raises(Problem) as refusal:
        read_page(products(page_token=token), keys=1)
    assert refusal.value.reason == "PAGE_TOKEN_INVALID"
    assert [violation.field for violation in refusal.value.violations] == ["page_token"]


@pytest.mark.parametrize("size", [-1, PAGE_SIZE_MAX + 1])
def test_a_page_size_out_of_range_is_refused_not_cut(size: int) -> None:
    with pytest.raises(Problem) as refusal:
        read_page(products(page_size=size), keys=1)
    assert refusal.value.reason == "PAGE_SIZE_TOO_LARGE"


def test_a_page_by_time_goes_on_where_it_was() -> None:
    moment = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    token = read_page(products(), keys=1).token((moment.isoformat(),))
    assert read_page(products(page_token=token), keys=1).after_time() == moment
    assert read_page(products(), keys=1).after_time() is None


def test_a_page_by_position_goes_on_where_it_was() -> None:
    token = read_page(products(), keys=1).token((POSITION,))
    assert str(read_page(products(page_token=token), keys=1).after_position()) == POSITION
    assert read_page(products(), keys=1).after_position() == BEFORE_ALL


@pytest.mark.parametrize("last", ["", "7", "x" * 40])
def test_a_token_with_no_position_in_a_page_by_position_is_refused(last: str) -> None:
    token = read_page(products(), keys=1).token((last,))
    with pytest.raises(Problem) as refusal:
        read_page(products(page_token=token), keys=1).after_position()
    assert refusal.value.reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize("last", ["yesterday", "", "0001-01-01T00:00:00+23:00"])
def test_a_token_with_no_time_in_a_page_by_time_is_refused(last: str) -> None:
    token = read_page(products(), keys=1).token((last,))
    with pytest.raises(Problem) as refusal:
        read_page(products(page_token=token), keys=1).after_time()
    assert refusal.value.reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize("number", ["", "two", "-1", "1" * 10, "\u0663"])
def test_a_token_with_no_number_in_a_page_by_number_is_refused(number: str) -> None:
    token = read_page(products(), keys=2).token(("tea", number))
    with pytest.raises(Problem) as refusal:
        read_page(products(page_token=token), keys=2).after_numbered()
    assert refusal.value.reason == "PAGE_TOKEN_INVALID"
