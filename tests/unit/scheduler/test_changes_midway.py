"""A schedule changes midway: what comes after, against plain lists of dates."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from services.scheduler.domain import calendar
from services.scheduler.domain.calendar import CycleDate
from services.scheduler.domain.cycles import open_cycles, overdue_opened
from services.scheduler.domain.ids import CustomerId, MerchantId, StandingOrderId
from services.scheduler.domain.order import Item, OrderReason
from services.scheduler.domain.pauses import paused, resumed
from services.scheduler.domain.rescheduling import LastOrder, rescheduled
from services.scheduler.domain.schedule import (
    BlackoutRule,
    BusinessDayRule,
    BusinessDays,
    Daily,
    DateRange,
    EndAfter,
    EndOn,
    Monthly,
    Schedule,
    Weekday,
    Weekly,
    Yearly,
)
from services.scheduler.domain.standing_order import (
    CatchUp,
    CatchUpMode,
    StandingOrder,
    State,
    at_cycle,
    with_change,
)
from services.scheduler.domain.terms import BillingMode
from services.scheduler.domain.validation import violations
from tests.unit.scheduler.strategies import cycles

DAY = timedelta(days=1)
BERLIN = "Europe/Berlin"
SIGN_UP = datetime(2027, 1, 20, 12, tzinfo=UTC)
EXAMINED = 12

starts = st.integers(0, 20).map(lambda days: SIGN_UP.date() + timedelta(days=days))
recurrences = st.one_of(
    st.builds(Daily, st.integers(1, 9)),
    st.builds(Weekly, st.integers(1, 3), st.lists(st.sampled_from(Weekday), max_size=2).map(tuple)),
    st.builds(Monthly, st.integers(1, 2), st.lists(st.integers(1, 31), max_size=2).map(tuple)),
)
blackouts = st.lists(
    st.builds(
        lambda first, days: DateRange(
            SIGN_UP.date() + timedelta(days=first), SIGN_UP.date() + timedelta(days=first + days)
        ),
        st.integers(0, 60),
        st.integers(0, 25),
    ),
    max_size=3,
).map(tuple)
ends = st.integers(30, 200).map(lambda days: EndOn(SIGN_UP.date() + timedelta(days=days)))
schedules = st.builds(
    Schedule,
    starts,
    st.sampled_from((time(0), time(2, 30), time(9), time(23, 30))),
    st.sampled_from(("UTC", BERLIN, "Pacific/Kiritimati", "America/Los_Angeles")),
    recurrences,
    st.none() | st.builds(EndAfter, st.integers(1, 12)) | ends,
    blackouts,
    st.sampled_from((BlackoutRule.MOVE_TO_NEXT_ALLOWED, *BlackoutRule)),
    st.builds(BusinessDays, st.sampled_from(BusinessDayRule)),
)


@dataclass
class Simulation:
    """A standing order through simulated time, and the dates of its cycles that have an order."""

    standing_order: StandingOrder
    now: datetime = SIGN_UP
    opened: list[CycleDate] = field(default_factory=list)

    def pass_by(self, wait: timedelta) -> None:
        self.now += wait
        while (
            self.standing_order.prepare_time is not None
            and self.standing_order.prepare_time <= self.now
        ):
            opening = open_cycles(self.standing_order, self.now)
            for order in opening.orders:
                cycle_date = self.standing_order.date(order.key.cycle)
                assert cycle_date is not None
                assert order.key.cycle == len(self.opened) + 1
                self.opened.append(cycle_date)
            self.standing_order = opening.standing_order

    @property
    def last(self) -> LastOrder | None:
        if not self.opened:
            return None
        return LastOrder(len(self.opened), self.opened[-1].day)

    def reschedule(self, schedule: Schedule) -> None:
        self.standing_order = rescheduled(self.standing_order, schedule, self.last, self.now)

    def order_now(self) -> None:
        standing_order = self.standing_order
        if standing_order.next_cycle and all(
            cycle_date.due_at < self.now for cycle_date in self.opened
        ):
            change = replace(
                standing_order.change(standing_order.next_cycle),
                local_date=None,
                order_now_time=self.now,
            )
            self.standing_order = with_change(standing_order, standing_order.next_cycle, change)

    def move(self, days: int) -> None:
        """Move the next cycle, as far as a call could."""
        standing_order, cycle = self.standing_order, self.standing_order.next_cycle
        cycle_date = standing_order.date(cycle) if cycle else None
        if cycle is None or cycle_date is None or cycle_date.local_date is None:
            return
        day = cycle_date.local_date + timedelta(days=days)
        schedule, after = standing_order.schedule, standing_order.date(cycle + 1)
        due_at = calendar.local_to_utc(day, schedule.local_time, schedule.time_zone)
        is_free = self.last is None or day > self.last.local_date
        if due_at > self.now and is_free and (after is None or day < after.day):
            change = replace(standing_order.change(cycle), local_date=day)
            self.standing_order = with_change(standing_order, cycle, change)

    def coming(self) -> list[CycleDate]:
        first = self.standing_order.next_cycle
        cycle_dates: list[CycleDate] = []
        for cycle in range(first, first + EXAMINED) if first else ():
            date_ = self.standing_order.date(cycle)
            if date_ is None:
                break
            cycle_dates.append(date_)
        return cycle_dates


def begin(schedule: Schedule, lead: timedelta = timedelta(hours=1)) -> Simulation:
    standing_order = StandingOrder(
        merchant=MerchantId("acme"), standing_order=StandingOrderId("tea"), customer=CustomerId("ada"),
        title="Tea", items=(Item("tea", 1),),
        schedule=schedule, billing_mode=BillingMode.PAY_ON_NOTICE, mandate="", ship_to=b"",
        price_protection=None, notice_lead=lead, payment_window=timedelta(days=3),
        create_time=SIGN_UP, update_time=SIGN_UP, catch_up=CatchUp(CatchUpMode.ALL_IN_ORDER),
    )  # fmt: skip
    simulation = Simulation(at_cycle(standing_order, 1))
    simulation.pass_by(timedelta())
    return simulation


def nominal_time(cycle_date: CycleDate, schedule: Schedule) -> datetime:
    return calendar.local_to_utc(cycle_date.nominal_date, schedule.local_time, schedule.time_zone)


def expected(simulation: Simulation, schedule: Schedule) -> list[tuple[date, date]]:
    """The nominal and actual dates that should come, from the list of all dates of a schedule."""
    old, now = simulation.standing_order, simulation.now
    endless = replace(schedule, end=None) if isinstance(schedule.end, EndAfter) else schedule
    every = cycles(endless, 0, 600)
    unused = [
        cycle_date
        for cycle_date in every
        if not simulation.opened or cycle_date.nominal_date > used_up(simulation)
    ]
    coming = [
        cycle_date
        for cycle_date in unused
        if cycle_date.due_at > now
        and (simulation.last is None or cycle_date.day > simulation.last.local_date)
    ]
    dates = [(cycle_date.nominal_date, cycle_date.day) for cycle_date in coming]
    pending = old.date(old.next_cycle) if old.next_cycle else None
    if pending is not None and pending.local_date is not None:
        day = pending.local_date
        while calendar.local_to_utc(day, schedule.local_time, schedule.time_zone) <= now:
            day += DAY
        if nominal_time(pending, old.schedule) <= now:
            lost = not coming or nominal_time(coming[0], schedule) > now
        else:
            lost = any(
                cycle_date.due_at <= now < nominal_time(cycle_date, schedule)
                for cycle_date in unused
            )
        ends = isinstance(schedule.end, EndOn) and day > schedule.end.end_date
        precedes = not dates or (pending.nominal_date < dates[0][0] and day < dates[0][1])
        if lost and not ends and precedes:
            dates.insert(0, (pending.nominal_date, day))
    if isinstance(schedule.end, EndAfter):
        dates = dates[: max(schedule.end.cycle_count - len(simulation.opened), 0)]
    return dates


def used_up(simulation: Simulation) -> date:
    return simulation.opened[-1].nominal_date


def live(simulation: Simulation, acts: Sequence[tuple[int, str, int]]) -> None:
    for days, act, number in acts:
        simulation.pass_by(timedelta(days=days, hours=number))
        match act:
            case "order now":
                simulation.order_now()
                simulation.pass_by(timedelta())
            case "move":
                simulation.move(number)
            case "skip" if simulation.standing_order.next_cycle:
                change = replace(
                    simulation.standing_order.change(simulation.standing_order.next_cycle),
                    skip=True,
                )
                simulation.standing_order = with_change(
                    simulation.standing_order, simulation.standing_order.next_cycle, change
                )


acts = st.lists(
    st.tuples(
        st.integers(0, 30), st.sampled_from(("", "order now", "move", "skip")), st.integers(-15, 15)
    ),
    max_size=4,
)


# What a change is about: mostly a little, since little changes are where gaps and overlaps hide.
ASPECTS = (
    "local_time",
    "time_zone",
    "recurrence",
    "end",
    "blackouts",
    "business_days",
    "start_date",
)
changes = st.lists(
    st.tuples(acts, st.sets(st.sampled_from(ASPECTS), min_size=1, max_size=2), schedules),
    min_size=1,
    max_size=3,
)


FORTNIGHTLY = Schedule(
    date(2027, 1, 20), time(0, 0), "UTC", Weekly(2, (Weekday.MONDAY,)),
    business_days=BusinessDays(BusinessDayRule.PREVIOUS),
)  # fmt: skip
SATURDAYS = replace(FORTNIGHTLY, recurrence=Weekly(1, (Weekday.SATURDAY,)))


@settings(max_examples=400)
@given(schedules, changes)
# A cycle brought forward to the days before the first date of the next schedule.
@example(FORTNIGHTLY, [([(100, "move", -4)], {"recurrence"}, SATURDAYS)])
def test_another_schedule_goes_on_without_a_gap_or_an_overlap(
    first: Schedule,
    changes: Sequence[tuple[Sequence[tuple[int, str, int]], set[str], Schedule]],
) -> None:
    simulation = begin(first)
    for lived, aspects, other in changes:
        live(simulation, lived)
        if not simulation.standing_order.next_cycle and not simulation.opened:
            return
        plan = simulation.standing_order.plan
        schedule = replace(
            plan,
            blackout_rule=other.blackout_rule if "blackouts" in aspects else plan.blackout_rule,
            **{aspect: getattr(other, aspect) for aspect in aspects},
        )
        if calendar.same_dates(schedule, plan):
            continue
        every = expected(simulation, schedule)
        wanted = every[:EXAMINED]
        simulation.reschedule(schedule)
        coming = [(cycle_date.nominal_date, cycle_date.day) for cycle_date in simulation.coming()]
        # The last of a count may move further than where another follows.
        ends = len(every) <= EXAMINED
        assert coming[: len(wanted) - ends] == wanted[: len(wanted) - ends]
        assert [nominal for nominal, _ in coming] == [nominal for nominal, _ in wanted]
    simulation.pass_by(timedelta(days=60))
    nominal = [cycle_date.nominal_date for cycle_date in simulation.opened]
    assert nominal == sorted(set(nominal))
    end = simulation.standing_order.plan.end
    if isinstance(end, EndAfter):
        planned = max(end.cycle_count, simulation.standing_order.last_cycle or 0)
        assert len(simulation.opened) <= max(
            planned, len(simulation.opened) - len(simulation.coming())
        )


@given(schedules, acts)
def test_the_same_schedule_changes_nothing_however_it_is_spelt(
    schedule: Schedule, lived: Sequence[tuple[int, str, int]]
) -> None:
    simulation = begin(schedule)
    live(simulation, lived)
    before = simulation.standing_order
    spelt = replace(
        schedule,
        start_date=calendar.rule_start(schedule),
        recurrence=calendar._explicit(schedule),
        blackouts=tuple(reversed(schedule.blackouts)),
    )
    for again in (schedule, spelt):
        simulation.reschedule(again)
        assert simulation.standing_order == before


@given(schedules, acts, st.integers(0, 40), st.integers(0, 20))
def test_a_plan_of_n_cycles_has_n_also_through_a_pause_and_from_another_day(
    schedule: Schedule, lived: Sequence[tuple[int, str, int]], days: int, ahead: int
) -> None:
    assume(isinstance(schedule.end, EndAfter))
    assert isinstance(schedule.end, EndAfter)
    simulation = begin(schedule)
    live(simulation, lived)
    rested = paused(simulation.standing_order, None, None)
    now = simulation.now + timedelta(days=days)
    opening = overdue_opened(rested, now)
    assert all(order.reasons == (OrderReason.PAUSED,) for order in opening.orders)
    rows = len(simulation.opened) + len(opening.orders)
    going_on = replace(opening.standing_order, state=State.ACTIVE)
    anchor = calendar.utc_to_local_date(now, schedule.time_zone) + timedelta(days=ahead)
    last_date = opening.orders[-1].local_date if opening.orders else None
    last = LastOrder(rows, last_date) if last_date else simulation.last
    after = Simulation(
        rescheduled(going_on, replace(schedule, start_date=anchor), last, now),
        now,
        simulation.opened,
    )
    left = 0 if going_on.next_cycle is None else schedule.end.cycle_count - rows
    assert len(after.coming()) == min(left, EXAMINED)


def monthly(day: int, start: date, **more: Any) -> Schedule:  # noqa: ANN401 - fields of a schedule
    return replace(Schedule(start, time(9), BERLIN, Monthly(1, (day,))), **more)


def test_a_cycle_brought_forward_has_used_up_its_date() -> None:
    simulation = begin(monthly(24, date(2027, 2, 24), end=EndAfter(3)))
    simulation.pass_by(timedelta(days=20))
    simulation.order_now()
    simulation.pass_by(DAY)
    simulation.reschedule(monthly(24, date(2027, 2, 24), end=EndAfter(3)))
    assert [cycle_date.day for cycle_date in simulation.coming()] == [
        date(2027, 3, 24),
        date(2027, 4, 24),
    ]
    # Another time of day, and another day of the month, meet the same rule.
    simulation.reschedule(
        monthly(24, date(2027, 2, 24), end=EndAfter(3), local_time=time(10), time_zone="UTC")
    )
    assert [cycle_date.day for cycle_date in simulation.coming()] == [
        date(2027, 3, 24),
        date(2027, 4, 24),
    ]
    simulation.reschedule(monthly(20, date(2027, 2, 24), end=EndAfter(3)))
    assert [cycle_date.day for cycle_date in simulation.coming()] == [
        date(2027, 3, 20),
        date(2027, 4, 20),
    ]


def test_a_cycle_moved_back_by_a_blackout_is_not_lost() -> None:
    closed = DateRange(date(2027, 1, 22), date(2027, 2, 3))
    moved: dict[str, Any] = {
        "blackouts": (closed,),
        "blackout_rule": BlackoutRule.MOVE_TO_NEXT_ALLOWED,
    }
    for again in (
        monthly(24, date(2027, 1, 22), **moved),
        monthly(24, date(2027, 1, 22), local_time=time(10), **moved),
        monthly(24, date(2027, 1, 22)),
        monthly(24, date(2027, 1, 26)),
        monthly(22, date(2027, 1, 26)),
    ):
        simulation = begin(monthly(24, date(2027, 1, 22), **moved))
        simulation.pass_by(timedelta(days=5))
        simulation.reschedule(again)
        first, second, *_ = simulation.coming()
        assert first.day == date(2027, 2, 4)
        assert (second.day.month, second.day.day) == (2, again.recurrence.month_days[0])  # type: ignore[union-attr]


def test_a_cycle_moved_back_follows_a_blackout_that_ends_on_another_day() -> None:
    def closed_until(day: int) -> Schedule:
        closed = DateRange(date(2027, 1, 22), date(2027, 2, day))
        return monthly(
            24,
            date(2027, 1, 22),
            blackouts=(closed,),
            blackout_rule=BlackoutRule.MOVE_TO_NEXT_ALLOWED,
        )

    for day in (1, 2, 8):
        simulation = begin(closed_until(3))
        simulation.pass_by(timedelta(days=5))
        simulation.reschedule(closed_until(day))
        dates = [cycle_date.day for cycle_date in simulation.coming()]
        assert dates[:2] == [date(2027, 2, day + 1), date(2027, 2, 24)]


def test_a_cycle_that_its_customer_moved_past_its_date_is_not_lost() -> None:
    simulation = begin(monthly(24, date(2027, 1, 24)))
    simulation.move(7)
    simulation.pass_by(timedelta(days=6))
    simulation.reschedule(monthly(24, date(2027, 1, 24), local_time=time(10)))
    assert [cycle_date.day for cycle_date in simulation.coming()][:2] == [
        date(2027, 1, 31),
        date(2027, 2, 24),
    ]


def test_a_cycle_that_business_days_would_move_into_the_past_is_not_lost() -> None:
    # 31 January 2027 is a Sunday; on the Saturday the Friday before is over.
    simulation = begin(monthly(31, date(2027, 1, 20)))
    simulation.now = datetime(2027, 1, 30, 12, tzinfo=UTC)
    before = BusinessDays(BusinessDayRule.PREVIOUS)
    simulation.reschedule(monthly(31, date(2027, 1, 20), business_days=before))
    assert [cycle_date.day for cycle_date in simulation.coming()][:2] == [
        date(2027, 1, 31),
        date(2027, 2, 26),
    ]


def test_a_longer_count_goes_on_after_the_last_order() -> None:
    simulation = begin(monthly(24, date(2027, 1, 24), end=EndAfter(1)))
    simulation.pass_by(timedelta(days=10))
    assert simulation.standing_order.next_cycle is None
    simulation.reschedule(monthly(24, date(2027, 1, 24), end=EndAfter(3)))
    assert [cycle_date.day for cycle_date in simulation.coming()] == [
        date(2027, 2, 24),
        date(2027, 3, 24),
    ]


def test_a_count_that_is_reached_already_leaves_nothing() -> None:
    simulation = begin(Schedule(date(2027, 1, 21), time(9), BERLIN, Daily()))
    simulation.pass_by(timedelta(days=5))
    simulation.reschedule(Schedule(date(2027, 1, 21), time(9), BERLIN, Daily(2), EndAfter(3)))
    assert simulation.standing_order.next_cycle is None
    assert simulation.standing_order.plan.end == EndAfter(3)


def test_a_schedule_of_a_plan_stays_sound() -> None:
    schedule = Schedule(date(2027, 1, 21), time(9), BERLIN, Yearly(), EndAfter(60))
    assert violations(schedule, None) == ()
    simulation = begin(schedule)
    assert (
        resumed(paused(simulation.standing_order, None, None), simulation.now).standing_order
        == simulation.standing_order
    )
