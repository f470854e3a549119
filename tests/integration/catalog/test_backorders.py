"""Orders that are paid when their units are gone: the merchant owes them."""

import pytest
from recurring.scheduler.v1 import events_pb2

from services.runtime.errors import Problem
from tests.integration.catalog.shop import Shop, item, order


async def pay_late(shop: Shop, *orders: str, units: int = 2) -> None:
    """Orders that lapse, whose units go to somebody else, and that are paid then."""
    await shop.sell("tea", 100, units=units)
    await shop.hold(*((name, [item("tea", units)]) for name in orders[:1]))
    await shop.order_event(events_pb2.OrderLapsed, orders[0])
    for name in orders[1:]:
        await shop.hold((name, [item("tea", units)]))
        await shop.order_event(events_pb2.OrderLapsed, name)
    await shop.adjust("tea", -units)
    await shop.order_event(events_pb2.OrderConfirmed, *orders, paid_late=True)


async def test_an_order_that_is_paid_when_its_units_are_gone_is_owed_them(shop: Shop) -> None:
    await pay_late(shop, order("late"))
    assert await shop.hold_state(order("late")) == "BACKORDERED"
    assert await shop.units("tea") == (0, 0, 0)
    # Each of them once, in whatever order they arrive.
    await shop.order_event(events_pb2.OrderLapsed, order("late"))
    await shop.order_event(events_pb2.OrderConfirmed, order("late"), paid_late=True)
    assert await shop.hold_state(order("late")) == "BACKORDERED"


async def test_what_is_owed_leaves_the_stock_once_there_is_enough(shop: Shop) -> None:
    await pay_late(shop, order("late"))
    await shop.adjust("tea", 1)
    await shop.serve_backorders()
    assert (await shop.hold_state(order("late")), await shop.units("tea")) == (
        "BACKORDERED",
        (1, 0, 1),
    )
    await shop.adjust("tea", 2)
    await shop.serve_backorders()
    assert (await shop.hold_state(order("late")), await shop.units("tea")) == (
        "COMMITTED",
        (1, 0, 1),
    )
    assert not (await shop.serve_backorders()).worked


async def test_of_two_orders_that_are_owed_units_one_gets_them_and_the_other_waits(
    shop: Shop,
) -> None:
    await pay_late(shop, order("a"), order("b"))
    await shop.adjust("tea", 2)
    await shop.serve_backorders()
    states = [await shop.hold_state(name) for name in (order("a"), order("b"))]
    assert sorted(states) == ["BACKORDERED", "COMMITTED"]
    await shop.adjust("tea", 2)
    await shop.serve_backorders()
    assert [await shop.hold_state(name) for name in (order("a"), order("b"))] == ["COMMITTED"] * 2
    assert await shop.units("tea") == (0, 0, 0)


async def test_what_is_owed_can_be_waived_and_takes_no_units_then(shop: Shop) -> None:
    await pay_late(shop, order("late"))
    for _ in range(2):
        await shop.release(order("late"))
        assert await shop.hold_state(order("late")) == "WAIVED"
    await shop.adjust("tea", 5)
    await shop.serve_backorders()
    assert await shop.units("tea") == (5, 0, 5)


async def test_what_was_served_cannot_be_released(shop: Shop) -> None:
    await pay_late(shop, order("late"))
    await shop.adjust("tea", 2)
    await shop.serve_backorders()
    with pytest.raises(Problem) as refused:
        await shop.release(order("late"))
    assert refused.value.reason == "STOCK_HOLD_COMMITTED"
