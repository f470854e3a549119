"""What holds for every schedule."""

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.scheduler.domain.calendar import (
    CycleDate,
    cycle,
    cycle_count,
    first_index_on_or_after,
    local_to_utc,
    nominal_date,
)
from services.scheduler.domain.schedule import (
    LAST_DATE,
    BlackoutRule,
    BusinessDayRule,
    EndAfter,
    EndOn,
    Monthly,
    Recurrence,
    Schedule,
    Weekday,
    Weekly,
    Yearly,
)
from services.scheduler.domain.validation import violations
from tests.unit.scheduler.strategies import ZONES, adjusted, cycles, endless, is_a_date_of, plain

# How far a property looks. Collisions show within weeks; a walk has to end somewhere.
LOOKED_AT_CYCLES = 40
LOOKED_AT_DAYS = 1500
# What finding a cycle may cost more for one place in the calendar than for another.
STEPS_APART = 10

indexes = st.integers(0, 45_000)
days = st.dates(date(2000, 1, 1), LAST_DATE)


@given(endless, st.floats(0, 1))
def test_a_cycle_far_ahead_is_found_in_as_many_steps_as_one_that_is_near(
    schedule: Schedule, share: float
) -> None:
    last = cycle_count(schedule) - 1
    assume(last >= 0)
    # The pattern of a schedule is worked out once.
    near = _calls(lambda: cycle(schedule, min(3, last)))
    far = _calls(lambda: cycle(schedule, int(last * share)))
    assert far <= near + STEPS_APART


@given(plain())
def test_the_dates_are_those_that_a_walk_over_the_days_finds(schedule: Schedule) -> None:
    horizon = min(schedule.start_date + timedelta(LOOKED_AT_DAYS), LAST_DATE)
    if isinstance(schedule.end, EndOn):
        horizon = min(horizon, schedule.end.end_date)
    walked = [
        day for day in _days_between(schedule.start_date, horizon) if is_a_date_of(schedule, day)
    ]
    if isinstance(schedule.end, EndAfter):
        walked = walked[: schedule.end.cycle_count]
    dates = [nominal_date(schedule, index) for index in range(len(walked))]
    beyond = nominal_date(schedule, len(walked))
    assert (dates, beyond is None or beyond > horizon) == (walked, True)


@given(endless, st.data())
def test_a_date_far_ahead_is_the_one_that_a_walk_to_it_would_reach(
    schedule: Schedule, data: st.DataObject
) -> None:
    count = cycle_count(schedule)
    if count < 2:
        return
    index = data.draw(st.integers(0, count - 2))
    here, following = nominal_date(schedule, index), nominal_date(schedule, index + 1)
    assert here is not None
    assert following is not None
    between = islice(_days_between(here, following), LOOKED_AT_DAYS)
    expected = [day for day in between if is_a_date_of(schedule, day)]
    reached = [here, following] if following - here < timedelta(LOOKED_AT_DAYS) else [here]
    assert expected == reached


@given(endless)
def test_the_last_cycle_is_the_last_date_that_the_calendar_has(schedule: Schedule) -> None:
    count = cycle_count(schedule)
    last = nominal_date(schedule, count - 1) if count else None
    after = (last or schedule.start_date - timedelta(1)) + timedelta(1)
    assert not any(is_a_date_of(schedule, day) for day in _days_between(after, LAST_DATE))


@given(plain(), indexes)
def test_the_first_index_on_or_after_is_the_inverse_of_the_date(
    schedule: Schedule, index: int
) -> None:
    day = nominal_date(schedule, index)
    assert day is None or first_index_on_or_after(schedule, day) == index


@given(plain(), days)
def test_nothing_lies_between_a_day_and_the_first_cycle_on_or_after_it(
    schedule: Schedule, day: date
) -> None:
    index = first_index_on_or_after(schedule, day)
    before = (cycle_count(schedule) if index is None else index) - 1
    here = None if index is None else nominal_date(schedule, index)
    previous = nominal_date(schedule, before) if before >= 0 else None
    assert (here is None or here >= day, previous is None or previous < day) == (True, True)


@given(plain(), indexes)
def test_a_count_or_an_end_never_changes_a_date(schedule: Schedule, index: int) -> None:
    day = nominal_date(schedule, index)
    assert day in (None, nominal_date(replace(schedule, end=None), index))


@given(endless, st.integers(1, 60))
def test_a_count_is_exact(schedule: Schedule, count: int) -> None:
    ended = replace(schedule, end=EndAfter(count))
    assert len(cycles(ended, 0, count + 5)) == min(count, cycle_count(schedule))


@given(endless, st.integers(1, 31))
def test_the_month_end_anchor_never_drifts(schedule: Schedule, day: int) -> None:
    monthly = replace(schedule, recurrence=Monthly(month_days=(day,)))
    dates = (cycle.nominal_date for cycle in cycles(monthly, 500, LOOKED_AT_CYCLES))
    assert all(
        date_.day == day or (date_.day < day and (date_ + timedelta(1)).day == 1) for date_ in dates
    )


@given(endless)
def test_a_yearly_order_stays_in_its_month(schedule: Schedule) -> None:
    yearly = replace(schedule, recurrence=Yearly())
    cycle_dates = cycles(yearly, 0, LOOKED_AT_CYCLES)
    assert {cycle_date.nominal_date.month for cycle_date in cycle_dates} <= {
        schedule.start_date.month
    }


@given(adjusted())
def test_local_dates_strictly_increase(schedule: Schedule) -> None:
    taken = _local_dates(cycles(schedule, 0, LOOKED_AT_CYCLES))
    assert all(earlier < later for earlier, later in pairwise(taken))


@given(adjusted())
def test_due_times_strictly_increase(schedule: Schedule) -> None:
    cycle_dates = cycles(schedule, 0, LOOKED_AT_CYCLES)
    assert all(earlier.due_at < later.due_at for earlier, later in pairwise(cycle_dates))


@given(adjusted())
def test_no_cycle_leaves_the_span_from_start_to_end(schedule: Schedule) -> None:
    last = schedule.end.end_date if isinstance(schedule.end, EndOn) else LAST_DATE
    taken = _local_dates(cycles(schedule, 0, LOOKED_AT_CYCLES))
    assert all(schedule.start_date <= day <= last for day in taken)


@given(adjusted())
def test_no_cycle_takes_place_in_a_blackout(schedule: Schedule) -> None:
    taken = _local_dates(cycles(schedule, 0, LOOKED_AT_CYCLES))
    assert not [day for day in taken if any(day in blackout for blackout in schedule.blackouts)]


@given(adjusted())
def test_a_cycle_has_either_a_date_or_a_reason(schedule: Schedule) -> None:
    cycle_dates = cycles(schedule, 0, LOOKED_AT_CYCLES)
    assert all(
        (cycle_date.local_date is None) == (cycle_date.skip_reason is not None)
        for cycle_date in cycle_dates
    )


@given(adjusted())
def test_a_cycle_that_is_not_on_its_nominal_date_says_why(schedule: Schedule) -> None:
    taken = [cycle for cycle in cycles(schedule, 0, LOOKED_AT_CYCLES) if cycle.local_date]
    assert all(
        (cycle_date.local_date != cycle_date.nominal_date) == bool(cycle_date.move_reason)
        for cycle_date in taken
    )


@given(adjusted())
def test_without_rules_every_cycle_is_on_its_nominal_date(schedule: Schedule) -> None:
    free = replace(
        schedule,
        blackouts=(),
        business_days=replace(schedule.business_days, rule=BusinessDayRule.NONE),
    )
    assert all(
        cycle.local_date == cycle.nominal_date for cycle in cycles(free, 0, LOOKED_AT_CYCLES)
    )


@given(adjusted(), st.integers(0, LOOKED_AT_CYCLES))
def test_splitting_a_run_anywhere_changes_nothing(schedule: Schedule, split: int) -> None:
    whole = cycles(schedule, 0, LOOKED_AT_CYCLES)
    parts = cycles(schedule, 0, split) + cycles(schedule, split, LOOKED_AT_CYCLES - split)
    assert parts == whole


@given(adjusted(), indexes)
def test_a_cycle_found_alone_is_the_one_found_in_a_run(schedule: Schedule, index: int) -> None:
    alone = cycle(schedule, index)
    assert cycles(schedule, index, 1) == (() if alone is None else (alone,))


@given(adjusted())
@settings(max_examples=200)
def test_a_schedule_is_refused_if_and_only_if_it_never_fires(schedule: Schedule) -> None:
    cycle_dates = (cycle(schedule, index) for index in range(cycle_count(schedule)))
    fires = any(cycle_date is not None and cycle_date.local_date for cycle_date in cycle_dates)
    reasons = {violation.reason for violation in violations(schedule, None)}
    # A count that the calendar has no room for is refused before that is asked.
    assume("OUT_OF_RANGE" not in reasons)
    never = "NEVER_FIRES" in reasons
    assert fires != never


@given(adjusted())
def test_a_later_start_on_a_date_of_the_rule_changes_no_later_date(schedule: Schedule) -> None:
    """What a change of schedule relies on: started again at a date of its own, it goes on alike."""
    explicit = replace(schedule, end=None, recurrence=_explicit(schedule))
    again_from = nominal_date(explicit, 5)
    if again_from is None:
        return
    restarted = replace(explicit, start_date=again_from)
    expected = [cycle.nominal_date for cycle in cycles(explicit, 5, LOOKED_AT_CYCLES)]
    assert [cycle.nominal_date for cycle in cycles(restarted, 0, LOOKED_AT_CYCLES)] == expected


@given(endless, st.sampled_from(ZONES), st.integers(0, 3000))
def test_a_change_of_zone_changes_no_date(schedule: Schedule, zone: str, index: int) -> None:
    elsewhere = cycle(replace(schedule, time_zone=zone), index)
    here = cycle(schedule, index)
    assert (here and here.local_date) == (elsewhere and elsewhere.local_date)


@given(days, st.times(), st.sampled_from(ZONES))
def test_the_wall_shows_the_local_time_unless_a_clock_change_skips_it(
    day: date, local_time: time, zone: str
) -> None:
    wall = local_to_utc(day, local_time, zone).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    skipped = wall - datetime.combine(day, local_time)
    # Half an hour on Lord Howe, an hour elsewhere, and once a whole day, when Samoa crossed the
    # date line.
    assert skipped in (timedelta(0), timedelta(minutes=30), timedelta(hours=1), timedelta(days=1))


@given(adjusted())
def test_the_blackout_rule_only_matters_in_blackouts(schedule: Schedule) -> None:
    free = replace(schedule, blackouts=())
    skipping = replace(free, blackout_rule=BlackoutRule.SKIP)
    moving = replace(free, blackout_rule=BlackoutRule.MOVE_TO_NEXT_ALLOWED)
    assert cycles(skipping, 0, LOOKED_AT_CYCLES) == cycles(moving, 0, LOOKED_AT_CYCLES)


def test_a_negative_index_is_a_mistake_of_the_caller() -> None:
    schedule = Schedule(date(2025, 1, 31), time(9), "Europe/Berlin", Monthly())
    with pytest.raises(ValueError, match="not negative"):
        cycle(schedule, -1)


def _days_between(first: date, last: date) -> list[date]:
    return [date.fromordinal(day) for day in range(first.toordinal(), last.toordinal() + 1)]


def _local_dates(cycle_dates: tuple[CycleDate, ...]) -> list[date]:
    return [
        cycle_date.local_date for cycle_date in cycle_dates if cycle_date.local_date is not None
    ]


def _explicit(schedule: Schedule) -> Recurrence:
    """The recurrence with nothing left to the start date but the phase."""
    start = schedule.start_date
    match schedule.recurrence:
        case Weekly(every, ()):
            return Weekly(every, (Weekday(start.isoweekday()),))
        case Monthly(every, (), ()):
            return Monthly(every, (start.day,))
        case Yearly(every, month, month_day):
            return Yearly(every, month or start.month, month_day or start.day)
        case recurrence:
            return recurrence


def _calls(action: Callable[[], object]) -> int:
    """How many functions an action calls, itself included: a measure that no other load changes."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count
