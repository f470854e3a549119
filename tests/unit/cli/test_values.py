from datetime import UTC, datetime, timedelta

import pytest
import typer
from google.protobuf.duration_pb2 import Duration
from google.type import money_pb2

from cli.values import (
    format_duration,
    format_minor,
    format_money,
    from_minor,
    parse_date,
    parse_duration,
    parse_moment,
    parse_money,
    parse_time_of_day,
    to_duration,
    to_minor,
)


@pytest.mark.parametrize(
    ("text", "amount_minor", "currency"),
    [
        ("12.50 EUR", 12_50, "EUR"),
        ("12.5EUR", 12_50, "EUR"),
        ("0.01 USD", 1, "USD"),
        ("1200 JPY", 1200, "JPY"),
        ("1.234 KWD", 1234, "KWD"),
        ("999999999999.99 EUR", 99_999_999_999_999, "EUR"),
    ],
)
def test_an_amount_is_read_exactly(text: str, amount_minor: int, currency: str) -> None:
    money = parse_money(text)
    assert (to_minor(money), money.currency_code) == (amount_minor, currency)


@pytest.mark.parametrize("text", ["", "12.50", "EUR", "12,50 EUR", "-1 EUR", "1e3 EUR", "1 eur"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"12\.50 EUR"):
        parse_money(text)


@pytest.mark.parametrize(
    ("amount_minor", "currency", "shown"),
    [
        (12_50, "EUR", "12.50 EUR"),
        (5, "EUR", "0.05 EUR"),
        (-12_50, "EUR", "-12.50 EUR"),
        (1_234_567_89, "EUR", "1,234,567.89 EUR"),
        (1200, "JPY", "1,200 JPY"),
        (1234, "KWD", "1.234 KWD"),
    ],
)
def test_an_amount_is_shown_with_the_digits_of_its_currency(
    amount_minor: int, currency: str, shown: str
) -> None:
    assert format_minor(amount_minor, currency) == shown


def test_an_amount_below_zero_on_the_wire_is_shown_with_its_sign() -> None:
    assert format_money(money_pb2.Money(currency_code="EUR", units=-3, nanos=-50_000_000)) == (
        "-3.05 EUR"
    )


def test_no_amount_is_shown_as_nothing() -> None:
    assert format_money(money_pb2.Money()) == ""


def test_minor_units_survive_the_way_to_the_wire_and_back() -> None:
    assert to_minor(from_minor(1_01, "EUR")) == 1_01


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("72h", timedelta(hours=72)),
        ("30d", timedelta(days=30)),
        ("2w", timedelta(weeks=2)),
        ("1d12h30m", timedelta(days=1, hours=12, minutes=30)),
    ],
)
def test_a_length_of_time_is_read(text: str, length: timedelta) -> None:
    assert parse_duration(text) == length


@pytest.mark.parametrize("text", ["", "30", "d", "0h", "-1d", "1.5h", "1 d", "1y"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_duration(text)


def test_a_length_of_time_is_shown_in_the_largest_unit_that_is_exact() -> None:
    lengths = (timedelta(hours=72), timedelta(hours=36), timedelta(seconds=90))
    shown = [format_duration(to_duration(length) or Duration()) for length in lengths]
    assert shown == ["3d", "36h", "90s"]


def test_a_bare_date_is_its_first_moment_in_utc() -> None:
    assert parse_moment("2026-12-31") == datetime(2026, 12, 31, tzinfo=UTC)


def test_an_offset_is_heeded() -> None:
    assert parse_moment("2026-12-31T09:00+01:00") == datetime(2026, 12, 31, 8, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-02-30", "31.12.2026", "tomorrow"])
def test_a_date_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_date(text)
    with pytest.raises(typer.BadParameter):
        parse_moment(text)


def test_a_time_of_day_is_read() -> None:
    read = parse_time_of_day("09:30")
    assert (read.hours, read.minutes) == (9, 30)


def test_a_time_of_day_that_does_not_exist_is_refused() -> None:
    with pytest.raises(typer.BadParameter):
        parse_time_of_day("24:30")


@pytest.mark.parametrize("text", ["12.50 ERU", "12 XXX", "12 HRK", "١٢ EUR", "12 eur"])
def test_an_amount_in_no_currency_of_the_standard_is_refused_before_it_is_sent(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_money(text)
