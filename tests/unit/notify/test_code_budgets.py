"""What one-time codes may cost, and how many a merchant may send."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain.phone_codes import CodeBudget, Spent, exceeded_period
from services.notify.domain.phone_numbers import check_region, region_of
from services.notify.domain.sms_prices import SmsPrices, money_to_micros, parse_prices, to_micros
from services.runtime.money import Money

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PRICES = parse_prices("EUR *=0.1 DE=0.075 US=0.0079")
BUDGET = CodeBudget(3, 5, 3, to_micros("1"), PRICES)
COUNTS = st.integers(0, 10)


@pytest.mark.parametrize(
    ("phone", "cents"),
    [("+491701234567", 15), ("+12025550123", 1.58), ("+447911123456", 20), ("+870773111632", 20)],
)
def test_a_message_costs_what_its_country_does_for_each_segment(phone: str, cents: float) -> None:
    assert PRICES.cost_micros(phone, 2) == round(cents * 10_000)


def test_a_number_that_nobody_has_is_of_the_country_of_its_calling_code() -> None:
    assert region_of("+447700900123") == "GB"
    assert check_region("+447700900123", ("GB",)) is None
    refusal = check_region("+447700900123", ("DE",))
    assert refusal is not None
    assert refusal.problem == "PHONE_COUNTRY_NOT_ALLOWED"


@given(COUNTS, COUNTS, st.integers(0, 2_000_000))
def test_a_code_is_sent_if_it_is_within_each_limit(hour: int, day: int, micros: int) -> None:
    exceeded = exceeded_period(Spent(hour, day, micros), BUDGET)
    assert (exceeded is None) == (hour <= 3 and day <= 5 and micros <= 1_000_000)
    assert (exceeded == DAY) == (day > 5 or micros > 1_000_000)


@given(st.integers(1, 10**6))
def test_a_merchant_lowers_what_codes_may_cost_and_never_raises_it(amount_minor: int) -> None:
    own = BUDGET.with_merchants_own(Money(amount_minor, "EUR"))
    assert own.day_spend_max_micros == min(amount_minor * 10_000, BUDGET.day_spend_max_micros)
    assert BUDGET.with_merchants_own(Money(amount_minor, "USD")) == BUDGET
    assert BUDGET.with_merchants_own(None) == BUDGET


def test_currencies_have_the_minor_units_that_they_have() -> None:
    assert [money_to_micros(Money(5, currency)) for currency in ("EUR", "JPY", "KWD")] == [
        50_000,
        5_000_000,
        5_000,
    ]


def test_prices_are_read_to_the_last_digit() -> None:
    assert parse_prices("USD *=0.000001 DE=1") == SmsPrices("USD", 1, {"DE": 1_000_000})
