"""Which cycles of a standing order get their row, and when."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.quiet_hours import NOTICE_HEADROOM
from services.scheduler.domain import calendar
from services.scheduler.domain.cycles import (
    OPEN_MAX_CYCLES,
    new_order,
    open_cycles,
    paid_period,
    reason_against,
)
from services.scheduler.domain.ids import CustomerId, MerchantId, StandingOrderId
from services.scheduler.domain.order import Item, Order, OrderReason, OrderState, Stage
from services.scheduler.domain.order_lifecycle import held
from services.scheduler.domain.pauses import paused, resumed
from services.scheduler.domain.rescheduling import LastOrder, rescheduled
from services.scheduler.domain.schedule import (
    Daily,
    DateRange,
    EndAfter,
    Monthly,
    Recurrence,
    Schedule,
    Weekly,
)
from services.scheduler.domain.standing_order import (
    CatchUp,
    CatchUpMode,
    CycleChange,
    KeptDate,
    Opening,
    StandingOrder,
    State,
    at_cycle,
    following_due_time,
    with_change,
)
from services.scheduler.domain.terms import BillingMode
from services.scheduler.publishers import order_events

START = date(2027, 1, 31)
NOON = time(12, 0)
SIGN_UP = datetime(2027, 1, 20, 12, tzinfo=UTC)

recurrences = st.one_of(
    st.builds(Daily, st.integers(1, 40)),
    st.builds(Weekly, st.integers(1, 5)),
    st.builds(Monthly, st.integers(1, 4), st.just((31,))),
)
leads = st.integers(1, 60 * 24).map(lambda hours: timedelta(hours=hours))
waits = st.lists(st.integers(0, 90 * 24), min_size=1, max_size=12)


def new_standing_order(
    recurrence: Recurrence | None = None,
    *,
    lead: timedelta = timedelta(hours=72),
    cycle_count: int | None = None,
) -> StandingOrder:
    end = EndAfter(cycle_count) if cycle_count else None
    standing_order = StandingOrder(
        merchant=MerchantId("acme"),
        standing_order=StandingOrderId("coffee"),
        customer=CustomerId("ada"),
        title="Coffee",
        items=(Item("beans", 1),),
        schedule=Schedule(START, NOON, "UTC", recurrence or Monthly(1, (31,)), end),
        billing_mode=BillingMode.AUTOMATIC,
        mandate="merchants/acme/customers/ada/mandates/card",
        ship_to=b"",
        price_protection=None,
        notice_lead=lead,
        payment_window=timedelta(hours=72),
        create_time=SIGN_UP,
        update_time=SIGN_UP,
    )
    return at_cycle(standing_order, 1)


def play(standing_order: StandingOrder, wait_hours: list[int]) -> tuple[StandingOrder, list[Order]]:
    """Open cycles at moments that far apart, each time until nothing is left to open."""
    now, orders = SIGN_UP, list[Order]()
    for hours in wait_hours:
        now += timedelta(hours=hours)
        while standing_order.prepare_time is not None and standing_order.prepare_time <= now:
            opening = open_cycles(standing_order, now)
            orders += opening.orders
            standing_order = opening.standing_order
    return standing_order, orders


def cycles(orders: list[Order]) -> list[int]:
    return [order.key.cycle for order in orders]


def test_a_cycle_is_opened_its_lead_and_some_headroom_before_it_is_due() -> None:
    standing_order = new_standing_order()
    due = datetime(2027, 1, 31, 12, tzinfo=UTC)

    too_early = open_cycles(
        standing_order, due - timedelta(hours=72) - NOTICE_HEADROOM - timedelta(seconds=1)
    )
    in_time = open_cycles(standing_order, due - timedelta(hours=72) - NOTICE_HEADROOM)

    assert too_early.orders == ()
    assert cycles(list(in_time.orders)) == [1]
    assert in_time.standing_order.next_cycle == 2
    assert in_time.standing_order.next_due_time == datetime(2027, 2, 28, 12, tzinfo=UTC)


@given(recurrence=recurrences, lead=leads, wait_hours=waits)
def test_every_cycle_gets_exactly_one_row_whenever_it_is_computed(
    recurrence: Recurrence, lead: timedelta, wait_hours: list[int]
) -> None:
    standing_order, orders = play(new_standing_order(recurrence, lead=lead), wait_hours)

    assert cycles(orders) == list(range(1, len(orders) + 1))
    assert standing_order.next_cycle == len(orders) + 1


@given(recurrence=recurrences, lead=leads, wait_hours=waits)
def test_of_the_cycles_that_fell_due_unseen_only_the_latest_is_billed(
    recurrence: Recurrence, lead: timedelta, wait_hours: list[int]
) -> None:
    standing_order = new_standing_order(recurrence, lead=lead)
    now = SIGN_UP + timedelta(hours=sum(wait_hours))

    opened = open_cycles(standing_order, now).orders
    due_already = [order for order in opened if order.due_time <= now]
    billed = [order for order in due_already if order.state is OrderState.UPCOMING]

    assert len(billed) <= 1
    assert all(
        order.reasons == (OrderReason.MISSED,) for order in due_already if order not in billed
    )


@given(recurrence=recurrences, wait_hours=waits)
def test_no_two_cycles_are_due_at_one_instant(
    recurrence: Recurrence, wait_hours: list[int]
) -> None:
    _, orders = play(new_standing_order(recurrence), wait_hours)

    due_times = [order.due_time for order in orders]
    assert due_times == sorted(set(due_times))


def test_a_cycle_that_the_customer_left_out_is_recorded_and_forgotten_by_the_template() -> None:
    standing_order = replace(
        new_standing_order(), changes={1: CycleChange(skip=True), 5: CycleChange(skip=True)}
    )

    opening = open_cycles(standing_order, datetime(2027, 1, 30, tzinfo=UTC))

    (order,) = opening.orders
    assert order.state is OrderState.SKIPPED
    assert order.reasons == (OrderReason.SKIPPED_BY_CUSTOMER,)
    assert opening.standing_order.skipped_cycles == (5,)


def test_after_its_last_cycle_a_standing_order_has_no_next_one() -> None:
    standing_order = new_standing_order(cycle_count=2)

    opening = open_cycles(standing_order, datetime(2027, 12, 1, tzinfo=UTC))

    assert cycles(list(opening.orders)) == [1, 2]
    assert opening.standing_order.next_cycle is None
    assert opening.standing_order.prepare_time is None


def test_a_sleep_of_years_is_caught_up_in_bites() -> None:
    standing_order = new_standing_order(Daily(1))
    now = datetime(2028, 1, 31, 13, tzinfo=UTC)

    first = open_cycles(standing_order, now)
    _, all_orders = play(standing_order, [int((now - SIGN_UP).total_seconds() // 3600)])

    assert len(first.orders) == 100
    assert cycles(all_orders) == list(range(1, len(all_orders) + 1))
    assert [o.state for o in all_orders if o.due_time <= now].count(OrderState.UPCOMING) == 1


@given(recurrence=recurrences, lead=leads, hours=st.integers(0, 400 * 24))
def test_resuming_records_what_the_pause_swallowed_and_goes_on_in_time(
    recurrence: Recurrence, lead: timedelta, hours: int
) -> None:
    paused = replace(new_standing_order(recurrence, lead=lead), state=State.PAUSED)
    now = SIGN_UP + timedelta(hours=hours)

    opening = resumed(paused, now)
    standing_order = opening.standing_order

    assert standing_order.state is State.ACTIVE
    assert [order.key.cycle for order in opening.orders] == list(range(1, len(opening.orders) + 1))
    assert all(order.reasons == (OrderReason.PAUSED,) for order in opening.orders)
    assert standing_order.next_due_time is not None
    assert standing_order.next_due_time - lead >= now
    assert all(order.due_time - lead < now for order in opening.orders)


@given(
    recurrence=recurrences,
    lead=leads,
    mode=st.sampled_from(CatchUpMode),
    hours=st.integers(0, 200 * 24),
    skipped=st.sets(st.integers(1, 30), max_size=5),
)
def test_what_is_said_of_a_cycle_ahead_is_what_becomes_of_it(
    recurrence: Recurrence, lead: timedelta, mode: CatchUpMode, hours: int, skipped: set[int]
) -> None:
    standing_order = replace(new_standing_order(recurrence, lead=lead), catch_up=CatchUp(mode))
    for cycle in skipped:
        standing_order = with_change(standing_order, cycle, CycleChange(skip=True))
    now = SIGN_UP + timedelta(hours=hours)
    predicted = {cycle: foretold(standing_order, cycle, now) for cycle in range(1, 31)}
    became: dict[int, tuple[datetime, OrderReason | None]] = {}
    # Everything is looked at now, and whatever is ahead once its time has come.
    while (standing_order.next_cycle or 0) <= 30 and standing_order.prepare_time is not None:
        now = max(now, standing_order.prepare_time)
        opening = open_cycles(standing_order, now)
        became |= {order.key.cycle: outcome(order) for order in opening.orders}
        standing_order = opening.standing_order
    assert {cycle: became[cycle] for cycle in predicted} == predicted


@given(
    recurrence=recurrences,
    lead=leads,
    hours=st.integers(1, 200 * 24),
    late_hours=st.integers(-200 * 24, 40 * 24),
)
def test_what_is_said_of_the_cycles_of_a_pause_is_what_it_swallows(
    recurrence: Recurrence, lead: timedelta, hours: int, late_hours: int
) -> None:
    until = SIGN_UP + timedelta(hours=hours)
    resting = paused(new_standing_order(recurrence, lead=lead), until, None)
    # Before the end, or after it while nobody has resumed.
    asked = max(SIGN_UP, until + timedelta(hours=late_hours))
    swallowed = [
        cycle for cycle in range(1, 31) if foretold(resting, cycle, asked)[1] is OrderReason.PAUSED
    ]
    assert swallowed == cycles(list(resumed(resting, max(asked, until)).orders))[:30]


def foretold(
    standing_order: StandingOrder, cycle: int, now: datetime
) -> tuple[datetime, OrderReason | None]:
    """When a cycle falls due, and why it brings no order, as a preview has it."""
    cycle_date = standing_order.date(cycle)
    assert cycle_date is not None
    return cycle_date.due_at, reason_against(standing_order, cycle, cycle_date, now)


def outcome(order: Order) -> tuple[datetime, OrderReason | None]:
    return order.due_time, next(iter(order.reasons), None)


def test_the_anchor_does_not_drift_through_a_pause() -> None:
    paused = replace(new_standing_order(), state=State.PAUSED)

    opening = resumed(paused, datetime(2027, 3, 1, tzinfo=UTC))

    assert opening.standing_order.next_due_time == datetime(2027, 3, 31, 12, tzinfo=UTC)


def test_a_moved_cycle_takes_place_on_its_new_date_and_the_next_one_where_it_always_was() -> None:
    standing_order = with_change(new_standing_order(), 1, CycleChange(local_date=date(2027, 2, 5)))

    assert standing_order.next_due_time == datetime(2027, 2, 5, 12, tzinfo=UTC)
    opening = open_cycles(standing_order, datetime(2027, 2, 4, tzinfo=UTC))
    assert [order.local_date for order in opening.orders] == [date(2027, 2, 5)]
    assert opening.standing_order.next_due_time == datetime(2027, 2, 28, 12, tzinfo=UTC)
    assert opening.standing_order.changes == {}


def test_items_of_one_cycle_leave_the_template_alone() -> None:
    items = (Item("tea", 3),)
    standing_order = with_change(new_standing_order(), 1, CycleChange(items=items))

    opening = open_cycles(standing_order, datetime(2027, 2, 26, tzinfo=UTC))

    assert [order.items for order in opening.orders] == [items, standing_order.items]
    assert opening.standing_order.items == standing_order.items


def test_a_cycle_ordered_now_is_due_now_without_a_lead_and_adds_none() -> None:
    standing_order = with_change(new_standing_order(), 1, CycleChange(order_now_time=SIGN_UP))

    opening = open_cycles(standing_order, SIGN_UP)

    (order,) = opening.orders
    assert order.due_time == SIGN_UP
    assert order.notice_lead == timedelta()
    assert opening.standing_order.next_cycle == 2
    assert opening.standing_order.next_due_time == datetime(2027, 2, 28, 12, tzinfo=UTC)


def test_taking_back_a_change_leaves_no_trace_of_it() -> None:
    standing_order = new_standing_order()

    changed = with_change(standing_order, 3, CycleChange(skip=True))

    assert with_change(changed, 3, CycleChange()) == standing_order


def assert_all_due_opened(opening: Opening, now: datetime) -> None:
    """Every cycle up to the next one has its row, and the next one is to come or in a later batch."""
    following = opening.standing_order.next_cycle
    assert following is not None
    assert cycles(list(opening.orders)) == list(range(1, following))
    date_ = opening.standing_order.date(following)
    assert date_ is not None
    assert date_.due_at > now or len(opening.orders) == OPEN_MAX_CYCLES


@given(recurrence=recurrences, hours=st.integers(0, 200 * 24), window_days=st.integers(1, 60))
def test_catching_up_all_bills_everything_in_its_window_and_records_the_rest(
    recurrence: Recurrence, hours: int, window_days: int
) -> None:
    window = timedelta(days=window_days)
    policy = CatchUp(CatchUpMode.ALL_IN_ORDER, window)
    now = SIGN_UP + timedelta(hours=hours)
    standing_order = replace(new_standing_order(recurrence), catch_up=policy)

    opening = open_cycles(standing_order, now)

    assert_all_due_opened(opening, now)
    for order in opening.orders:
        missed = order.due_time < now - window
        assert order.state is (OrderState.SKIPPED if missed else OrderState.UPCOMING)


def test_the_latest_cycle_that_is_billed_late_is_the_last_one_that_brings_an_order() -> None:
    left_out = DateRange(date(2027, 2, 4), date(2027, 2, 5))
    standing_order = new_standing_order(Daily(1))
    schedule = replace(standing_order.schedule, blackouts=(left_out,))
    known = replace(standing_order, schedule=schedule)
    # 31 January is the first; the customer has left 3 February out.
    known = with_change(known, 4, CycleChange(skip=True))

    opening = open_cycles(known, datetime(2027, 2, 5, 18, tzinfo=UTC))

    assert [next(iter(order.reasons), None) for order in opening.orders[:6]] == [
        OrderReason.MISSED,
        OrderReason.MISSED,
        None,
        OrderReason.SKIPPED_BY_CUSTOMER,
        OrderReason.DATE_EXCLUDED,
        OrderReason.DATE_EXCLUDED,
    ]


@given(recurrence=recurrences, hours=st.integers(0, 200 * 24))
def test_without_catching_up_nothing_that_is_past_is_billed(
    recurrence: Recurrence, hours: int
) -> None:
    standing_order = replace(new_standing_order(recurrence), catch_up=CatchUp(CatchUpMode.NONE))
    now = SIGN_UP + timedelta(hours=hours)

    opening = open_cycles(standing_order, now)

    assert_all_due_opened(opening, now)
    for order in opening.orders:
        assert (order.state is OrderState.SKIPPED) == (order.due_time <= now)


@given(
    recurrence=recurrences, count=st.integers(1, 20), lead=leads, late_hours=st.integers(0, 30 * 24)
)
def test_a_pause_of_so_many_cycles_leaves_out_exactly_those(
    recurrence: Recurrence, count: int, lead: timedelta, late_hours: int
) -> None:
    resting = paused(new_standing_order(recurrence, lead=lead), None, count)
    assert resting.resume_time is not None

    # However long nobody was there to end it.
    opening = resumed(resting, max(resting.resume_time, SIGN_UP) + timedelta(hours=late_hours))

    if resting.resume_time >= SIGN_UP:
        assert cycles(list(opening.orders)) == list(range(1, count + 1))
        assert opening.standing_order.next_cycle == count + 1


@given(old=recurrences, new=recurrences, hours=st.integers(0, 300 * 24))
def test_another_schedule_goes_on_without_a_gap_or_an_overlap(
    old: Recurrence, new: Recurrence, hours: int
) -> None:
    now = SIGN_UP + timedelta(hours=hours)
    opening = open_cycles(new_standing_order(old), now)
    before = opening.standing_order
    last_date = opening.orders[-1].local_date if opening.orders else None
    start = max(START, now.date())
    schedule = Schedule(start, NOON, "UTC", new, None)

    last = LastOrder(opening.orders[-1].key.cycle, last_date) if last_date else None
    after = rescheduled(before, schedule, last, now)

    assert after.next_cycle == before.next_cycle
    assert after.next_due_time is not None
    assert after.next_due_time > now
    assert last_date is None or after.next_due_time.date() > last_date
    # No gap: no earlier date of the new schedule would have done.
    assert after.next_cycle is not None
    index = after.next_cycle - after.base_cycle
    if index > 0:
        previous = calendar.cycle(schedule, index - 1)
        assert previous is not None
        assert previous.due_at <= now or (
            last_date is not None and previous.nominal_date <= last_date
        )


def test_after_the_customers_last_cycle_there_is_none() -> None:
    standing_order = at_cycle(replace(new_standing_order(), last_cycle=2), 1)

    opening = open_cycles(standing_order, datetime(2027, 12, 1, tzinfo=UTC))

    assert cycles(list(opening.orders)) == [1, 2]
    assert opening.standing_order.next_cycle is None


@given(recurrences, st.integers(1, 30))
def test_the_periods_of_cycles_follow_each_other_without_a_gap(
    recurrence: Recurrence, cycle_count: int
) -> None:
    standing_order = new_standing_order(recurrence, cycle_count=cycle_count)
    orders = [
        new_order(standing_order, cycle, date_, None, SIGN_UP)
        for cycle in range(1, cycle_count + 1)
        if (date_ := standing_order.date(cycle)) is not None
    ]
    periods = [paid_period(standing_order, order) for order in orders]
    assert [start for start, _ in periods] == [order.local_date for order in orders]
    for (_, end_date), (start_date, _) in pairwise(periods):
        assert end_date + timedelta(days=1) == start_date
    # Though no cycle follows the last one.
    endless = new_standing_order(recurrence)
    assert periods[-1] == paid_period(endless, orders[-1])


def test_an_order_of_the_schedule_before_pays_until_the_present_one_begins() -> None:
    standing_order = new_standing_order(Monthly(1, (31,)))
    date_ = standing_order.date(1)
    assert date_ is not None
    order = new_order(standing_order, 1, date_, None, SIGN_UP)
    rescheduled_later = replace(
        standing_order,
        schedule=replace(standing_order.schedule, start_date=date(2027, 3, 15)),
        base_cycle=2,
    )
    assert paid_period(rescheduled_later, order) == (START, date(2027, 3, 30))


def test_an_order_of_the_schedule_before_pays_until_a_cycle_that_kept_its_date() -> None:
    standing_order = new_standing_order(Monthly(1, (31,)))
    date_ = standing_order.date(1)
    assert date_ is not None
    order = new_order(standing_order, 1, date_, None, SIGN_UP)
    kept = CycleChange(kept_date=KeptDate(date(2027, 2, 28), date(2027, 3, 3)))
    rescheduled_later = replace(
        standing_order,
        schedule=replace(standing_order.schedule, start_date=date(2027, 3, 15)),
        base_cycle=3,
        changes={2: kept},
    )
    assert paid_period(rescheduled_later, order) == (START, date(2027, 3, 2))


def test_what_follows_an_order_of_the_schedule_before_is_the_first_of_the_present_one() -> None:
    standing_order = replace(new_standing_order(), base_cycle=7)
    first = calendar.cycle(standing_order.schedule, 0)
    assert first is not None
    assert following_due_time(standing_order, 2) == first.due_at
    assert following_due_time(standing_order, 6) == first.due_at


def test_an_order_held_again_after_something_else_is_another_event_than_the_first_time() -> None:
    standing_order = new_standing_order()
    date_ = standing_order.date(1)
    assert date_ is not None
    order = new_order(standing_order, 1, date_, None, SIGN_UP)
    published = []
    for reason in (OrderReason.OUT_OF_STOCK, OrderReason.NO_SLOT, OrderReason.OUT_OF_STOCK):
        order = held(order._replace(decisions=()), (reason,), Stage.COLLECT, SIGN_UP)
        published += order_events(order, standing_order, SIGN_UP)
        order = order._replace(version=order.version + 1)

    assert len({event.event_id for event in published}) == 3
