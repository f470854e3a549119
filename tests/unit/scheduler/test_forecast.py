"""What a standing order will want between two dates: what is opened when the time comes, no more."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.domain.cycles import open_cycles
from services.scheduler.domain.forecast import Demand, DemandKey, Forecast, coming_orders
from services.scheduler.domain.ids import CustomerId, MerchantId, StandingOrderId
from services.scheduler.domain.order import Item, Line, OrderState
from services.scheduler.domain.pauses import paused
from services.scheduler.domain.schedule import (
    BlackoutRule,
    BusinessDayRule,
    BusinessDays,
    Daily,
    DateRange,
    Monthly,
    Recurrence,
    Schedule,
    Weekly,
)
from services.scheduler.domain.standing_order import (
    CycleChange,
    StandingOrder,
    State,
    at_cycle,
    with_change,
)
from services.scheduler.domain.terms import BillingMode

START = date(2027, 1, 31)
SIGN_UP = datetime(2027, 1, 20, 12, tzinfo=UTC)

recurrences = st.one_of(
    st.builds(Daily, st.integers(1, 40)),
    st.builds(Weekly, st.integers(1, 5)),
    st.builds(Monthly, st.integers(1, 4), st.just((31,))),
)
blackouts = st.lists(
    st.builds(
        lambda first, length: DateRange(
            START + timedelta(days=first), START + timedelta(days=first + length)
        ),
        st.integers(0, 400),
        st.integers(0, 40),
    ),
    max_size=3,
).map(tuple)


def new_standing_order(
    recurrence: Recurrence, excluded: tuple[DateRange, ...] = ()
) -> StandingOrder:
    standing_order = StandingOrder(
        merchant=MerchantId("acme"),
        standing_order=StandingOrderId("coffee"),
        customer=CustomerId("ada"),
        title="Coffee",
        items=(Item("beans", 1),),
        schedule=Schedule(
            START,
            time(12),
            "UTC",
            recurrence,
            blackouts=excluded,
            blackout_rule=BlackoutRule.MOVE_TO_NEXT_ALLOWED,
            business_days=BusinessDays(BusinessDayRule.PREVIOUS),
        ),
        billing_mode=BillingMode.PAY_ON_NOTICE,
        mandate="",
        ship_to=b"",
        price_protection=None,
        notice_lead=timedelta(hours=72),
        payment_window=timedelta(hours=72),
        create_time=SIGN_UP,
        update_time=SIGN_UP,
    )
    return at_cycle(standing_order, 1)


def numbers(standing_order: StandingOrder, first: date, last: date) -> list[int]:
    return [order.key.cycle for order in coming_orders(standing_order, first, last, SIGN_UP)]


@given(recurrences, blackouts, st.integers(0, 500), st.integers(0, 100))
def test_it_is_what_will_be_opened(
    recurrence: Recurrence, excluded: tuple[DateRange, ...], begin: int, length: int
) -> None:
    standing_order = new_standing_order(recurrence, excluded)
    first = START + timedelta(days=begin)
    last = first + timedelta(days=length)
    cycles = numbers(standing_order, first, last)
    opened = []
    running = standing_order
    while True:
        due = running.next_due_time
        if due is None or due.date() > last + timedelta(days=60):
            break
        opening = open_cycles(running, due - timedelta(hours=72))
        opened += [
            order.key.cycle
            for order in opening.orders
            if order.state is OrderState.UPCOMING and first <= order.local_date <= last
        ]
        running = opening.standing_order
    assert cycles == opened


def test_a_cycle_that_was_moved_counts_where_it_went() -> None:
    standing_order = new_standing_order(Daily(10))
    moved = with_change(standing_order, 3, CycleChange(local_date=START + timedelta(days=25)))
    day = START + timedelta(days=25)
    assert numbers(moved, day, day) == [3]
    assert numbers(moved, START + timedelta(days=20), START + timedelta(days=24)) == []


def test_a_cycle_that_is_left_out_does_not_count() -> None:
    standing_order = with_change(new_standing_order(Daily(7)), 2, CycleChange(skip=True))
    assert numbers(standing_order, START, START + timedelta(days=21)) == [1, 3, 4]


def test_a_pause_that_nobody_ends_counts_for_nothing() -> None:
    standing_order = paused(new_standing_order(Daily(1)), None, None)
    assert numbers(standing_order, START, START + timedelta(days=30)) == []


def test_what_is_over_counts_for_nothing() -> None:
    standing_order = replace(new_standing_order(Daily(1)), state=State.CANCELLED, next_cycle=None)
    assert numbers(standing_order, START, START + timedelta(days=30)) == []


def test_demand_is_summed_by_day_product_and_currency() -> None:
    line = Line("beans", "Beans", 2, 400, 800, "p1", 450, 900)
    forecast = Forecast()
    forecast.add(START, "EUR", [line])
    forecast.add(START, "EUR", [line])
    forecast.add(START, "USD", [line])
    assert list(forecast.demands.items()) == [
        (DemandKey(START, "beans", "EUR"), Demand(4, 1600, 1800, 1600)),
        (DemandKey(START, "beans", "USD"), Demand(2, 800, 900, 800)),
    ]
