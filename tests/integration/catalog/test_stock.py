"""Stock: held once an order, never promised twice, and given back when nobody takes it."""

import asyncio
from datetime import timedelta

import pytest
from recurring.catalog.v1 import catalog_pb2, events_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2

from services.catalog.application import stock as stock_use_cases
from services.catalog.store import holds as hold_store
from services.runtime.errors import Problem
from tests.integration.catalog.shop import SUITE, Shop, day, item, name, order
from tests.locks import wait_for_locks

ENDED = [
    scheduler_events_pb2.OrderLapsed,
    scheduler_events_pb2.OrderCancelled,
    scheduler_events_pb2.OrderSkipped,
]
ENDED_IDS = [message_type.__name__ for message_type in ENDED]


async def test_a_hold_makes_units_unavailable_and_leaves_them_on_hand(shop: Shop) -> None:
    await shop.sell("tea", 100, units=10)
    assert await shop.hold((order(), [item("tea", 4)])) == [[]]
    assert await shop.units("tea") == (10, 4, 6)


async def test_a_hold_leaves_an_entry_of_what_is_held_and_nothing_else_does(shop: Shop) -> None:
    await shop.sell("tea", 100, units=10)
    await shop.sell("news", 100)
    for _ in range(2):
        await shop.hold(
            (order(), [item("tea", 4), item("news")]),
            (order("other"), [item("tea", 11)]),
            (order("third"), [item("news")]),
        )
    held = {
        "order": order(),
        "items": [{"product": name("tea"), "quantity": 4}],
        "expire_time": "2026-01-04T12:00:00Z",
    }
    assert await shop.changes(order()) == [("scheduler", "BatchHoldStock", held)]
    assert await shop.changes(order("other")) == await shop.changes(order("third")) == []


async def test_holding_twice_is_one_hold(shop: Shop) -> None:
    await shop.sell("tea", 100, units=10)
    for _ in range(2):
        assert await shop.hold((order(), [item("tea", 4)])) == [[]]
    assert await shop.hold((order(), [item("tea", 4)]), (order(), [item("tea", 4)])) == [[], []]
    assert await shop.units("tea") == (10, 4, 6)


@pytest.mark.parametrize("is_held", [False, True], ids=["lost", "held"])
async def test_the_units_of_an_order_that_is_paid_already_leave_the_stock_once(
    shop: Shop, *, is_held: bool
) -> None:
    await shop.sell("tea", 100, units=10)
    if is_held:
        await shop.hold((order(), [item("tea", 4)]))
    for _ in range(2):
        assert await shop.hold((order(), [item("tea", 4)]), paid=True) == [[]]
    assert await shop.units("tea") == (6, 0, 6)


async def test_an_order_twice_in_one_call_is_one_hold(shop: Shop) -> None:
    await shop.sell("tea", 100, units=5)
    assert await shop.hold((order(), [item("tea", 4)]), (order(), [item("tea", 4)])) == [[], []]
    assert await shop.units("tea") == (5, 4, 1)


async def test_a_product_twice_in_one_order_is_held_as_a_sum(shop: Shop) -> None:
    await shop.sell("tea", 100, units=5)
    assert await shop.hold((order(), [item("tea", 3), item("tea", 3)])) == [["tea: OUT_OF_STOCK"]]
    assert await shop.hold((order(), [item("tea", 3), item("tea", 2)])) == [[]]
    assert await shop.units("tea") == (5, 5, 0)


async def test_an_order_that_lacks_something_holds_nothing(shop: Shop) -> None:
    await shop.sell("tea", 100, units=10)
    await shop.sell("coffee", 100, units=1)
    assert await shop.hold((order(), [item("tea", 4), item("coffee", 2)])) == [
        ["coffee: OUT_OF_STOCK"]
    ]
    assert await shop.units("tea") == (10, 0, 10)


async def test_what_is_not_counted_is_held_without_limit(shop: Shop) -> None:
    await shop.sell("news", 100)
    assert await shop.hold((order(), [item("news", 10_000)])) == [[]]
    assert await shop.units("news") == (0, 0, 0)


async def test_many_holds_at_once_never_promise_a_unit_twice(shop: Shop) -> None:
    await shop.sell("tea", 100, units=20)
    await shop.sell("coffee", 100, units=30)
    # Every other call names the products the other way round, which must not lock it up.
    carts = [[item("tea", 2), item("coffee", 1)], [item("coffee", 1), item("tea", 2)]]
    answers = await asyncio.gather(
        *(shop.hold((order(f"o{number}"), carts[number % 2])) for number in range(24))
    )
    assert sum(answer == [[]] for answer in answers) == 10
    assert await shop.units("tea") == (20, 20, 0)
    assert await shop.units("coffee") == (30, 10, 20)


async def test_many_calls_at_once_for_one_order_are_one_hold(shop: Shop) -> None:
    await shop.sell("tea", 100, units=20)
    answers = await asyncio.gather(*(shop.hold((order(), [item("tea", 3)])) for _ in range(8)))
    assert answers == [[[]]] * 8
    assert await shop.units("tea") == (20, 3, 17)


async def test_a_confirmed_order_takes_its_units(shop: Shop) -> None:
    await shop.sell("tea", 100, units=10)
    await shop.hold((order(), [item("tea", 4)]))
    for _ in range(2):
        await shop.order_event(scheduler_events_pb2.OrderConfirmed, order())
    assert await shop.units("tea") == (6, 0, 6)


@pytest.mark.parametrize("message_type", ENDED, ids=ENDED_IDS)
async def test_an_order_that_ends_without_payment_gives_its_units_back(
    shop: Shop, message_type: type[object]
) -> None:
    await shop.sell("tea", 100, units=10)
    await shop.hold((order(), [item("tea", 4)]))
    for _ in range(2):
        await shop.order_event(message_type, order())
    assert await shop.units("tea") == (10, 0, 10)


@pytest.mark.parametrize("message_type", ENDED, ids=ENDED_IDS)
async def test_nothing_is_held_for_an_order_that_ended_before_its_hold_came(
    shop: Shop, message_type: type[object]
) -> None:
    await shop.sell("tea", 100, units=10)
    await shop.order_event(message_type, order(), announcement=2)
    for announcement in (1, 2):
        assert await shop.hold((order(), [item("tea", 4)]), announcement=announcement) == [[]]
    assert await shop.units("tea") == (10, 0, 10)


async def test_a_hold_and_the_end_of_its_order_at_once_leave_nothing_held(shop: Shop) -> None:
    await shop.sell("tea", 100, units=50)
    orders = [order("weekly", cycle) for cycle in range(1, 21)]
    lapsed = scheduler_events_pb2.OrderLapsed
    await asyncio.gather(
        *(shop.hold((name, [item("tea")])) for name in orders),
        *(shop.order_event(lapsed, name) for name in orders),
    )
    assert await shop.units("tea") == (50, 0, 50)


async def test_an_order_that_is_announced_again_after_it_was_left_out_holds_its_stock(
    shop: Shop,
) -> None:
    await shop.sell("tea", 100, units=10)
    await shop.hold((order(), [item("tea", 4)]))
    await shop.order_event(scheduler_events_pb2.OrderSkipped, order())
    await shop.hold((order(), [item("tea", 3)]), announcement=2)
    assert await shop.units("tea") == (10, 3, 7)
    # That it was left out is delivered once more.
    await shop.order_event(scheduler_events_pb2.OrderSkipped, order())
    assert await shop.units("tea") == (10, 3, 7)


async def test_an_order_that_is_announced_again_with_other_items_holds_those(shop: Shop) -> None:
    await shop.sell("tea", 100, units=10)
    await shop.sell("coffee", 100, units=10)
    await shop.hold((order(), [item("tea", 4)]))
    await shop.hold((order(), [item("coffee", 2)]), announcement=2)
    assert await shop.units("tea") == (10, 0, 10)
    assert await shop.units("coffee") == (10, 2, 8)
    # A process that was stopped in between asks for what was announced first.
    await shop.hold((order(), [item("tea", 4)]))
    assert await shop.units("tea") == (10, 0, 10)
    assert await shop.units("coffee") == (10, 2, 8)


async def test_what_an_order_held_before_counts_as_free_for_what_it_holds_now(shop: Shop) -> None:
    await shop.sell("tea", 100, units=10)
    await shop.hold((order(), [item("tea", 6)]))
    assert await shop.hold((order(), [item("tea", 8)]), announcement=2) == [[]]
    assert await shop.units("tea") == (10, 8, 2)


async def test_a_set_of_orders_is_settled_at_once(shop: Shop) -> None:
    await shop.sell("tea", 100, units=10)
    await shop.sell("coffee", 100, units=10)
    orders = [order("a"), order("b"), order("c")]
    await shop.hold(*((name, [item("tea"), item("coffee", 2)]) for name in orders))
    await shop.order_event(scheduler_events_pb2.OrderConfirmed, *orders[:2])
    assert await shop.units("tea") == (8, 1, 7)
    assert await shop.units("coffee") == (6, 2, 4)


async def test_a_late_end_does_not_undo_a_confirmation(shop: Shop) -> None:
    await shop.sell("tea", 100, units=10)
    await shop.hold((order(), [item("tea", 4)]))
    await shop.order_event(scheduler_events_pb2.OrderConfirmed, order())
    await shop.order_event(scheduler_events_pb2.OrderLapsed, order())
    assert await shop.units("tea") == (6, 0, 6)


async def test_an_order_without_a_hold_changes_nothing(shop: Shop) -> None:
    await shop.sell("tea", 100, units=10)
    await shop.order_event(scheduler_events_pb2.OrderConfirmed, order())
    await shop.order_event(scheduler_events_pb2.OrderLapsed, order())
    assert await shop.units("tea") == (10, 0, 10)


async def test_a_hold_that_nobody_settles_ends_by_itself(shop: Shop) -> None:
    await shop.sell("tea", 100, units=10)
    await shop.hold((order(), [item("tea", 4)]), until=day(3))
    step = await shop.expire()
    assert (step.worked, step.wake_at) == (0, day(3))
    shop.clock.move_to(day(3))
    assert (await shop.expire()).worked == 1
    assert await shop.units("tea") == (10, 0, 10)
    assert (await shop.expire()).wake_at is None


async def test_an_order_whose_hold_ended_can_hold_again(shop: Shop) -> None:
    await shop.sell("tea", 100, units=10)
    await shop.hold((order(), [item("tea", 4)]), until=day(3))
    shop.clock.move_to(day(4))
    await shop.expire()
    await shop.hold((order(), [item("tea", 2)]), until=day(8))
    assert await shop.units("tea") == (10, 2, 8)


async def test_two_workers_end_every_hold_once(shop: Shop) -> None:
    await shop.sell("tea", 100, units=50)
    await shop.hold(*((order(f"o{number}"), [item("tea")]) for number in range(50)))
    shop.clock.move_to(day(3))
    steps = await asyncio.gather(*(shop.expire() for _ in range(4)))
    assert sum(step.worked for step in steps) == 50
    assert await shop.units("tea") == (50, 0, 50)


async def test_units_that_are_held_cannot_be_taken_away(shop: Shop) -> None:
    await shop.sell("tea", 100, units=10)
    await shop.hold((order(), [item("tea", 8)]))
    with pytest.raises(Problem) as refused:
        await shop.adjust("tea", -3)
    assert refused.value.reason == "STOCK_INSUFFICIENT"
    await shop.adjust("tea", -2)
    assert await shop.units("tea") == (8, 8, 0)


async def test_low_stock_is_published_when_it_comes_down_and_not_again(shop: Shop) -> None:
    await shop.sell("tea", 100, units=10, low_stock_threshold=5)
    await shop.hold((order("a"), [item("tea", 4)]))
    assert await shop.published(events_pb2.StockLow) == []
    await shop.hold((order("b"), [item("tea", 2)]))
    await shop.hold((order("c"), [item("tea", 1)]))
    [published] = await shop.published(events_pb2.StockLow)
    assert (published.available_units, published.low_stock_threshold) == (4, 5)
    await shop.adjust("tea", 10)
    await shop.adjust("tea", -9)
    assert [event.available_units for event in await shop.published(events_pb2.StockLow)] == [4, 4]


async def test_the_last_unit_is_published_once_and_its_return_too(shop: Shop) -> None:
    await shop.sell("tea", 100, units=3)
    await shop.hold((order("a"), [item("tea", 3)]))
    await shop.hold((order("b"), [item("tea")]))
    assert len(await shop.published(events_pb2.StockOut)) == 1
    await shop.order_event(scheduler_events_pb2.OrderLapsed, order("a"))
    await shop.adjust("tea", 4)
    # The first delivery, and what was given back.
    restocked = await shop.published(events_pb2.StockRestocked)
    assert [event.available_units for event in restocked] == [3, 3]


async def test_units_that_come_after_a_refusal_are_published_even_if_some_were_left(
    shop: Shop,
) -> None:
    await shop.sell("tea", 100, units=3)
    await shop.adjust("tea", 1)
    assert await shop.published(events_pb2.StockRestocked) == [
        events_pb2.StockRestocked(product=name("tea"), title="Tea", available_units=3)
    ]
    await shop.hold((order(), [item("tea", 9)]))
    await shop.adjust("tea", 1)
    await shop.adjust("tea", 1)
    assert [it.available_units for it in await shop.published(events_pb2.StockRestocked)] == [3, 5]


async def test_units_whose_hold_ran_out_are_published_as_back(shop: Shop) -> None:
    await shop.sell("tea", 100, units=2)
    await shop.hold((order(), [item("tea", 2)]), until=day(3))
    shop.clock.move_to(day(3))
    await shop.expire()
    assert [it.available_units for it in await shop.published(events_pb2.StockRestocked)] == [2, 2]


async def test_an_order_that_is_paid_after_its_hold_ran_out_takes_its_units(shop: Shop) -> None:
    await shop.sell("tea", 100, units=10)
    await shop.hold((order(), [item("tea", 4)]), until=day(3))
    shop.clock.move_to(day(3))
    await shop.expire()
    await shop.order_event(scheduler_events_pb2.OrderConfirmed, order())
    assert await shop.units("tea") == (6, 0, 6)


async def test_an_order_that_is_paid_when_its_units_are_promised_to_others_takes_none(
    shop: Shop,
) -> None:
    await shop.sell("tea", 100, units=5)
    await shop.hold((order("late"), [item("tea", 4)]), until=day(3))
    shop.clock.move_to(day(3))
    await shop.expire()
    await shop.hold((order("next"), [item("tea", 3)]), until=day(9))
    await shop.order_event(scheduler_events_pb2.OrderConfirmed, order("late"))
    assert await shop.units("tea") == (5, 3, 2)


async def test_what_is_held_is_released_by_hand_unless_the_order_is_paid(shop: Shop) -> None:
    await shop.sell("tea", 100, units=10)
    await shop.hold((order("a"), [item("tea", 4)]), (order("b"), [item("tea", 2)]))
    for _ in range(2):
        assert (await shop.release(order("a"))).state == catalog_pb2.StockHold.RELEASED
    await shop.order_event(scheduler_events_pb2.OrderConfirmed, order("b"))
    with pytest.raises(Problem) as refused:
        await shop.release(order("b"))
    assert refused.value.reason == "STOCK_HOLD_COMMITTED"
    assert await shop.units("tea") == (8, 0, 8)


async def test_what_left_the_stock_for_paid_orders_is_shown_as_committed(shop: Shop) -> None:
    await shop.sell("tea", 100, units=10)
    await shop.hold((order("a"), [item("tea", 4)]), (order("b"), [item("tea", 3)]))
    await shop.order_event(scheduler_events_pb2.OrderConfirmed, order("a"))
    stock = await shop.call("GetStock", catalog_pb2.GetStockRequest(product=name("tea")))
    assert (stock.on_hand_units, stock.held_units, stock.committed_units) == (6, 3, 4)


async def test_a_refused_hold_says_how_many_there_are(shop: Shop) -> None:
    await shop.sell("tea", 100, units=3)
    request = catalog_pb2.BatchCheckStockRequest(
        checks=[catalog_pb2.StockCheck(merchant="merchants/acme", items=[item("tea", 5)])]
    )
    [result] = (await shop.call("BatchCheckStock", request, SUITE)).results
    [problem] = result.problems
    assert (problem.reason, problem.available_units) == (catalog_pb2.ItemProblem.OUT_OF_STOCK, 3)


async def test_a_retry_of_hold_publishes_nothing_again(shop: Shop) -> None:
    await shop.sell("tea", 100, units=3, low_stock_threshold=1)
    for _ in range(3):
        await shop.hold((order(), [item("tea", 2)]))
    assert len(await shop.published(events_pb2.StockLow)) == 1


async def test_the_books_of_stock_add_up(shop: Shop) -> None:
    """Held units are always those of the holds that are open."""
    await shop.sell("tea", 100, units=30)
    await shop.hold(*((order("a", cycle), [item("tea", cycle)]) for cycle in range(1, 6)))
    await shop.order_event(scheduler_events_pb2.OrderConfirmed, order("a", 2))
    await shop.order_event(scheduler_events_pb2.OrderLapsed, order("a", 3))
    shop.clock.move_to(day(3) - timedelta(seconds=1))
    await shop.expire()
    async with shop.database.read() as connection:
        held = (
            "SELECT sum(units) FROM stock_holds, unnest(quantities) AS units WHERE state = 'HELD'"
        )
        assert await connection.driver.fetchval(held) == 1 + 4 + 5
    assert await shop.units("tea") == (28, 10, 18)


async def test_an_order_that_takes_nothing_counted_any_more_leaves_the_stock_alone(
    shop: Shop,
) -> None:
    await shop.sell("tea", 100, units=10)
    await shop.sell("gift-card", 100)
    await shop.hold((order(), [item("tea", 4)]))
    await shop.hold((order(), [item("gift-card")]), announcement=2)
    assert await shop.units("tea") == (10, 0, 10)
    await shop.order_event(scheduler_events_pb2.OrderConfirmed, order(), announcement=2)
    assert await shop.units("tea") == (10, 0, 10)


async def test_an_order_that_is_paid_while_its_hold_runs_out_takes_its_units(shop: Shop) -> None:
    await shop.sell("tea", 100, units=10)
    await shop.hold((order(), [item("tea", 4)]), until=day(3))
    shop.clock.move_to(day(3))
    async with shop.database.begin() as tx:
        due = await hold_store.holds_of(tx, [order()])
        await stock_use_cases.expire_holds(tx, due, day(3))
        paid = asyncio.create_task(shop.order_event(scheduler_events_pb2.OrderConfirmed, order()))
        await wait_for_locks(shop.database)
    await paid
    assert await shop.units("tea") == (6, 0, 6)
