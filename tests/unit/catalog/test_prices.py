"""What a subscriber pays: drops at once, rises after their notice, never above what was promised."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.domain.pricing import (
    BASIS_POINTS,
    Basis,
    Cap,
    Lock,
    Price,
    Protection,
    ceiling,
    in_force,
    subscriber_effective_time,
    subscriber_price,
    unit_price,
)
from services.catalog.domain.products import MerchantId, PriceId, ProductId, ProductKey

START = datetime(2026, 1, 1, tzinfo=UTC)
HORIZON_DAYS = 400
TEA = ProductKey(MerchantId("acme"), ProductId("tea"))


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def price(amount_minor: int, effective: int, announced: int | None = None) -> Price:
    """A price from a day on, announced on that day unless it says otherwise."""
    announce = effective if announced is None else announced
    return Price(*TEA, PriceId(f"p{effective}"), amount_minor, "EUR", day(effective), day(announce))


def paid(prices: Sequence[Price], at: int, notice_days: int = 30, signed_up: int = 0) -> int:
    current = in_force(prices, day(at))
    return subscriber_price(current, notice_days, day(signed_up), day(at)).amount_minor


@st.composite
def histories(draw: st.DrawFn) -> list[Price]:
    """Prices of one product, the first from the start on, each announced before it takes effect."""
    days = draw(st.sets(st.integers(1, HORIZON_DAYS), max_size=6))
    found = [price(draw(st.integers(1, 50)), 0)]
    for effective in sorted(days):
        announced = draw(st.integers(0, effective))
        found.append(price(draw(st.integers(1, 50)), effective, announced))
    return found


days = st.integers(0, HORIZON_DAYS)
notices = st.integers(0, 365)
# From the day of signing up to the day that is looked at.
periods = st.tuples(days, days).map(lambda both: (min(both), max(both)))


# --- examples -----------------------------------------------------------------------------------


def test_a_drop_is_passed_on_at_once() -> None:
    prices = [price(1000, 0), price(800, 40)]
    assert [paid(prices, at) for at in (39, 40)] == [1000, 800]


def test_a_rise_waits_for_its_notice() -> None:
    prices = [price(1000, 0), price(1200, 40)]
    assert [paid(prices, at) for at in (39, 40, 69, 70)] == [1000, 1000, 1000, 1200]


def test_a_rise_that_was_announced_early_applies_on_its_day() -> None:
    prices = [price(1000, 0), price(1200, 40, announced=5)]
    assert [paid(prices, at) for at in (39, 40)] == [1000, 1200]


def test_a_drop_that_is_taken_back_stays_until_the_rise_was_announced_long_enough() -> None:
    prices = [price(1000, 0), price(800, 40), price(1000, 50)]
    assert [paid(prices, at) for at in (40, 50, 79, 80)] == [800, 800, 800, 1000]


def test_a_rise_is_not_paid_before_its_notice_because_an_older_one_is_due() -> None:
    prices = [price(1000, 0), price(1100, 40), price(1300, 60)]
    assert [paid(prices, at) for at in (69, 70, 89, 90)] == [1000, 1100, 1100, 1300]


def test_who_signs_up_during_the_notice_has_signed_up_to_the_new_price() -> None:
    prices = [price(1000, 0), price(1200, 40)]
    assert paid(prices, 45, signed_up=45) == 1200
    assert paid(prices, 45, signed_up=39) == 1000


@pytest.mark.parametrize("notice_days", [0, 30, 365])
def test_a_first_price_needs_no_notice(notice_days: int) -> None:
    assert paid([price(1000, 0)], 0, notice_days) == 1000


# --- properties ---------------------------------------------------------------------------------


@given(histories(), notices, periods)
def test_nobody_pays_more_than_the_list_price_at_sign_up_or_later(
    prices: list[Price], notice_days: int, period: tuple[int, int]
) -> None:
    signed_up, at = period
    since = [p for p in prices if day(signed_up) < p.effective_time <= day(at)]
    signed_up_to = in_force(prices, day(signed_up))[-1]
    assert paid(prices, at, notice_days, signed_up) <= max(
        p.amount_minor for p in (signed_up_to, *since)
    )


@given(histories(), notices, periods)
def test_nobody_pays_a_rise_before_its_notice_is_over(
    prices: list[Price], notice_days: int, period: tuple[int, int]
) -> None:
    signed_up, at = period
    notice = timedelta(days=notice_days)
    signed_up_to = in_force(prices, day(signed_up))[-1]
    amount = paid(prices, at, notice_days, signed_up)
    allowed = [signed_up_to] + [
        p for p in in_force(prices, day(at)) if p.announce_time + notice <= day(at)
    ]
    assert amount <= max(p.amount_minor for p in allowed)


@given(histories(), notices, periods)
def test_a_price_below_what_was_paid_is_passed_on_at_once(
    prices: list[Price], notice_days: int, period: tuple[int, int]
) -> None:
    signed_up, at = period
    listed = in_force(prices, day(at))[-1]
    assert paid(prices, at, notice_days, signed_up) <= listed.amount_minor


@given(histories(), notices, days)
def test_a_new_customer_pays_the_list_price(prices: list[Price], notice_days: int, at: int) -> None:
    assert paid(prices, at, notice_days, signed_up=at) == in_force(prices, day(at))[-1].amount_minor


@given(histories(), notices, days)
def test_in_the_end_everybody_pays_the_list_price(
    prices: list[Price], notice_days: int, signed_up: int
) -> None:
    end = HORIZON_DAYS + notice_days
    assert paid(prices, end, notice_days, signed_up) == prices[-1].amount_minor


@given(histories(), st.integers(1, 50), days, notices, periods)
def test_a_rise_reaches_subscribers_when_it_was_announced_to(
    before: list[Price], rise_minor: int, announced: int, notice_days: int, period: tuple[int, int]
) -> None:
    signed_up, at = period
    effective = HORIZON_DAYS + 1
    previous = in_force(before, day(effective))[-1]
    rise = price(previous.amount_minor + rise_minor, effective, announced)
    reaches = subscriber_effective_time(rise, previous, notice_days)
    later = effective + at
    unchanged = paid(before, later, notice_days, signed_up)
    expected = rise.amount_minor if reaches <= day(later) else unchanged
    assert paid([*before, rise], later, notice_days, signed_up) == expected


@given(histories(), notices, periods)
def test_prices_of_the_future_change_nothing(
    prices: list[Price], notice_days: int, period: tuple[int, int]
) -> None:
    signed_up, at = period
    known = [p for p in prices if p.effective_time <= day(at)]
    assert paid(prices, at, notice_days, signed_up) == paid(known, at, notice_days, signed_up)


# --- protection ---------------------------------------------------------------------------------

amounts = st.integers(1, 10**8)
shares_bps = st.integers(0, 100_000)


SIGN_UP_PRICE = PriceId("sign-up")


def protection(terms: Lock | Cap | None, amount_minor: int = 1000) -> Protection:
    return Protection(amount_minor, SIGN_UP_PRICE, day(0), terms)


@pytest.mark.parametrize(
    ("lock", "cycle", "at", "holds"),
    [
        (Lock(3, None), 3, 500, True),
        (Lock(3, None), 4, 0, False),
        (Lock(None, day(100)), 99, 99, True),
        (Lock(None, day(100)), 1, 100, False),
        (Lock(3, day(100)), 4, 99, True),
        (Lock(3, day(100)), 3, 500, True),
        (Lock(3, day(100)), 4, 100, False),
    ],
)
def test_a_lock_holds_while_either_limit_does(
    lock: Lock, cycle: int, at: int, *, holds: bool
) -> None:
    expected = (1000, Basis.PRICE_LOCK) if holds else None
    assert ceiling(protection(lock), cycle, day(at)) == expected


@pytest.mark.parametrize(
    ("sign_up", "bps", "limit"), [(1000, 500, 1050), (999, 500, 1048), (1, 9999, 1), (7, 0, 7)]
)
def test_a_cap_is_rounded_down_for_the_customer(sign_up: int, bps: int, limit: int) -> None:
    assert ceiling(protection(Cap(bps), sign_up), 1, day(0)) == (limit, Basis.PRICE_CAP)


@given(amounts, shares_bps, st.integers(1, 5000), days)
def test_a_cap_never_gives_more_than_its_share(sign_up: int, bps: int, cycle: int, at: int) -> None:
    found = ceiling(protection(Cap(bps), sign_up), cycle, day(at))
    assert found is not None
    exact = sign_up * (BASIS_POINTS + bps)
    assert sign_up <= found[0] and exact - BASIS_POINTS < found[0] * BASIS_POINTS <= exact  # noqa: PT018


def test_without_terms_there_is_no_ceiling() -> None:
    assert ceiling(protection(None), 1, day(0)) is None


terms = st.one_of(
    st.none(),
    st.builds(Cap, shares_bps),
    st.builds(Lock, st.none() | st.integers(1, 20), st.none() | days.map(day)),
)


@given(histories(), notices, terms, st.integers(1, 30), days)
def test_no_unit_price_is_above_list_price_or_ceiling(
    prices: list[Price], notice_days: int, kind: Lock | Cap | None, cycle: int, at: int
) -> None:
    promised = protection(kind, prices[0].amount_minor)
    unit = unit_price(prices, notice_days, promised, cycle, day(at))
    assert unit is not None
    assert unit.amount_minor <= unit.list_amount_minor
    limit = ceiling(promised, cycle, day(at))
    assert limit is None or unit.amount_minor <= limit[0]


@given(histories(), notices, terms, st.integers(1, 30), days)
def test_a_unit_price_says_truly_what_decided_it(
    prices: list[Price], notice_days: int, kind: Lock | Cap | None, cycle: int, at: int
) -> None:
    promised = protection(kind, prices[0].amount_minor)
    unit = unit_price(prices, notice_days, promised, cycle, day(at))
    assert unit is not None
    amounts_minor = {p.price: p.amount_minor for p in prices}
    assert unit.list_amount_minor == amounts_minor[unit.list_price]
    match unit.basis:
        case Basis.LIST_PRICE:
            assert unit.amount_minor == unit.list_amount_minor == amounts_minor[unit.price]
        case Basis.INCREASE_NOT_YET_NOTIFIED:
            assert unit.amount_minor == amounts_minor[unit.price] < unit.list_amount_minor
        case Basis.PRICE_LOCK | Basis.PRICE_CAP as basis:
            assert (unit.amount_minor, basis) == ceiling(promised, cycle, day(at))
            assert unit.price == SIGN_UP_PRICE
            assert unit.amount_minor < unit.list_amount_minor


def test_before_the_first_price_there_is_none() -> None:
    assert unit_price([price(1000, 5)], 30, None, 1, day(4)) is None


def test_without_protection_a_cap_or_lock_is_not_thought_up() -> None:
    unit = unit_price([price(1000, 0)], 30, None, 1, day(4))
    assert unit is not None
    assert (unit.amount_minor, unit.basis) == (1000, Basis.LIST_PRICE)
