"""Which days will do for a cycle of a service."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.domain import calendar
from services.scheduler.domain.cycles import new_order
from services.scheduler.domain.order import Item, Order
from services.scheduler.domain.schedule import (
    BusinessDayRule,
    BusinessDays,
    DateRange,
    EndOn,
    Schedule,
    Weekly,
)
from services.scheduler.domain.slots import SlotDate, on_date, slot_dates
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.domain.terms import BillingMode

# A Monday.
START = date(2026, 3, 2)
ZONE = "Europe/Berlin"
LEAD = timedelta(days=3)
SCHEDULE = Schedule(START, time(9), ZONE, Weekly())


def standing(before: int = 0, after: int = 0, schedule: Schedule = SCHEDULE) -> StandingOrder:
    sign_up = datetime(2026, 1, 1, tzinfo=UTC)
    return StandingOrder(
        merchant="acme",  # type: ignore[arg-type]
        standing_order="weekly",  # type: ignore[arg-type]
        customer="ann",  # type: ignore[arg-type]
        title="Cleaning",
        items=(Item("visit", 1),),
        schedule=schedule,
        billing_mode=BillingMode.PAY_ON_NOTICE,
        mandate="",
        ship_to=b"",
        price_protection=None,
        notice_lead=LEAD,
        payment_window=LEAD,
        create_time=sign_up,
        update_time=sign_up,
        slot_days_before=before,
        slot_days_after=after,
    )


def prepared(standing_order: StandingOrder, cycle: int = 2) -> tuple[Order, datetime]:
    """The order of a cycle, and when it is prepared."""
    date_ = standing_order.date(cycle)
    assert date_ is not None
    now = standing_order.prepare_at(cycle, date_.due_at)
    return new_order(standing_order, cycle, date_, standing_order.date(cycle + 1), now), now


def days(standing_order: StandingOrder, known: dict[int, date] | None = None) -> list[int]:
    """The days that will do for the second cycle, counted from its own."""
    order, now = prepared(standing_order)
    found = slot_dates(order, standing_order, known or {1: START}, now)
    return [(slot.day - order.local_date).days for slot in found]


def test_a_cycle_without_a_window_stays_on_its_day() -> None:
    assert days(standing()) == [0]


def test_the_nearest_day_comes_first_and_of_two_the_later_one() -> None:
    assert days(standing(2, 3)) == [0, 1, -1, 2, -2, 3]


def test_a_day_of_another_cycle_will_not_do_nor_one_beyond_it() -> None:
    assert days(standing(14, 14)) == [0, *(step for n in range(1, 7) for step in (n, -n))]


def test_a_cycle_stays_clear_of_where_the_one_before_was_moved_to() -> None:
    assert min(days(standing(14, 3), {1: START + timedelta(days=3)})) == -3


def test_a_cycle_that_is_prepared_with_the_one_before_leaves_it_its_window() -> None:
    assert min(days(standing(14, 3), {2: START})) == -3


def test_a_blackout_will_not_do() -> None:
    away = DateRange(START + timedelta(days=8), START + timedelta(days=9))
    assert days(standing(1, 3, replace(SCHEDULE, blackouts=(away,)))) == [0, -1, 3]


def test_a_schedule_of_business_days_keeps_to_them() -> None:
    working = BusinessDays(BusinessDayRule.NEXT)
    assert days(standing(3, 5, replace(SCHEDULE, business_days=working))) == [0, 1, 2, 3, -3, 4]


def test_a_cycle_is_not_moved_past_the_end_of_its_schedule() -> None:
    ending = replace(SCHEDULE, end=EndOn(START + timedelta(days=8)))
    assert days(standing(0, 3, ending)) == [0, 1]


def test_a_day_that_is_over_will_not_do_and_one_too_near_neither() -> None:
    standing_order = standing(2, 5)
    order, _ = prepared(standing_order)
    late = order.due_time + timedelta(days=1)
    found = slot_dates(order, standing_order, {1: START}, late)
    assert [(slot.day - order.local_date).days for slot in found] == [4, 5]


def test_a_moved_order_is_measured_from_its_own_date() -> None:
    standing_order = standing(0, 2)
    order, now = prepared(standing_order)
    first, second, _ = slot_dates(order, standing_order, {1: START}, now)
    moved = on_date(order, second, ("visit",), standing_order, now)
    assert (moved.local_date, moved.moved_from_date) == (second.day, first.day)
    assert [decision.kind for decision in moved.decisions] == ["MOVED"]
    assert [slot.day for slot in slot_dates(moved, standing_order, {1: START}, now)] == [
        START + timedelta(days=number) for number in (7, 8, 9)
    ]
    back = on_date(moved, first, ("visit",), standing_order, now)
    assert (back.local_date, back.due_time, back.moved_from_date) == (
        order.local_date,
        order.due_time,
        None,
    )


@given(before=st.integers(0, 14), after=st.integers(0, 14), moved=st.integers(-6, 6))
def test_every_other_day_is_in_the_window_clear_of_other_cycles_and_leaves_the_lead(
    before: int, after: int, moved: int
) -> None:
    standing_order = standing(before, after)
    order, now = prepared(standing_order)
    earlier = START + timedelta(days=moved)
    own, *others = slot_dates(order, standing_order, {1: earlier}, now)
    assert own == SlotDate(order.local_date, order.due_time)
    distances = [abs((slot.day - order.local_date).days) for slot in others]
    assert distances == sorted(distances)
    for slot in others:
        assert -before <= (slot.day - order.local_date).days <= after
        assert earlier < slot.day < START + timedelta(days=14)
        assert slot.due_time - order.notice_lead >= now
        assert slot.due_time == calendar.local_to_utc(slot.day, time(9), ZONE)
