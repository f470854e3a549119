"""Services: slots are booked once an order, never more than a day has, and freed when it ends."""

import asyncio

import asyncpg
import pytest
from google.type import date_pb2
from recurring.catalog.v1 import catalog_pb2, events_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2

from services.catalog.application import bookings
from services.catalog.store import bookings as booking_store
from services.runtime.errors import Problem
from services.runtime.rpc.conversions import to_timestamp
from tests.integration.catalog.shop import Shop, day, item, name, order
from tests.integration.catalog.test_stock import ENDED, ENDED_IDS
from tests.locks import wait_for_locks

CALLERS = 64
NO_SLOT = ["visit: NO_SLOT"]
BEFORE_AND_AFTER = pytest.mark.parametrize("ran_out", [False, True], ids=["in time", "run out"])


async def run_out(shop: Shop) -> None:
    """Have the bookings run out that are kept until the first day."""
    shop.clock.move_to(day(1))
    assert (await shop.expire_bookings()).worked == 1


async def test_a_booked_day_has_a_slot_less(shop: Shop) -> None:
    await shop.serve(weekday=5)
    assert await shop.book(order(), 3) == 3
    assert await shop.slots(3) == (5, 1, 0)
    assert await shop.slots(4) == (5, 0, 0)


async def test_a_service_has_no_slots_before_its_capacity_is_set(shop: Shop) -> None:
    await shop.sell("visit", 100, capacity_by_day=True)
    assert await shop.book(order(), 3) == NO_SLOT


async def test_an_order_gets_the_first_of_its_dates_that_is_free(shop: Shop) -> None:
    await shop.serve()
    await shop.book(order("other"), 3)
    assert await shop.book(order(), 3, 4, 2) == 4


async def test_an_order_on_full_days_gets_nothing_and_hears_why(shop: Shop) -> None:
    await shop.serve()
    await shop.book(order("other"), 3)
    assert await shop.book(order(), 3) == NO_SLOT
    assert await shop.slots(3) == (1, 1, 0)


async def test_items_that_are_no_services_need_no_slot(shop: Shop) -> None:
    await shop.sell("tea", 100, units=1)
    await shop.serve()
    assert await shop.book(order(), 3, items=[item("tea")]) is None
    assert await shop.book(order("b"), 3, items=[item("tea"), item("visit")]) == 3


async def test_booking_twice_is_one_booking(shop: Shop) -> None:
    await shop.serve(weekday=2)
    assert [await shop.book(order(), 3) for _ in range(2)] == [3, 3]
    assert await shop.slots(3) == (2, 1, 0)
    booked = {"order": order(), "items": [{"product": name("visit"), "quantity": 1.0}]}
    [(who, method, after)] = await shop.changes(order())
    assert (who, method) == ("scheduler", "BatchBookSlots")
    assert after == {**booked, "date": "2026-01-04"}


async def test_the_slots_of_an_order_that_is_paid_already_are_used_once(shop: Shop) -> None:
    await shop.serve(weekday=5)
    for _ in range(2):
        assert await shop.book(order(), 3, paid=True) == 3
    assert await shop.slots(3) == (5, 1, 1)


async def test_an_order_that_was_moved_keeps_its_day_while_it_will_do(shop: Shop) -> None:
    await shop.serve()
    await shop.book(order("other"), 3)
    assert await shop.book(order(), 3, 4) == 4
    await shop.order_event(scheduler_events_pb2.OrderLapsed, order("other"))
    assert await shop.book(order(), 3, 4) == 4
    assert await shop.book(order(), 4, announcement=1) == 4


async def test_an_order_on_another_date_gives_its_slot_up(shop: Shop) -> None:
    await shop.serve()
    await shop.book(order(), 3)
    assert await shop.book(order(), 8, announcement=1) == 8
    assert (await shop.slots(3), await shop.slots(8)) == ((1, 0, 0), (1, 1, 0))


async def test_an_order_that_takes_something_else_instead_gives_its_slot_up(shop: Shop) -> None:
    await shop.sell("tea", 100)
    await shop.serve()
    await shop.book(order(), 3)
    assert await shop.book(order(), 3, items=[item("tea")], announcement=1) is None
    assert await shop.slots(3) == (1, 0, 0)


async def test_64_callers_at_once_never_over_book_a_day(shop: Shop) -> None:
    await shop.serve(weekday=20)
    answers = await asyncio.gather(
        *(shop.book(order(f"so-{number}"), 3) for number in range(CALLERS)),
        # Each of them twice.
        *(shop.book(order(f"so-{number}"), 3) for number in range(CALLERS)),
    )
    first, again = answers[:CALLERS], answers[CALLERS:]
    assert first == again
    assert first.count(3) == 20
    assert first.count(NO_SLOT) == CALLERS - 20
    assert await shop.slots(3) == (20, 20, 0)


async def test_64_callers_at_once_spread_over_a_window(shop: Shop) -> None:
    await shop.serve(weekday=20)
    answers = await asyncio.gather(
        *(shop.book(order(f"so-{number}"), 3, 4, 2) for number in range(CALLERS))
    )
    assert sorted(map(str, answers)) == ["2"] * 20 + ["3"] * 20 + ["4"] * 20 + [str(NO_SLOT)] * 4


async def test_postgresql_refuses_more_bookings_than_a_day_has(shop: Shop) -> None:
    await shop.serve()
    await shop.book(order(), 3)
    with pytest.raises(asyncpg.CheckViolationError):
        async with shop.database.begin() as tx:
            await tx.execute("UPDATE booked_days SET booked_slots = 2")


@pytest.mark.parametrize("message_type", ENDED, ids=ENDED_IDS)
async def test_the_slot_of_an_order_that_ends_unpaid_is_free_again(
    shop: Shop, message_type: type
) -> None:
    await shop.serve()
    await shop.book(order(), 3)
    for _ in range(2):
        await shop.order_event(message_type, order(), announcement=1)
    assert await shop.slots(3) == (1, 0, 0)
    assert await shop.book(order("other"), 3) == 3


async def test_nothing_is_booked_for_an_order_that_ended_before(shop: Shop) -> None:
    await shop.serve()
    await shop.order_event(scheduler_events_pb2.OrderSkipped, order(), announcement=0)
    assert await shop.book(order(), 3, announcement=0) is None
    assert await shop.slots(3) == (1, 0, 0)
    # The customer took the skip back.
    assert await shop.book(order(), 3, announcement=1) == 3


async def test_the_slot_of_a_paid_order_is_used_for_good(shop: Shop) -> None:
    await shop.serve()
    await shop.book(order(), 3)
    for _ in range(2):
        await shop.order_event(
            scheduler_events_pb2.OrderConfirmed, order(), services=[name("visit")]
        )
    await shop.order_event(scheduler_events_pb2.OrderLapsed, order(), announcement=9)
    assert await shop.slots(3) == (1, 1, 1)


async def test_a_paid_order_without_services_uses_nothing_of_what_an_attempt_had_booked(
    shop: Shop,
) -> None:
    await shop.serve()
    await shop.book(order(), 3, until=day(1))
    await shop.order_event(scheduler_events_pb2.OrderConfirmed, order())
    assert await shop.slots(3) == (1, 1, 0)
    shop.clock.move_to(day(1))
    await shop.expire_bookings()
    assert await shop.slots(3) == (1, 0, 0)


async def test_what_is_booked_for_an_order_is_kept_once_the_order_is_stored(shop: Shop) -> None:
    await shop.serve()
    await shop.book(order(), 3, until=day(1))
    await shop.order_event(
        scheduler_events_pb2.OrderSlotsBooked, order(), expire_time=to_timestamp(day(10))
    )
    shop.clock.move_to(day(1))
    await shop.expire_bookings()
    assert await shop.slots(3) == (1, 1, 0)


async def test_a_stored_order_whose_booking_ran_out_meanwhile_gets_its_slot_if_it_is_free(
    shop: Shop,
) -> None:
    await shop.serve()
    await shop.book(order(), 3, until=day(1))
    shop.clock.move_to(day(1))
    await shop.expire_bookings()
    for _ in range(2):
        await shop.order_event(
            scheduler_events_pb2.OrderSlotsBooked, order(), expire_time=to_timestamp(day(10))
        )
    shop.clock.move_to(day(2))
    await shop.expire_bookings()
    assert await shop.slots(3) == (1, 1, 0)


@BEFORE_AND_AFTER
async def test_a_slot_that_was_given_up_is_not_booked_again_by_a_late_event(
    shop: Shop, *, ran_out: bool
) -> None:
    await shop.sell("tea", 100)
    await shop.serve()
    await shop.book(order(), 3, until=day(1))
    if ran_out:
        await run_out(shop)
    await shop.book(order(), 3, items=[item("tea")])
    await shop.order_event(
        scheduler_events_pb2.OrderSlotsBooked, order(), expire_time=to_timestamp(day(10))
    )
    assert await shop.slots(3) == (1, 0, 0)


@BEFORE_AND_AFTER
async def test_a_slot_that_was_released_by_hand_is_not_booked_again_by_a_late_event(
    shop: Shop, *, ran_out: bool
) -> None:
    await shop.serve()
    await shop.book(order(), 3, until=day(1))
    if ran_out:
        await run_out(shop)
    released = await shop.release(order())
    assert not released.booking.HasField("expire_time")
    shop.clock.move_to(day(2))
    await shop.order_event(
        scheduler_events_pb2.OrderSlotsBooked, order(), expire_time=to_timestamp(day(10))
    )
    assert await shop.slots(3) == (1, 0, 0)
    # Whoever pays after this takes the slot all the same, as long as it is there.
    await shop.order_event(scheduler_events_pb2.OrderConfirmed, order(), services=[name("visit")])
    assert await shop.slots(3) == (1, 1, 1)


@BEFORE_AND_AFTER
async def test_a_slot_that_was_given_up_for_a_full_day_is_not_booked_again_by_a_late_event(
    shop: Shop, *, ran_out: bool
) -> None:
    await shop.serve()
    await shop.book(order("other"), 4)
    await shop.book(order(), 3, until=day(1))
    if ran_out:
        await run_out(shop)
    assert await shop.book(order(), 4, announcement=1) == NO_SLOT
    shop.clock.move_to(day(2))
    await shop.order_event(
        scheduler_events_pb2.OrderSlotsBooked, order(), expire_time=to_timestamp(day(10))
    )
    assert await shop.slots(3) == (1, 0, 0)


async def test_a_booking_that_nobody_settles_runs_out(shop: Shop) -> None:
    await shop.serve()
    await shop.book(order(), 3, until=day(10))
    shop.clock.move_to(day(10))
    assert (await shop.expire_bookings()).worked == 1
    assert await shop.slots(3) == (1, 0, 0)


async def test_an_order_paid_after_its_booking_ran_out_takes_its_slot_if_it_is_free(
    shop: Shop,
) -> None:
    await shop.serve()
    await shop.book(order(), 3, until=day(10))
    shop.clock.move_to(day(10))
    await shop.expire_bookings()
    await shop.order_event(scheduler_events_pb2.OrderConfirmed, order(), services=[name("visit")])
    assert await shop.slots(3) == (1, 1, 1)


async def test_a_booking_is_shown_and_can_be_released_by_hand(shop: Shop) -> None:
    await shop.serve()
    await shop.book(order(), 3)
    held = await shop.call("GetStockHold", catalog_pb2.GetStockHoldRequest(order=order()))
    assert held.state == catalog_pb2.StockHold.STATE_UNSPECIFIED
    assert held.booking.state == catalog_pb2.StockHold.HELD
    assert held.booking.date == date_pb2.Date(year=2026, month=1, day=4)
    assert (await shop.release(order())).booking.state == catalog_pb2.StockHold.RELEASED
    assert await shop.slots(3) == (1, 0, 0)


async def test_the_slot_of_a_paid_order_cannot_be_released(shop: Shop) -> None:
    await shop.serve()
    await shop.book(order(), 3)
    await shop.order_event(scheduler_events_pb2.OrderConfirmed, order(), services=[name("visit")])
    with pytest.raises(Problem) as refused:
        await shop.release(order())
    assert refused.value.reason == "STOCK_HOLD_COMMITTED"


async def test_a_single_date_has_its_own_capacity(shop: Shop) -> None:
    await shop.serve(weekday=2, d2026_01_04=0)
    assert await shop.book(order(), 3) == NO_SLOT
    await shop.set_capacity(weekday=2, d2026_01_04=1)
    assert await shop.book(order(), 3) == 3
    assert (await shop.slots(3), await shop.slots(4)) == ((1, 1, 0), (2, 0, 0))


async def test_capacity_below_what_is_booked_is_refused_with_the_days(shop: Shop) -> None:
    await shop.serve(weekday=3)
    for number in range(3):
        await shop.book(order(f"so-{number}"), 3)
    with pytest.raises(Problem) as refused:
        await shop.set_capacity(weekday=2)
    assert refused.value.reason == "CAPACITY_BELOW_BOOKED"
    assert refused.value.metadata == {"dates": "2026-01-04", "booked_slots": "3"}
    assert await shop.slots(3) == (3, 3, 0)
    # That day stays as it is, and the others get fewer.
    await shop.set_capacity(weekday=2, d2026_01_04=3)
    assert (await shop.slots(3), await shop.slots(4)) == ((3, 3, 0), (2, 0, 0))


async def test_more_capacity_can_be_booked_at_once(shop: Shop) -> None:
    await shop.serve()
    await shop.book(order(), 3)
    await shop.set_capacity(weekday=2)
    assert await shop.book(order("other"), 3) == 3


async def test_days_that_are_past_keep_their_capacity(shop: Shop) -> None:
    await shop.serve(weekday=3)
    await shop.book(order(), 3)
    shop.clock.move_to(day(10))
    await shop.set_capacity(weekday=0)
    assert await shop.slots(3) == (3, 1, 0)


async def test_orders_that_found_no_slot_hear_of_a_free_one_once(shop: Shop) -> None:
    await shop.serve()
    await shop.book(order(), 3)
    await shop.book(order("other"), 3)
    await shop.order_event(scheduler_events_pb2.OrderCancelled, order(), announcement=1)
    await shop.set_capacity(weekday=2)
    [restocked] = await shop.published(events_pb2.StockRestocked)
    assert restocked.product == name("visit")


async def test_a_slot_that_nobody_waited_for_is_no_news(shop: Shop) -> None:
    await shop.serve()
    await shop.book(order(), 3)
    await shop.order_event(scheduler_events_pb2.OrderCancelled, order(), announcement=1)
    assert await shop.published(events_pb2.StockRestocked) == []


async def test_a_product_has_units_or_slots(shop: Shop) -> None:
    with pytest.raises(Problem, match=r"product\.capacity_by_day"):
        await shop.sell("visit", 100, units=1, capacity_by_day=True)


async def test_a_bundle_has_no_service_in_it(shop: Shop) -> None:
    await shop.serve()
    with pytest.raises(Problem, match=r"bundle_parts\[0\]\.product: must not be a service"):
        await shop.sell("box", 100, bundle_parts=[item("visit")])


async def test_a_product_without_capacity_by_day_has_none(shop: Shop) -> None:
    await shop.sell("tea", 100, units=1)
    with pytest.raises(Problem) as refused:
        await shop.set_capacity("tea")
    assert refused.value.reason == "CAPACITY_NOT_TRACKED"


async def test_a_quote_says_which_lines_need_a_slot(shop: Shop) -> None:
    await shop.serve()
    await shop.sell("tea", 100)
    lines = (await shop.quote(item("visit"), item("tea"), at=day(1))).lines
    assert [line.capacity_by_day for line in lines] == [True, False]


async def test_the_calendar_names_the_orders_of_a_day(shop: Shop) -> None:
    await shop.serve(weekday=5)
    for number in range(3):
        await shop.book(order(f"so-{number}"), 3)
    await shop.order_event(scheduler_events_pb2.OrderSkipped, order("so-1"), announcement=1)
    request = catalog_pb2.GetCapacityCalendarRequest(name=f"{name('visit')}/capacity")
    days = (await shop.call("GetCapacityCalendar", request)).days
    assert len(days) == 31
    assert list(days[3].orders) == [order("so-0"), order("so-2")]
    assert (days[3].free_slots, days[4].free_slots) == (3, 5)


async def test_an_order_that_is_paid_while_its_booking_runs_out_takes_its_slot(shop: Shop) -> None:
    await shop.serve()
    await shop.book(order(), 3, until=day(1))
    shop.clock.move_to(day(1))
    async with shop.database.begin() as tx:
        await bookings.expire(tx, await booking_store.bookings_of(tx, [order()]), day(1))
        confirmed = shop.order_event(
            scheduler_events_pb2.OrderConfirmed, order(), services=[name("visit")]
        )
        paid = asyncio.create_task(confirmed)
        await wait_for_locks(shop.database)
    await paid
    assert await shop.slots(3) == (1, 1, 1)


async def test_a_booking_that_runs_out_as_its_order_is_stored_is_kept(shop: Shop) -> None:
    await shop.serve()
    await shop.book(order(), 3, until=day(1))
    shop.clock.move_to(day(1))
    async with shop.database.begin() as tx:
        await bookings.expire(tx, await booking_store.bookings_of(tx, [order()]), day(1))
        is_stored = shop.order_event(
            scheduler_events_pb2.OrderSlotsBooked, order(), expire_time=to_timestamp(day(10))
        )
        kept = asyncio.create_task(is_stored)
        await wait_for_locks(shop.database)
    await kept
    assert await shop.slots(3) == (1, 1, 0)
