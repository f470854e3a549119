"""Slots of services: who gets which day."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.catalog.domain.bookings import (
    BookedDay,
    Booking,
    BookingRequest,
    Capacity,
    SlotDate,
    allocate,
    over_booked,
    to_book,
)
from services.catalog.domain.products import Item, MerchantId, ProductId, ProductKey, SlotKey
from services.catalog.domain.transitions import HoldState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
# A Monday.
FIRST = date(2026, 3, 2)
VISIT = ProductKey(MerchantId("acme"), ProductId("visit"))
VAN = ProductKey(MerchantId("acme"), ProductId("van"))


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def at(number: int) -> SlotDate:
    return SlotDate(day(number), NOW + timedelta(days=number))


def capacity(
    key: ProductKey = VISIT, slots: int = 1, exceptions: dict[date, int] | None = None
) -> Capacity:
    given = exceptions or {}
    return Capacity(*key, (slots,) * 7, tuple(given), tuple(given.values()))


def request(
    order: str = "a", days: tuple[int, ...] = (0,), items: tuple[Item, ...] = (), count: int = 0
) -> BookingRequest:
    wanted = items or (Item(VISIT, 1),)
    return BookingRequest(order, count, wanted, tuple(map(at, days)), NOW)


def booking(state: HoldState, number: int = 0, count: int = 0) -> Booking:
    return Booking("a", count, state, (Item(VISIT, 1),), at(number), NOW)


def test_a_date_has_its_exception_or_else_what_its_weekday_has() -> None:
    found = Capacity(*VISIT, (5, 4, 3, 2, 1, 0, 0), (day(1),), (9,))
    assert [found.slots_on(day(number)) for number in range(8)] == [5, 9, 3, 2, 1, 0, 0, 5]


def test_an_order_gets_the_first_of_its_dates_that_is_free() -> None:
    services = {VISIT: capacity()}
    granted, short = allocate([request(days=(0, 1, -1))], services, {SlotKey(*VISIT, day(0)): 1})
    assert [entry.date.day for entry in granted] == [day(1)]
    assert not short


def test_all_services_of_an_order_are_on_one_day() -> None:
    services = {VISIT: capacity(), VAN: capacity(VAN)}
    booked = {SlotKey(*VISIT, day(0)): 1, SlotKey(*VAN, day(1)): 1}
    wanted = request(days=(0, 1, 2), items=(Item(VISIT, 1), Item(VAN, 1)))
    granted, _ = allocate([wanted], services, booked)
    assert [entry.date.day for entry in granted] == [day(2)]


def test_an_order_without_a_free_date_hears_what_its_first_date_lacks() -> None:
    services = {VISIT: capacity(slots=2)}
    _, short = allocate([request(items=(Item(VISIT, 3),))], services, {})
    [fault] = short["a"]
    assert (fault.fault, fault.available_units) == ("NO_SLOT", 2)


requests = st.lists(
    st.builds(
        request,
        st.sampled_from(["a", "b", "c", "d", "e", "f"]),
        st.lists(st.integers(0, 4), min_size=1, max_size=4, unique=True).map(tuple),
        st.integers(1, 3).map(lambda quantity: (Item(VISIT, quantity),)),
    ),
    max_size=6,
    unique_by=lambda wanted: wanted.order,
)
capacities = st.dictionaries(st.integers(0, 4).map(day), st.integers(0, 4))


@given(requests, capacities)
def test_no_day_is_ever_over_booked(wanted: list[BookingRequest], slots: dict[date, int]) -> None:
    service = capacity(slots=0, exceptions=slots)
    granted, short = allocate(wanted, {VISIT: service}, {})
    taken: Counter[date] = Counter()
    for entry in granted:
        taken[entry.date.day] += entry.request.items[0].quantity
    assert all(booked <= service.slots_on(on) for on, booked in taken.items())
    assert {entry.request.order for entry in granted} | set(short) == {w.order for w in wanted}


@given(requests, capacities)
def test_nobody_is_refused_or_moved_while_an_earlier_date_of_theirs_is_free(
    wanted: list[BookingRequest], slots: dict[date, int]
) -> None:
    service = capacity(slots=0, exceptions=slots)
    granted, _ = allocate(wanted, {VISIT: service}, {})
    got = {entry.request.order: entry.date.day for entry in granted}
    taken: Counter[date] = Counter()
    for one in wanted:
        quantity = one.items[0].quantity
        free = [
            date.day
            for date in one.dates
            if service.slots_on(date.day) - taken[date.day] >= quantity
        ]
        assert got.get(one.order) == (free[0] if free else None)
        if free:
            taken[free[0]] += quantity


def test_an_order_keeps_its_slot_on_any_of_the_dates_that_will_do() -> None:
    known = {"a": booking(HoldState.HELD, 1)}
    assert to_book([request(days=(0, 1))], known) == ([], [])


def test_an_order_whose_day_will_not_do_any_more_gives_it_up_for_another() -> None:
    wanted = request(days=(2,), count=1)
    assert to_book([wanted], {"a": booking(HoldState.HELD)}) == ([wanted], ["a"])


def test_an_order_without_a_service_any_more_gives_its_slot_up_for_nothing() -> None:
    wanted = request()._replace(items=())
    assert to_book([wanted], {"a": booking(HoldState.HELD)}) == ([], ["a"])
    assert to_book([wanted], {}) == ([], [])


def test_what_an_earlier_announcement_asked_for_takes_no_slot_from_a_later_one() -> None:
    known = {"a": booking(HoldState.HELD, 1, count=2)}
    assert to_book([request(days=(0,), count=1)], known) == ([], [])


def test_an_order_that_ended_books_nothing_until_it_is_wanted_again() -> None:
    known = {"a": booking(HoldState.ENDED, count=1)}
    assert to_book([request(count=1)], known) == ([], [])
    again = request(count=2)
    assert to_book([again], known) == ([again], [])


def test_a_paid_order_keeps_its_day() -> None:
    assert to_book([request(days=(3,), count=9)], {"a": booking(HoldState.COMMITTED)}) == ([], [])


def test_a_day_is_over_booked_that_has_more_booked_than_it_would_have() -> None:
    full = BookedDay(*VISIT, day(0), 5, 3, 0)
    assert over_booked(capacity(slots=3), [full]) == []
    assert over_booked(capacity(slots=2), [full]) == [full]
