"""Work on one order that the database refuses keeps that on no other waiting."""

from recurring.scheduler.v1 import events_pb2

from services.catalog import workers
from tests.due_work import step
from tests.integration.catalog.shop import Shop, day, item, order

# Its counters do not fit what is held of it.
SPOILT_STOCK = "UPDATE stock SET held_units = 0 WHERE product = 'tea'"
SPOILT_DAYS = "UPDATE booked_days SET booked_slots = 0 WHERE product = 'visit'"
MENDED_DAYS = "UPDATE booked_days SET booked_slots = 1 WHERE product = 'visit'"
# It has been changed as often as can be counted.
WORN_STOCK = "UPDATE stock SET version = 2147483647 WHERE product = 'tea'"


async def change(shop: Shop, statement: str) -> None:
    async with shop.database.begin() as tx:
        assert await tx.execute(statement) == 1


async def test_holds_run_out_beside_one_that_cannot(shop: Shop) -> None:
    for product in ("tea", "cake"):
        await shop.sell(product, 100, units=5)
        await shop.hold((order(product), [item(product, 2)]), until=day(3))
    await change(shop, SPOILT_STOCK)
    shop.clock.move_to(day(3))
    worker = workers.hold_expiry(shop.database)
    steps = [await step(shop.database, shop.clock, "hold-expiry", worker.work) for _ in range(2)]
    assert [it.worked for it in steps] == [2, 0]
    held = [await shop.hold_state(order(product)) for product in ("tea", "cake")]
    assert held == ["HELD", "RELEASED"]


async def test_bookings_run_out_beside_one_that_cannot(shop: Shop) -> None:
    for service in ("visit", "tour"):
        await shop.serve(service)
        await shop.book(order(service), 3, items=[item(service)], until=day(1))
    await change(shop, SPOILT_DAYS)
    shop.clock.move_to(day(1))
    worker = workers.booking_expiry(shop.database)
    steps = [await step(shop.database, shop.clock, "booking-expiry", worker.work) for _ in range(2)]
    assert [it.worked for it in steps] == [2, 0]
    assert await shop.slots(3, "tour") == (1, 0, 0)

    await change(shop, MENDED_DAYS)
    # Another process has not seen it fail.
    assert (await shop.expire_bookings()).worked == 1
    assert await shop.slots(3) == (1, 0, 0)


async def test_back_orders_are_served_beside_one_that_cannot_be(shop: Shop) -> None:
    for product in ("tea", "cake"):
        await shop.sell(product, 100, units=2)
        await shop.hold((order(product), [item(product, 2)]))
        await shop.order_event(events_pb2.OrderLapsed, order(product))
        await shop.adjust(product, -2)
        await shop.order_event(events_pb2.OrderConfirmed, order(product), paid_late=True)
        await shop.adjust(product, 2)
    await change(shop, WORN_STOCK)
    worker = workers.backorders(shop.database)
    steps = [await step(shop.database, shop.clock, "backorder", worker.work) for _ in range(2)]
    assert [it.worked for it in steps] == [2, 0]
    states = [await shop.hold_state(order(product)) for product in ("tea", "cake")]
    assert states == ["BACKORDERED", "COMMITTED"]
