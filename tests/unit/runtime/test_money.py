"""The currencies of money, and its amounts."""

import pytest
from google.protobuf.message import Message
from google.type import money_pb2
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.errors import Problem, Violations
from services.runtime.money import AMOUNT_MINOR_MAX, DIGITS, Money, format_minor, minor_digits
from services.runtime.rpc.conversions import from_money, read_money, to_money

NO_MONEY = [
    *("ERU", "EURO", "eur", "Eur", "EÜR", "ЕUR", "", " EUR"),  # noqa: RUF001 - a Cyrillic letter
    *("XXX", "XTS", "XAU", "XAG", "XDR", "XUA", "XSU", "XBA"),
    *("HRK", "DEM", "BGN", "ZWL", "SLL", "ANG", "VEF", "STD", "MRO"),
    *("CLF", "UYI", "UYW", "CHE", "CHW", "USN", "BOV", "COU", "MXV"),
]


def refusal(money: money_pb2.Money) -> dict[str, str]:
    violations = Violations()
    read_money(violations, "price", money)
    try:
        violations.check()
    except Problem as problem:
        return {violation.field: violation.description for violation in problem.violations}
    return {}


@pytest.mark.parametrize("currency", NO_MONEY)
def test_what_is_no_current_currency_that_people_pay_with_is_refused(currency: str) -> None:
    assert refusal(money_pb2.Money(currency_code=currency, units=12)) == {
        "price.currency_code": "must be a current currency of ISO 4217"
    }


@pytest.mark.parametrize(
    ("currency", "digits"),
    [
        ("EUR", 2),
        ("JPY", 0),
        ("KWD", 3),
        ("ISK", 0),
        ("UGX", 0),
        ("MGA", 2),
        ("IDR", 2),
        ("CLP", 0),
    ],
)
def test_a_currency_has_the_digits_of_the_standard(currency: str, digits: int) -> None:
    assert minor_digits(currency) == DIGITS[currency] == digits


def test_most_of_the_world_can_be_sold_to() -> None:
    assert len(DIGITS) == 156
    assert {"EUR", "USD", "XAF", "XOF", "XPF", "XCD", "XCG", "ZWG", "SLE", "VES"} < set(DIGITS)


@given(st.sampled_from(sorted(DIGITS)))
def test_an_amount_has_at_most_twelve_digits_in_every_currency(currency: str) -> None:
    assert refusal(to_money(AMOUNT_MINOR_MAX, currency)) == {}
    most = format_minor(AMOUNT_MINOR_MAX, currency)
    assert refusal(to_money(AMOUNT_MINOR_MAX + 1, currency)) == {
        "price": f"must be more than 0 and at most {most}"
    }


def test_an_ordinary_price_in_a_currency_of_many_digits_is_a_price() -> None:
    for currency in ("IDR", "VND", "IRR", "LBP", "UZS"):
        assert refusal(money_pb2.Money(currency_code=currency, units=1_500_000)) == {}


def test_the_largest_cart_of_the_largest_price_is_still_money() -> None:
    largest = 100 * 10_000 * AMOUNT_MINOR_MAX
    for currency in DIGITS:
        money: Message = to_money(largest, currency)
        assert from_money(money_pb2.Money.FromString(money.SerializeToString())) == Money(
            largest, currency
        )


def test_an_amount_with_a_fraction_of_a_minor_unit_names_the_currencys_digits() -> None:
    assert refusal(money_pb2.Money(currency_code="JPY", units=1, nanos=500_000_000)) == {
        "price.nanos": "must be whole minor units of JPY, which has 0 decimal digits"
    }


def test_what_was_stored_in_a_currency_that_has_left_the_list_is_still_shown() -> None:
    assert format_minor(1250, "BGN") == "12.50 BGN"
    assert from_money(to_money(1250, "BGN")) == Money(1250, "BGN")
