"""Services: a cycle has a slot on its day, is moved to a free one, or is held and its customer told."""

from datetime import date, timedelta
from typing import Any

from google.protobuf.json_format import MessageToDict
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import from_timestamp, to_date
from tests.contract.scheduler.shop import Shop, day_of
from tests.suite import new_id, refused

DAY = timedelta(days=1)
# A standing order's first cycle is due in this; its customers hear of it a day before.
DUE = 3 * DAY
ANNOUNCED, AFTER_DUE, AFTER_HOLD = 2.2 * DAY, 3.2 * DAY, 7 * DAY


async def serve(shop: Shop, slots: int = 1) -> None:
    """Sell visits, so many a day."""
    await shop.sell("visit", 2500, capacity_by_day=True)
    await set_capacity(shop, slots)


async def set_capacity(shop: Shop, slots: int, exceptions: dict[date, int] | None = None) -> None:
    capacity = catalog_pb2.Capacity(
        name=f"{shop.product('visit')}/capacity",
        weekday_slots=[slots] * 7,
        exceptions=[
            catalog_pb2.CapacityException(date=to_date(day), slots=slots)
            for day, slots in (exceptions or {}).items()
        ],
    )
    await shop.client.catalog.UpdateCapacity(
        catalog_pb2.UpdateCapacityRequest(capacity=capacity, request_id=new_id())
    )


async def days(shop: Shop) -> dict[date, tuple[int, int]]:
    """By day with bookings, how many slots are booked, and how many of them are used."""
    request = catalog_pb2.GetCapacityCalendarRequest(
        name=f"{shop.product('visit')}/capacity", start_date=to_date(await shop.today() - 7 * DAY)
    )
    calendar = await shop.client.catalog.GetCapacityCalendar(request)
    return {
        day_of(day.date): (day.booked_slots, day.committed_slots)
        for day in calendar.days
        if day.booked_slots
    }


async def book(shop: Shop, **fields: Any) -> pb.StandingOrder:  # noqa: ANN401
    """A standing order of Ada for a visit each week."""
    return await shop.create(
        await shop.due_in(DUE, every_days=7), items=[shop.item("visit")], **fields
    )


async def due_day(shop: Shop) -> date:
    return (await shop.now() + DUE).date()


async def texts(shop: Shop, kind: notify_pb2.NoticeKind.ValueType) -> list[str]:
    request = notify_pb2.ListNoticesRequest(parent=shop.customer("ada"), page_size=100)
    notices = (await shop.client.notify.ListNotices(request)).notices
    return [notice.deliveries[0].text for notice in notices if notice.kind == kind]


async def kinds(shop: Shop, order: pb.Order) -> list[str]:
    request = pb.ExplainOrderRequest(name=order.name)
    explanation = await shop.scheduler.ExplainOrder(request)
    return [decision.kind for decision in explanation.decisions]


async def test_a_slot_is_booked_when_the_order_is_announced_and_used_when_it_is_paid(
    shop: Shop,
) -> None:
    await serve(shop)
    day = await due_day(shop)
    mandate = await shop.add_card("ada")
    made = await book(shop, billing_mode=pb.AUTOMATIC, mandate=mandate)
    assert await days(shop) == {}
    await shop.suite.advance(ANNOUNCED)
    assert await days(shop) == {day: (1, 0)}
    await shop.suite.advance(AFTER_DUE - ANNOUNCED)
    assert await shop.outcomes(made.name) == [(1, "PAID", [])]
    assert await days(shop) == {day: (1, 1)}


async def test_the_slot_of_an_order_that_is_left_out_is_free_again_until_it_is_wanted_after_all(
    shop: Shop,
) -> None:
    await serve(shop)
    day = await due_day(shop)
    made = await book(shop)
    await shop.suite.advance(ANNOUNCED)
    await shop.skip(made.name, 1)
    await shop.suite.sandbox.settle()
    assert await days(shop) == {}
    await shop.restore(made.name, 1)
    await shop.suite.sandbox.settle()
    assert await days(shop) == {day: (1, 0)}


async def test_a_cycle_on_a_full_day_is_moved_in_its_window_and_the_customer_hears_both_dates(
    shop: Shop,
) -> None:
    await serve(shop)
    day = await due_day(shop)
    await set_capacity(shop, 1, {day: 0})
    made = await book(shop, slot_days_after=2)
    await shop.suite.advance(ANNOUNCED)
    order = await shop.order(made.name)
    assert (day_of(order.local_date), day_of(order.moved_from_date)) == (day + DAY, day)
    assert order.state == pb.Order.UPCOMING
    assert await days(shop) == {day + DAY: (1, 0)}
    [text] = [text for text in await texts(shop, notify_pb2.ORDER_UPCOMING) if "moved" in text]
    assert f"{day + DAY:%a} {(day + DAY).day} {day + DAY:%b}" in text
    assert f"moved from {day:%a} {day.day} {day:%b}, which is full" in text
    assert (await kinds(shop, order))[:2] == ["MOVED", "PREPARED"]


async def test_a_cycle_is_moved_to_an_earlier_day_where_that_is_the_nearest(shop: Shop) -> None:
    await serve(shop)
    day = await due_day(shop)
    await set_capacity(shop, 0, {day - DAY: 1})
    made = await book(shop, slot_days_before=1, slot_days_after=3)
    await shop.suite.advance(1.2 * DAY)
    order = await shop.order(made.name)
    assert (day_of(order.local_date), day_of(order.moved_from_date)) == (day - DAY, day)


async def test_a_preview_has_the_earlier_notice_of_a_cycle_that_may_be_moved_to_an_earlier_day(
    shop: Shop,
) -> None:
    await serve(shop)
    made = await book(shop, slot_days_before=1)
    [first] = await shop.preview(made.name, 1)
    before = from_timestamp(first.notice_time) - timedelta(minutes=1)
    await shop.suite.advance(before - await shop.now())
    assert await shop.outcomes(made.name) == []
    await shop.suite.advance(timedelta(minutes=2))
    assert await shop.outcomes(made.name) == [(1, "UPCOMING", [])]


async def test_a_cycle_without_a_slot_is_held_and_its_customer_told_until_one_is_free(
    shop: Shop,
) -> None:
    await serve(shop)
    both = [(await book(shop)).name for _ in range(2)]
    await shop.suite.advance(ANNOUNCED)
    outcomes = {name: await shop.outcomes(name) for name in both}
    first, held = sorted(both, key=lambda name: outcomes[name][0][1], reverse=True)
    assert outcomes == {first: [(1, "UPCOMING", [])], held: [(1, "HELD", ["NO_SLOT"])]}
    [text] = await texts(shop, notify_pb2.ORDER_HELD)
    assert "no slot is free on its day" in text
    await shop.skip(first, 1)
    # Long before it would be looked at again by itself.
    await shop.suite.advance(timedelta(minutes=10))
    assert await shop.outcomes(held) == [(1, "UPCOMING", [])]


async def test_a_cycle_that_never_gets_a_slot_lapses_uncharged(shop: Shop) -> None:
    await serve(shop, 0)
    made = await book(shop)
    await shop.suite.advance(AFTER_HOLD)
    assert (await shop.outcomes(made.name))[0] == (1, "LAPSED", ["NO_SLOT", "HOLD_EXPIRED"])
    assert await days(shop) == {}


async def test_more_capacity_serves_who_waits_for_a_slot(shop: Shop) -> None:
    await serve(shop, 0)
    made = await book(shop)
    await shop.suite.advance(ANNOUNCED)
    await set_capacity(shop, 1)
    await shop.suite.advance(timedelta(minutes=10))
    assert await shop.outcomes(made.name) == [(1, "UPCOMING", [])]


async def test_a_slot_that_was_released_by_hand_is_booked_again_or_the_cycle_is_moved(
    shop: Shop,
) -> None:
    await serve(shop)
    day = await due_day(shop)
    made = await book(shop, slot_days_after=3)
    await shop.suite.advance(ANNOUNCED)
    order = f"{made.name}/orders/1"
    await shop.client.catalog.ReleaseStockHold(
        catalog_pb2.ReleaseStockHoldRequest(order=order, request_id=new_id())
    )
    await set_capacity(shop, 1, {day: 0})
    await shop.suite.advance(AFTER_DUE - ANNOUNCED)
    moved = await shop.order(made.name)
    assert (moved.state, day_of(moved.moved_from_date)) == (pb.Order.UPCOMING, day)
    assert list(await days(shop)) == [day_of(moved.local_date)]


async def test_a_standing_order_that_is_cancelled_while_its_cycle_is_prepared_keeps_no_slot(
    shop: Shop,
) -> None:
    await serve(shop)
    wanted = shop.wish(await shop.due_in(DUE))
    wanted.notice_lead.FromTimedelta(DUE)
    names = [f"{shop.name}/standingOrders/changed-{number}" for number in range(4)]
    for name in names:
        # Its cycle is due to be prepared at once, so slots may be booked before it is cancelled.
        await shop.scheduler.CreateStandingOrder(
            pb.CreateStandingOrderRequest(
                parent=shop.name,
                standing_order_id=name.rpartition("/")[2],
                standing_order=wanted,
                request_id=new_id(),
            )
        )
        await shop.scheduler.CancelStandingOrder(
            pb.CancelStandingOrderRequest(name=name, request_id=new_id())
        )
    await shop.suite.sandbox.settle()
    await shop.suite.advance(timedelta(hours=1))
    assert await days(shop) == {}


async def test_coverage_names_the_days_with_more_cycles_than_slots(shop: Shop) -> None:
    await serve(shop)
    day = await due_day(shop)
    for _ in range(2):
        await book(shop)
    await set_capacity(shop, 1, {day + 7 * DAY: 2})
    response = await shop.scheduler.GetStockCoverage(
        pb.GetStockCoverageRequest(parent=shop.name, end_date=to_date(day + 8 * DAY))
    )
    [short] = response.coverages
    assert short.product == shop.product("visit")
    assert (short.available_units, short.demand_units, short.short_units) == (13, 4, 1)
    assert (short.short_cycle_count, day_of(short.first_short_date)) == (1, day)


async def test_the_days_that_a_cycle_may_be_moved_are_shown_changed_and_bounded(
    shop: Shop,
) -> None:
    await serve(shop)
    made = await book(shop, slot_days_before=2)
    changed = await shop.update(
        made.name, ["slot_days_before", "slot_days_after"], slot_days_after=3
    )
    assert (changed.slot_days_before, changed.slot_days_after) == (0, 3)
    for field in ("slot_days_before", "slot_days_after"):
        for days_off in (-1, 15):
            refusal = await refused(book(shop, **{field: days_off}))
            assert refusal.fields == {f"standing_order.{field}": "FIELD_INVALID"}


async def test_an_explanation_says_why_an_order_has_no_slot(shop: Shop) -> None:
    await serve(shop, 0)
    made = await book(shop)
    await shop.suite.advance(ANNOUNCED)
    explanation = await shop.scheduler.ExplainOrder(
        pb.ExplainOrderRequest(name=f"{made.name}/orders/1")
    )
    held = next(one for one in explanation.decisions if one.kind == "HELD")
    assert held.summary == "This is in the way: a service has no free slot."
    assert MessageToDict(held.data)["reasons"] == ["NO_SLOT"]
