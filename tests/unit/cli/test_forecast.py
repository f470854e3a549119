from datetime import date

import pytest
from google.type import money_pb2
from hypothesis import given
from hypothesis import strategies as st
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.forecast import BLOCKS, by_product, days_of, plot
from cli.values import parse_date

TEA = "merchants/acme/products/tea"


def wanted(day: str, units: int, minor: int, list_minor: int) -> pb.DemandForecast:
    def money(amount_minor: int) -> money_pb2.Money:
        units, rest = divmod(amount_minor, 100)
        return money_pb2.Money(currency_code="EUR", units=units, nanos=rest * 10_000_000)

    return pb.DemandForecast(
        date=parse_date(day),
        product=TEA,
        units=units,
        revenue=money(minor),
        list_revenue=money(list_minor),
    )


def test_the_days_of_a_product_are_summed() -> None:
    [(key, demand)] = by_product(
        [wanted("2027-01-01", 2, 840, 1000), wanted("2027-01-03", 1, 420, 500)]
    ).items()
    assert key == (TEA, "EUR")
    assert (demand.units, demand.revenue_minor, demand.list_revenue_minor) == (3, 1260, 1500)
    assert demand.by_day == {date(2027, 1, 1): 2, date(2027, 1, 3): 1}


def test_a_plot_shows_the_days_asked_for_even_if_nothing_is_wanted_on_them() -> None:
    days = [wanted("2027-01-02", 1, 420, 420), wanted("2027-01-03", 1, 420, 420)]
    assert days_of(days, None, None) == [date(2027, 1, 2), date(2027, 1, 3)]
    shown = days_of(days, parse_date("2027-01-01"), parse_date("2027-01-04"))
    assert shown == [date(2027, 1, day) for day in (1, 2, 3, 4)]
    assert days_of([], None, None) == []


@pytest.mark.parametrize(
    ("numbers", "blocks"),
    [([0, 8, 4, 1], " █▄▁"), ([], ""), ([0, 0], "  "), ([1, 1000], "▁█"), ([7], "█")],
)
def test_numbers_are_plotted_against_the_largest(numbers: list[int], blocks: str) -> None:
    assert plot(numbers) == blocks


@given(st.lists(st.integers(0, 10**9), max_size=400), st.integers(1, 80))
def test_a_plot_is_never_wider_than_allowed_and_hides_nothing(
    numbers: list[int], width: int
) -> None:
    blocks = plot(numbers, width)
    assert len(blocks) <= width
    assert bool(blocks.strip()) == any(numbers)
    assert set(blocks) <= set(BLOCKS)
