from datetime import UTC, date, datetime, time, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.domain import calendar
from services.scheduler.domain.ids import CustomerId, MerchantId, StandingOrderId
from services.scheduler.domain.imports import continued, cycle_on, nearest_dates
from services.scheduler.domain.order import Item
from services.scheduler.domain.schedule import DateRange, Monthly, Schedule
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.domain.terms import BillingMode
from services.scheduler.store import sign_ups
from services.scheduler.store.standing_order_rows import columns_of
from tests.unit.scheduler.strategies import adjusted

MONTHLY = Schedule(date(2024, 1, 31), time(9), "Europe/Berlin", Monthly(month_days=(31,)))
NOW = datetime(2026, 2, 1, tzinfo=UTC)


def standing_order(schedule: Schedule = MONTHLY) -> StandingOrder:
    return StandingOrder(
        merchant=MerchantId("acme"), standing_order=StandingOrderId("tea"), customer=CustomerId("ada"),
        title="Tea", items=(Item("tea", 1),),
        schedule=schedule, billing_mode=BillingMode.PAY_ON_NOTICE, mandate="", ship_to=b"",
        price_protection=None, notice_lead=timedelta(days=3), payment_window=timedelta(days=3),
        create_time=NOW, update_time=NOW,
    )  # fmt: skip


@given(adjusted(), st.integers(0, 400))
def test_each_cycle_is_found_again_by_its_date(schedule: Schedule, index: int) -> None:
    cycle_date = calendar.cycle(schedule, index) if index < calendar.cycle_count(schedule) else None
    if cycle_date is not None and cycle_date.local_date is not None:
        assert cycle_on(schedule, cycle_date.local_date) == cycle_date


@given(adjusted(), st.integers(-40, 400))
def test_a_day_is_found_only_if_a_cycle_takes_place_on_it(schedule: Schedule, days: int) -> None:
    day = min(schedule.start_date, date(2098, 1, 1)) + timedelta(days=days)
    cycle_date = cycle_on(schedule, day)
    if cycle_date is not None:
        assert cycle_date == calendar.cycle(schedule, cycle_date.index)
        assert cycle_date.local_date == day


def test_the_next_cycle_has_the_number_and_the_date_that_it_had_elsewhere() -> None:
    taken = continued(standing_order(), 7, date(2026, 2, 28))
    assert taken is not None
    assert taken.next_cycle == 7
    assert taken.next_due_time == datetime(2026, 2, 28, 8, tzinfo=UTC)
    following = taken.date(8)
    assert following is not None
    assert following.local_date == date(2026, 3, 31)


def test_a_schedule_that_began_long_ago_is_numbered_back_below_one() -> None:
    taken = continued(standing_order(), 1, date(2026, 2, 28))
    assert taken is not None
    assert taken.base_cycle < 1


def test_a_number_may_be_ahead_of_the_schedule() -> None:
    taken = continued(standing_order(), 99, date(2024, 1, 31))
    assert taken is not None
    assert (taken.base_cycle, taken.next_cycle) == (99, 99)


def test_a_day_without_a_cycle_is_no_next_date() -> None:
    assert continued(standing_order(), 7, date(2026, 2, 27)) is None


def test_a_day_without_a_cycle_has_those_around_it() -> None:
    around = nearest_dates(MONTHLY, date(2026, 2, 27))
    assert around == (date(2026, 1, 31), date(2026, 2, 28))


def test_a_cycle_in_a_blackout_is_no_next_date() -> None:
    blackout = DateRange(date(2026, 2, 20), date(2026, 3, 5))
    schedule = Schedule(
        MONTHLY.start_date, time(9), "UTC", MONTHLY.recurrence, blackouts=(blackout,)
    )
    assert cycle_on(schedule, date(2026, 2, 28)) is None


def test_after_its_end_a_schedule_has_no_date() -> None:
    assert cycle_on(MONTHLY, date(2101, 1, 31)) is None


def test_sign_up_stores_all_that_a_change_can_change() -> None:
    assert columns_of(standing_order()).keys() <= set(sign_ups._INSERT.names)
