"""What a subscriber pays: drops at once, rises after their notice, never above what was promised."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.domain.prices import (
    BASIS_POINTS,
    QUANTITY_MAX,
    Price,
    Tier,
    TierMode,
    in_force,
    is_dearer,
    subscriber_effective_time,
    subscriber_price,
)
from services.catalog.domain.pricing import (
    Adjustment,
    AdjustmentKind,
    Facts,
    Line,
    price_line,
    price_protection,
)
from services.catalog.domain.products import (
    Item,
    MerchantId,
    PriceId,
    ProductId,
    ProductKey,
    StandingOrderId,
)
from services.catalog.domain.protections import Cap, Lock, Protection

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
    notice = timedelta(days=notice_days)
    return subscriber_price(current, 1, notice, day(signed_up), day(at))[0].unit_price_minor


@st.composite
def histories(draw: st.DrawFn, tiers: int = 0) -> list[Price]:
    """Prices of one product, the first from the start on, each announced before it takes effect."""
    days = draw(st.sets(st.integers(1, HORIZON_DAYS), max_size=6))
    prices = []
    for effective in [0, *sorted(days)]:
        announced = draw(st.integers(0, effective))
        plain = price(draw(st.integers(1, 50)), effective, announced)
        prices.append(draw(tiered(plain, tiers)) if tiers else plain)
    return prices


@st.composite
def tiered(draw: st.DrawFn, plain: Price, tiers: int) -> Price:
    """A price with up to so many tiers and some discount."""
    firsts = sorted(draw(st.sets(st.integers(2, 60), max_size=tiers)))
    units = st.lists(
        st.integers(1, plain.unit_price_minor), min_size=len(firsts), max_size=len(firsts)
    )
    falling = sorted(draw(units), reverse=True)
    return replace(
        plain,
        tier_mode=draw(st.sampled_from(TierMode)) if firsts else None,
        tiers=tuple(map(Tier, firsts, falling)),
        subscriber_discount_bps=draw(st.integers(0, 9999)),
    )


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
        p.unit_price_minor for p in (signed_up_to, *since)
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
    assert amount <= max(p.unit_price_minor for p in allowed)


@given(histories(), notices, periods)
def test_a_price_below_what_was_paid_is_passed_on_at_once(
    prices: list[Price], notice_days: int, period: tuple[int, int]
) -> None:
    signed_up, at = period
    listed = in_force(prices, day(at))[-1]
    assert paid(prices, at, notice_days, signed_up) <= listed.unit_price_minor


@given(histories(), notices, days)
def test_a_new_customer_pays_the_list_price(prices: list[Price], notice_days: int, at: int) -> None:
    assert (
        paid(prices, at, notice_days, signed_up=at)
        == in_force(prices, day(at))[-1].unit_price_minor
    )


@given(histories(), notices, days)
def test_in_the_end_everybody_pays_the_list_price(
    prices: list[Price], notice_days: int, signed_up: int
) -> None:
    end = HORIZON_DAYS + notice_days
    assert paid(prices, end, notice_days, signed_up) == prices[-1].unit_price_minor


@given(histories(), st.integers(1, 50), days, notices, periods)
def test_a_rise_reaches_subscribers_when_it_was_announced_to(
    before: list[Price], rise_minor: int, announced: int, notice_days: int, period: tuple[int, int]
) -> None:
    signed_up, at = period
    effective = HORIZON_DAYS + 1
    previous = in_force(before, day(effective))[-1]
    rise = price(previous.unit_price_minor + rise_minor, effective, announced)
    reaches = subscriber_effective_time(rise, previous, notice_days)
    later = effective + at
    unchanged = paid(before, later, notice_days, signed_up)
    expected = rise.unit_price_minor if reaches <= day(later) else unchanged
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
quantities = st.integers(1, 10_000)
shares_bps = st.integers(0, 100_000)


def protection(terms: Lock | Cap | None) -> Protection:
    """What was promised of the price of the first day."""
    key = (TEA.merchant, StandingOrderId("weekly"), TEA.product)
    return Protection(*key, PriceId("p0"), day(0), terms)


def facts(
    prices: Sequence[Price],
    terms: Lock | Cap | None = None,
    cycle: int = 1,
    at: int = 0,
    quantity: int = 1,
    notice_days: int = 30,
) -> Facts:
    promised = protection(terms)
    current = in_force(prices, day(at))
    notice = timedelta(days=notice_days)
    return Facts(quantity, current, notice, promised, promised.sign_up_time, cycle, day(at))


def line(wanted: Facts) -> Line:
    return price_line(Item(TEA, wanted.quantity), "Tea", wanted)


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
    expected = Adjustment(AdjustmentKind.PRICE_LOCK, -500, PriceId("p0")) if holds else None
    assert price_protection(facts([price(1000, 0)], lock, cycle, at), 1500) == expected


@pytest.mark.parametrize(
    ("sign_up", "bps", "limit"), [(1000, 500, 1050), (999, 500, 1048), (1, 9999, 1), (7, 0, 7)]
)
def test_a_cap_is_rounded_down_for_the_customer(sign_up: int, bps: int, limit: int) -> None:
    step = price_protection(facts([price(sign_up, 0)], Cap(bps)), 10_000)
    assert step == Adjustment(AdjustmentKind.PRICE_CAP, limit - 10_000, PriceId("p0"))


@given(amounts, quantities, shares_bps, st.integers(1, 5000), days)
def test_a_cap_never_gives_more_than_its_share(
    sign_up: int, quantity: int, bps: int, cycle: int, at: int
) -> None:
    above = 10**15
    step = price_protection(facts([price(sign_up, 0)], Cap(bps), cycle, at, quantity), above)
    assert step is not None
    limit = above + step.amount_minor
    exact = sign_up * quantity * (BASIS_POINTS + bps)
    assert sign_up * quantity <= limit
    assert exact - BASIS_POINTS < limit * BASIS_POINTS <= exact


def test_without_terms_nothing_is_promised() -> None:
    assert price_protection(facts([price(1000, 0)]), 10**12) is None


def test_before_sign_up_nothing_is_promised() -> None:
    promised = facts([price(1000, 0), price(900, 5)], Lock(3, None), at=6)
    assert price_protection(promised._replace(prices=promised.prices[1:]), 10**12) is None


terms = st.one_of(
    st.none(),
    st.builds(Cap, shares_bps),
    st.builds(Lock, st.none() | st.integers(1, 20), st.none() | days.map(day)),
)
orders = st.builds(
    facts, histories(tiers=4), terms, st.integers(1, 30), days, quantities, notice_days=notices
)


@given(orders)
def test_the_list_amount_and_all_adjustments_are_the_amount(wanted: Facts) -> None:
    priced = line(wanted)
    steps = sum(adjustment.amount_minor for adjustment in priced.adjustments)
    assert priced.list_amount_minor + steps == priced.amount_minor
    assert priced.list_amount_minor == priced.list_unit_price_minor * wanted.quantity


@given(orders)
def test_no_line_is_above_its_list_amount_or_what_was_promised(wanted: Facts) -> None:
    priced = line(wanted)
    assert 0 < priced.amount_minor <= priced.list_amount_minor
    assert price_protection(wanted, priced.amount_minor) is None


@given(orders)
def test_a_line_names_the_price_versions_that_gave_its_amounts(wanted: Facts) -> None:
    priced = line(wanted)
    versions = {p.price: p for p in wanted.prices}
    listed = versions[priced.list_price]
    assert priced.list_amount_minor == listed.list_minor(wanted.quantity)
    by_version_minor = versions[priced.price].subscriber_minor(wanted.quantity)
    if [step.kind for step in priced.adjustments][-1:] == [AdjustmentKind.PRICE_CAP]:
        assert by_version_minor <= priced.amount_minor < listed.subscriber_minor(wanted.quantity)
    else:
        assert priced.amount_minor == by_version_minor


@given(orders)
def test_what_one_unit_costs_is_rounded_up(wanted: Facts) -> None:
    priced = line(wanted)
    unit = priced.unit_price_minor
    assert (unit - 1) * wanted.quantity < priced.amount_minor <= unit * wanted.quantity


# --- tiers ---------------------------------------------------------------------------------------

tiered_prices = amounts.flatmap(lambda amount_minor: tiered(price(amount_minor, 0), 8))
small = st.integers(1, 100)


def unit_minor(wanted: Price, number: int) -> int:
    """What the unit of a number costs by its own tier."""
    reached = [tier.unit_price_minor for tier in wanted.tiers if tier.first_quantity <= number]
    return reached[-1] if reached else wanted.unit_price_minor


@given(tiered_prices, small)
def test_graduated_is_the_sum_over_all_units_of_their_tiers(wanted: Price, quantity: int) -> None:
    graduated = replace(wanted, tier_mode=TierMode.GRADUATED)
    units = [unit_minor(wanted, number) for number in range(1, quantity + 1)]
    assert graduated.tiered_minor(quantity) == sum(units)


@given(tiered_prices, small)
def test_by_volume_all_units_cost_what_the_last_one_does(wanted: Price, quantity: int) -> None:
    volume = replace(wanted, tier_mode=TierMode.VOLUME)
    assert volume.tiered_minor(quantity) == quantity * unit_minor(wanted, quantity)


@given(tiered_prices, small, small)
def test_more_units_never_cost_less_in_all_when_graduated(wanted: Price, a: int, b: int) -> None:
    graduated = replace(wanted, tier_mode=TierMode.GRADUATED)
    fewer, more = sorted((a, b))
    assert graduated.subscriber_minor(fewer) <= graduated.subscriber_minor(more)


@given(tiered_prices, st.integers(1, QUANTITY_MAX))
def test_a_tier_never_makes_a_unit_dearer_and_no_line_is_free(wanted: Price, quantity: int) -> None:
    assert 0 < wanted.subscriber_minor(quantity) <= wanted.tiered_minor(quantity)
    assert wanted.tiered_minor(quantity) <= wanted.list_minor(quantity)


@given(histories(tiers=4), st.integers(1, QUANTITY_MAX))
def test_what_is_dearer_for_somebody_is_an_increase(prices: list[Price], quantity: int) -> None:
    old, new = prices[0], prices[-1]
    if not is_dearer(new, old):
        # Discounts are rounded to the minor unit.
        assert new.subscriber_minor(quantity) <= old.subscriber_minor(quantity) + 1
