"""Which coming cycle a price change is about, and when its customer hears of it."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.domain.ids import CustomerId, MerchantId, StandingOrderId
from services.scheduler.domain.order import Item
from services.scheduler.domain.pauses import paused
from services.scheduler.domain.price_changes import (
    DELIVERY_ALLOWANCE,
    NOTICE_LEAD_MAX,
    Impact,
    PriceChange,
    Recipient,
    by_customer,
    first_order,
    next_walk_time,
    notice_lead,
    notify_time,
)
from services.scheduler.domain.schedule import Schedule, Weekly
from services.scheduler.domain.standing_order import (
    CycleChange,
    StandingOrder,
    at_cycle,
    with_change,
)
from services.scheduler.domain.terms import BillingMode

START = date(2027, 1, 31)
NOW = datetime(2027, 1, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def weekly() -> StandingOrder:
    standing_order = StandingOrder(
        merchant=MerchantId("acme"),
        standing_order=StandingOrderId("coffee"),
        customer=CustomerId("ada"),
        title="Coffee",
        items=(Item("coffee", 1),),
        schedule=Schedule(START, time(9), "Europe/Berlin", Weekly(1)),
        billing_mode=BillingMode.PAY_ON_NOTICE,
        mandate="",
        ship_to=b"",
        price_protection=None,
        notice_lead=DAY,
        payment_window=3 * DAY,
        create_time=NOW,
        update_time=NOW,
    )
    return at_cycle(standing_order, 1)


@given(from_days=st.integers(-30, 800), after_cycle=st.integers(0, 120))
def test_the_first_order_is_due_from_the_time_on_and_after_the_cycle(
    from_days: int, after_cycle: int
) -> None:
    from_time, standing_order = NOW + from_days * DAY, weekly()
    found = first_order(standing_order, "coffee", from_time, after_cycle, NOW)
    expected = next(
        cycle
        for cycle in range(after_cycle + 1, 1000)
        if (day := standing_order.date(cycle)) and day.due_at >= from_time
    )
    assert found is not None
    assert found.key.cycle == expected


def test_a_cycle_without_the_product_is_not_the_first() -> None:
    changed = with_change(weekly(), 2, CycleChange(items=(Item("tea", 1),)))
    left_out = with_change(changed, 3, CycleChange(skip=True))
    found = first_order(left_out, "coffee", NOW + 15 * DAY, 0, NOW)
    assert found is not None
    assert found.key.cycle == 4


def test_who_is_paused_for_good_is_taken_for_resumed() -> None:
    assert first_order(paused(weekly(), None, None), "coffee", NOW + 30 * DAY, 0, NOW) is not None


def test_nothing_comes_of_a_standing_order_that_ends_before() -> None:
    ending = replace(weekly(), last_cycle=3)
    assert first_order(ending, "coffee", NOW + 60 * DAY, 0, NOW) is None


@pytest.mark.parametrize(("ahead", "waits"), [(0 * DAY, False), (DAY, True)])
def test_what_is_far_away_is_told_when_it_is_near(ahead: timedelta, *, waits: bool) -> None:
    due_time = NOW + NOTICE_LEAD_MAX + ahead
    later = notify_time(Impact(1, due_time, 2, 1, "EUR"), NOW)
    assert later == (NOW + ahead if waits else None)


def test_those_of_one_customer_and_price_are_together() -> None:
    def recipient(customer: str, name: str, price: str) -> Recipient:
        return Recipient(
            MerchantId("acme"), StandingOrderId(name), "coffee", price, CustomerId(customer),
            "Coffee", NOW, NOW, NOW,
        )  # fmt: skip

    given_ = [recipient("ada", "b", "p"), recipient("bob", "c", "p"), recipient("ada", "a", "p"),
              recipient("ada", "a", "q")]  # fmt: skip
    groups = [[(one.standing_order, one.price) for one in group] for group in by_customer(given_)]
    assert groups == [[("a", "p"), ("b", "p")], [("a", "q")], [("c", "p")]]


@given(min_days=st.integers(0, 365), max_days=st.integers(0, 365))
def test_a_notice_is_early_enough_and_no_earlier_than_it_may_be(
    min_days: int, max_days: int
) -> None:
    lead = notice_lead(min_days, max_days)
    assert lead >= min_days * DAY + DELIVERY_ALLOWANCE
    if max_days > min_days:
        assert lead <= max_days * DAY


@pytest.mark.parametrize(
    ("effective_time", "then"),
    [
        (NOW + 900 * DAY, NOW + (900 - 366) * DAY),
        (NOW + 100 * DAY, NOW.replace(hour=0) + DAY),
        (NOW + timedelta(hours=2), NOW + timedelta(hours=3)),
        (NOW - timedelta(hours=2), None),
    ],
    ids=["years ahead", "ahead", "today", "past"],
)
def test_a_walk_rests_until_the_year_before_its_price_and_then_until_midnight(
    effective_time: datetime, then: datetime | None
) -> None:
    change = PriceChange(
        MerchantId("acme"), "coffee", "p2", "Coffee", effective_time, NOW, None, NOW, "", 1
    )
    assert next_walk_time(change, NOW) == then
