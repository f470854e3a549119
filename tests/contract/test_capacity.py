"""Services, whose stock is slots by day, as merchants and the scheduler see them."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from recurring.catalog.v1 import catalog_pb2 as pb

from services.runtime.rpc.conversions import to_date, to_timestamp
from tests.contract.customer import add_product
from tests.contract.every_call import FAR
from tests.suite import Client, Suite, new_id, refused

MONDAY = date(2095, 3, 7)
SATURDAY = MONDAY + timedelta(days=5)
CLOSED = [0] * 7


@pytest.fixture
async def shop(suite: Suite) -> Client:
    """A merchant whose cleaners come five times each day of a week, but not at its end."""
    shop = suite.client()
    await add_product(shop, "visit", 2500, capacity_by_day=True)
    await change(shop)
    return shop


def capacity_of(shop: Client, product: str = "visit") -> str:
    return f"{shop.name}/products/{product}/capacity"


def exception(day: date, slots: int) -> pb.CapacityException:
    return pb.CapacityException(date=to_date(day), slots=slots)


async def change(
    shop: Client,
    weekday_slots: Sequence[int] = (5, 5, 5, 5, 5, 0, 0),
    *exceptions: pb.CapacityException,
    product: str = "visit",
) -> pb.Capacity:
    capacity = pb.Capacity(
        name=capacity_of(shop, product), weekday_slots=weekday_slots, exceptions=exceptions
    )
    request = pb.UpdateCapacityRequest(capacity=capacity, request_id=new_id())
    changed: pb.Capacity = await shop.catalog.UpdateCapacity(request)
    return changed


def wanted(shop: Client, cycle: int, *days: date, visits: int = 1) -> pb.SlotRequest:
    return pb.SlotRequest(
        order=f"{shop.name}/standingOrders/weekly/orders/{cycle}",
        items=[pb.Item(product=f"{shop.name}/products/visit", quantity=visits)],
        dates=[pb.SlotDate(date=to_date(day), due_time=to_timestamp(FAR)) for day in days],
        expire_time=to_timestamp(FAR),
    )


async def book(suite: Suite, *entries: pb.SlotRequest) -> list[pb.SlotResult]:
    request = pb.BatchBookSlotsRequest(entries=entries)
    return list((await suite.suite_client().catalog.BatchBookSlots(request)).results)


async def test_the_capacity_of_a_service_is_shown_as_it_was_set(shop: Client) -> None:
    holiday = exception(MONDAY, 0)
    changed = await change(shop, [5, 5, 5, 5, 5, 1, 0], holiday)
    assert changed == await shop.catalog.GetCapacity(pb.GetCapacityRequest(name=changed.name))
    assert list(changed.weekday_slots) == [5, 5, 5, 5, 5, 1, 0]
    assert list(changed.exceptions) == [holiday]


async def test_the_calendar_shows_what_is_booked_and_free_and_for_whom(
    suite: Suite, shop: Client
) -> None:
    entry = wanted(shop, 1, MONDAY, visits=2)
    [booked] = await book(suite, entry)
    assert booked.date == to_date(MONDAY)
    request = pb.GetCapacityCalendarRequest(
        name=capacity_of(shop), start_date=to_date(MONDAY), end_date=to_date(SATURDAY)
    )
    days = (await shop.catalog.GetCapacityCalendar(request)).days
    assert [day.free_slots for day in days] == [3, 5, 5, 5, 5, 0]
    assert (days[0].slots, days[0].booked_slots, days[0].committed_slots) == (5, 2, 0)
    assert list(days[0].orders) == [entry.order]


async def test_the_calendar_is_of_a_month_from_today_unless_it_says_otherwise(
    shop: Client,
) -> None:
    request = pb.GetCapacityCalendarRequest(name=capacity_of(shop))
    assert len((await shop.catalog.GetCapacityCalendar(request)).days) == 31


async def test_an_order_gets_its_first_free_date_or_hears_that_there_is_none(
    suite: Suite, shop: Client
) -> None:
    first, moved, none = await book(
        suite,
        wanted(shop, 1, MONDAY, visits=5),
        wanted(shop, 2, MONDAY, MONDAY + timedelta(days=1)),
        wanted(shop, 3, SATURDAY, MONDAY),
    )
    assert (first.date, moved.date) == (to_date(MONDAY), to_date(MONDAY + timedelta(days=1)))
    assert not none.HasField("date")
    [problem] = none.problems
    assert (problem.reason, problem.available_units) == (pb.ItemProblem.NO_SLOT, 0)


async def test_capacity_below_what_is_booked_is_refused_with_the_days(
    suite: Suite, shop: Client
) -> None:
    await book(suite, wanted(shop, 1, MONDAY, visits=3))
    refusal = await refused(change(shop, CLOSED))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "CAPACITY_BELOW_BOOKED")
    assert str(MONDAY) in refusal.message
    await change(shop, CLOSED, exception(MONDAY, 3))


@pytest.mark.parametrize(
    ("field", "weekday_slots", "exceptions"),
    [
        ("capacity.weekday_slots", [5] * 6, []),
        ("capacity.weekday_slots[2]", [5, 5, -1, 5, 5, 5, 5], []),
        ("capacity.weekday_slots[0]", [100_001, 5, 5, 5, 5, 5, 5], []),
        ("capacity.exceptions[0].slots", CLOSED, [exception(MONDAY, -1)]),
        ("capacity.exceptions[0].date", CLOSED, [pb.CapacityException(slots=1)]),
        (
            "capacity.exceptions",
            CLOSED,
            [exception(MONDAY + timedelta(days=number), 1) for number in range(401)],
        ),
    ],
)
async def test_capacity_that_cannot_be_is_refused_by_its_field(
    shop: Client,
    field: str,
    weekday_slots: list[int],
    exceptions: list[pb.CapacityException],
) -> None:
    refusal = await refused(change(shop, weekday_slots, *exceptions))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert list(refusal.fields) == [field]


async def test_a_date_is_an_exception_once(shop: Client) -> None:
    twice = [exception(MONDAY, 1), exception(MONDAY, 2)]
    refusal = await refused(change(shop, CLOSED, *twice))
    assert refusal.fields == {"capacity.exceptions[1].date": "DATE_TWICE"}


async def test_a_product_has_capacity_by_day_or_it_has_none(shop: Client) -> None:
    await add_product(shop, "tea", 450)
    name = capacity_of(shop, "tea")
    for call in (
        shop.catalog.GetCapacity(pb.GetCapacityRequest(name=name)),
        change(shop, CLOSED, product="tea"),
        shop.catalog.GetCapacityCalendar(pb.GetCapacityCalendarRequest(name=name)),
    ):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "CAPACITY_NOT_TRACKED")


async def test_a_service_has_no_units(shop: Client) -> None:
    refusal = await refused(add_product(shop, "van", stock_tracked=True, capacity_by_day=True))
    assert list(refusal.fields) == ["product.capacity_by_day"]
    request = pb.AdjustStockRequest(
        product=f"{shop.name}/products/visit", delta_units=1, request_id=new_id()
    )
    assert (await refused(shop.catalog.AdjustStock(request))).reason == "STOCK_NOT_TRACKED"


async def test_a_bundle_has_no_service_in_it(shop: Client) -> None:
    part = pb.Item(product=f"{shop.name}/products/visit", quantity=1)
    refusal = await refused(add_product(shop, "box", bundle_parts=[part]))
    assert refusal.fields == {"product.bundle_parts[0].product": "BUNDLE_PART_BY_DAY"}


@pytest.mark.parametrize(("first", "days"), [(MONDAY, -1), (MONDAY, 93)])
async def test_a_calendar_has_its_limits(shop: Client, first: date, days: int) -> None:
    request = pb.GetCapacityCalendarRequest(
        name=capacity_of(shop),
        start_date=to_date(first),
        end_date=to_date(first + timedelta(days=days)),
    )
    refusal = await refused(shop.catalog.GetCapacityCalendar(request))
    assert list(refusal.fields) == ["end_date"]


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("entries[0].order", {"order": "weekly"}),
        ("entries[0].items", {"items": []}),
        ("entries[0].dates", {"dates": []}),
        ("entries[0].announcement_count", {"announcement_count": -1}),
        ("entries[0].expire_time", {"expire_time": None}),
        ("entries[0].dates[0].date", {"dates": [pb.SlotDate(due_time=to_timestamp(FAR))]}),
        ("entries[0].dates[0].due_time", {"dates": [pb.SlotDate(date=to_date(MONDAY))]}),
    ],
)
async def test_a_bad_request_for_slots_is_refused_by_its_field(
    suite: Suite, shop: Client, field: str, fields: dict[str, Any]
) -> None:
    good = wanted(shop, 1, MONDAY)
    parts = {part.name: value for part, value in good.ListFields()}
    entry = pb.SlotRequest(**{**parts, **fields})
    refusal = await refused(book(suite, entry))
    assert list(refusal.fields) == [field]
