"""How far stock reaches: what it can serve it serves, and never more than there is by then."""

from datetime import UTC, date, datetime, time, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.domain.coverage import CycleDemand, Supply, coverage
from services.scheduler.domain.ids import MerchantId, OrderKey, StandingOrderId

TODAY = date(2026, 1, 10)
LAST = TODAY + timedelta(days=20)

days = st.integers(-3, 20).map(lambda number: TODAY + timedelta(days=number))
supplies = st.builds(
    Supply,
    st.just("Tea"),
    st.integers(0, 20),
    st.lists(st.tuples(days, st.integers(1, 10)), max_size=5),
    days=st.none(),
)


def demand(number: int, day: date, units: int) -> CycleDemand:
    key = OrderKey(MerchantId("acme"), StandingOrderId("weekly"), number)
    return CycleDemand(datetime.combine(day, time(12), UTC), key, day, units)


wishes = st.lists(st.tuples(days, st.integers(1, 8)), max_size=12).map(
    lambda given: [demand(number, *wish) for number, wish in enumerate(given, 1)]
)


@given(supply=supplies, wanted=wishes)
def test_what_is_served_by_a_day_never_exceeds_what_there_is_by_then(
    supply: Supply, wanted: list[CycleDemand]
) -> None:
    found = coverage(supply, wanted, TODAY, LAST)
    served = [each for each in wanted if each not in found.short]
    for day in {TODAY, *(each.local_date for each in wanted)}:
        by_then = max(day, TODAY)
        there = supply.available_units + sum(
            units for arrives, units in supply.deliveries if TODAY <= arrives <= by_then
        )
        assert sum(each.units for each in served if each.local_date <= by_then) <= there
    assert found.demand_units == sum(each.units for each in wanted)


@given(supply=supplies, wanted=wishes)
def test_a_cycle_is_short_only_where_what_is_left_is_too_little(
    supply: Supply, wanted: list[CycleDemand]
) -> None:
    found = coverage(supply, wanted, TODAY, LAST)
    for late in found.short:
        day = max(late.local_date, TODAY)
        there = supply.available_units + sum(
            units for arrives, units in supply.deliveries if TODAY <= arrives <= day
        )
        before = sum(e.units for e in wanted if e < late and e not in found.short)
        assert there - before < late.units


def test_a_delivery_serves_from_its_day_on_and_one_that_is_overdue_serves_nobody() -> None:
    wanted = [demand(1, TODAY, 2), demand(2, TODAY + timedelta(days=5), 2)]
    coming = [(TODAY - timedelta(days=1), 9), (TODAY + timedelta(days=5), 2)]
    found = coverage(Supply("Tea", 1, coming), wanted, TODAY, LAST)
    assert ([late.key.cycle for late in found.short], found.expected_units) == ([1], 2)


@given(
    slots=st.dictionaries(days.filter(lambda day: day >= TODAY), st.integers(0, 10)), wanted=wishes
)
def test_a_day_of_a_service_never_serves_more_than_its_slots_and_nothing_else_is_short(
    slots: dict[date, int], wanted: list[CycleDemand]
) -> None:
    found = coverage(Supply("Visit", 0, [], days=slots), wanted, TODAY, LAST)
    short = {each.key for each in found.short}
    coming = [each for each in sorted(wanted) if each.local_date in slots]
    assert found.demand_units == sum(each.units for each in coming)
    assert found.supply.available_units == sum(slots.values())
    left = dict(slots)
    for each in coming:
        assert (each.key in short) == (each.units > left[each.local_date])
        if each.key not in short:
            left[each.local_date] -= each.units


def test_a_free_slot_of_another_day_serves_nobody() -> None:
    tomorrow = TODAY + timedelta(days=1)
    wanted = [demand(1, TODAY, 1), demand(2, TODAY, 1)]
    found = coverage(Supply("Visit", 0, [], days={TODAY: 1, tomorrow: 5}), wanted, TODAY, LAST)
    assert [each.key.cycle for each in found.short] == [2]
