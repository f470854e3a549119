"""Dated prices and sign-up prices, from announcement to quote."""

import pytest
from recurring.catalog.v1 import catalog_pb2, events_pb2

from services.runtime.errors import Problem
from services.runtime.rpc.conversions import from_timestamp, to_timestamp
from tests.integration.catalog.shop import MERCHANT, NOW, Shop, cents, day, item, name

LOCKED = catalog_pb2.PriceProtection(lock=catalog_pb2.PriceLock(cycle_count=3))
CAPPED = catalog_pb2.PriceProtection(cap=catalog_pb2.PriceCap(increase_limit_bps=500))


async def test_a_price_of_the_future_applies_to_cycles_of_the_future(shop: Shop) -> None:
    await shop.sell("tea", 1000)
    await shop.price("tea", 800, day(10))
    assert [(await shop.unit_price("tea", day(at)))[0] for at in (0, 9, 10)] == [1000, 1000, 800]


async def test_before_its_first_price_a_product_has_none(shop: Shop) -> None:
    await shop.sell("tea")
    await shop.price("tea", 1000, day(10))
    [result] = (await shop.quote(item("tea"), at=day(9))).results
    [problem] = result.problems.problems
    assert problem.reason == catalog_pb2.ItemProblem.PRICE_NOT_FOUND


async def test_a_rise_reaches_who_subscribed_already_after_its_notice_only(shop: Shop) -> None:
    await shop.sell("tea", 1000, increase_notice_days=30)
    await shop.protect("tea")
    shop.clock.move_to(day(10))
    await shop.price("tea", 1200)
    assert await shop.unit_price("tea", day(39)) == (1000, "INCREASE_NOT_YET_NOTIFIED")
    assert await shop.unit_price("tea", day(40)) == (1200, "LIST_PRICE")


async def test_who_subscribes_later_pays_the_list_price(shop: Shop) -> None:
    await shop.sell("tea", 1000, increase_notice_days=30)
    shop.clock.move_to(day(10))
    await shop.price("tea", 1200)
    await shop.protect("tea", standing_order="new", signed_up=day(11))
    assert await shop.unit_price("tea", day(12), standing_order="new") == (1200, "LIST_PRICE")


async def test_prices_that_are_remembered_leave_an_entry_and_those_known_already_none(
    shop: Shop,
) -> None:
    await shop.sell("tea", 1000)
    for _ in range(2):
        await shop.protect("tea", protection=CAPPED)
    standing_order = f"{MERCHANT}/standingOrders/weekly"
    remembered = {
        "standing_order": standing_order,
        "products": [
            {"product": name("tea"), "unit_price": {"currency_code": "EUR", "units": "10"}}
        ],
        "sign_up_time": "2026-01-01T12:00:00Z",
        "protection": {"cap": {"increase_limit_bps": 500}},
    }
    assert await shop.changes(standing_order) == [("scheduler", "BatchProtectPrices", remembered)]


async def test_a_lock_holds_for_its_cycles(shop: Shop) -> None:
    await shop.sell("tea", 1000, increase_notice_days=0)
    await shop.protect("tea", protection=LOCKED)
    shop.clock.move_to(day(1))
    await shop.price("tea", 1500)
    assert await shop.unit_price("tea", day(60), cycle=3) == (1000, "PRICE_LOCK")
    assert await shop.unit_price("tea", day(90), cycle=4) == (1500, "LIST_PRICE")


async def test_a_lock_until_a_day_holds_until_then(shop: Shop) -> None:
    await shop.sell("tea", 1000, increase_notice_days=0)
    lock = catalog_pb2.PriceLock(until_time=to_timestamp(day(50)))
    await shop.protect("tea", protection=catalog_pb2.PriceProtection(lock=lock))
    shop.clock.move_to(day(1))
    await shop.price("tea", 1500)
    assert await shop.unit_price("tea", day(49), cycle=9) == (1000, "PRICE_LOCK")
    assert await shop.unit_price("tea", day(50), cycle=9) == (1500, "LIST_PRICE")


async def test_a_cap_limits_what_a_rise_can_add(shop: Shop) -> None:
    await shop.sell("tea", 1000, increase_notice_days=0)
    await shop.protect("tea", protection=CAPPED)
    shop.clock.move_to(day(1))
    await shop.price("tea", 1500)
    assert await shop.unit_price("tea", day(2)) == (1050, "PRICE_CAP")


async def test_protecting_again_changes_nothing(shop: Shop) -> None:
    await shop.sell("tea", 1000, increase_notice_days=0)
    await shop.protect("tea", protection=LOCKED)
    shop.clock.move_to(day(1))
    await shop.price("tea", 1500)
    assert await shop.protect("tea", signed_up=day(1)) == []
    assert await shop.unit_price("tea", day(2)) == (1000, "PRICE_LOCK")


async def test_nothing_is_protected_of_an_entry_with_a_problem(shop: Shop) -> None:
    await shop.sell("tea", 1000, increase_notice_days=30)
    assert await shop.protect("tea", "gone") == ["gone: PRODUCT_NOT_FOUND"]
    shop.clock.move_to(day(1))
    await shop.price("tea", 1500)
    await shop.protect("tea", signed_up=day(1))
    assert await shop.unit_price("tea", day(2)) == (1500, "LIST_PRICE")


async def test_one_standing_orders_protection_is_not_anothers(shop: Shop) -> None:
    await shop.sell("tea", 1000, increase_notice_days=0)
    await shop.protect("tea", protection=LOCKED, standing_order="mine")
    await shop.protect("tea", standing_order="yours")
    shop.clock.move_to(day(1))
    await shop.price("tea", 1500)
    mine = await shop.unit_price("tea", day(2), standing_order="mine")
    yours = await shop.unit_price("tea", day(2), standing_order="yours")
    assert (mine[0], yours[0]) == (1000, 1500)


async def test_a_quote_adds_up(shop: Shop) -> None:
    await shop.sell("tea", 250)
    await shop.sell("coffee", 1199)
    found = await shop.quote(item("tea", 3), item("coffee", 2), item("tea", 1), at=NOW)
    [result] = found.results
    assert cents(result.quote.total) == 4 * 250 + 2 * 1199
    lines = [(line.unit_price_index, line.quantity) for line in result.quote.lines]
    assert lines == [(0, 3), (1, 2), (0, 1)]
    assert [cents(unit.amount) for unit in found.unit_prices] == [250, 1199]
    assert all(unit.price.startswith(f"{unit.product}/prices/") for unit in found.unit_prices)


async def test_a_change_of_price_is_told_with_the_day_it_reaches_subscribers(shop: Shop) -> None:
    await shop.sell("tea", 1000, increase_notice_days=30)
    await shop.price("tea", 1200, day(10))
    await shop.price("tea", 900, day(20))
    await shop.price("tea", 1100, day(90))
    published = await shop.published(events_pb2.PriceChangeScheduled)
    first, rise, drop, late = published
    assert not first.HasField("previous_unit_price")
    assert [cents(change.previous_unit_price) for change in published[1:]] == [1000, 1200, 900]
    assert [from_timestamp(change.subscriber_effective_time) for change in published] == [
        NOW,
        day(30),
        day(20),
        day(90),
    ]
    assert [from_timestamp(change.effective_time) for change in (rise, drop, late)] == [
        day(10),
        day(20),
        day(90),
    ]


async def test_a_price_put_between_two_is_told_with_the_one_before_it(shop: Shop) -> None:
    await shop.sell("tea", 1000)
    await shop.price("tea", 1400, day(50))
    await shop.price("tea", 1200, day(40))
    assert (
        cents((await shop.published(events_pb2.PriceChangeScheduled))[-1].previous_unit_price)
        == 1000
    )


# --- a price that is taken back ------------------------------------------------------------------


async def test_a_mistyped_price_is_taken_back_and_never_quoted(shop: Shop) -> None:
    await shop.sell("tea", 1000)
    mistyped = await shop.price("tea", 120, day(10))
    assert (await shop.unit_price("tea", day(10)))[0] == 120
    shop.clock.move_to(day(9))
    withdrawn = await shop.withdraw(mistyped.name)
    assert (withdrawn.name, withdrawn.unit_price) == (mistyped.name, mistyped.unit_price)
    assert from_timestamp(withdrawn.withdraw_time) == day(9)
    assert withdrawn.etag != mistyped.etag
    shop.clock.move_to(day(11))
    assert [(await shop.unit_price("tea", day(at)))[0] for at in (10, 11, 50)] == [1000] * 3


async def test_the_right_price_takes_the_place_of_the_wrong_one(shop: Shop) -> None:
    await shop.sell("tea", 1000)
    mistyped = await shop.price("tea", 120, day(40))
    await shop.withdraw(mistyped.name)
    right = await shop.price("tea", 1200, day(40))
    assert await shop.unit_price("tea", day(40)) == (1200, "LIST_PRICE")
    listed = await shop.call("ListPrices", catalog_pb2.ListPricesRequest(parent=name("tea")))
    assert {price.name: price.HasField("withdraw_time") for price in listed.prices[:2]} == {
        mistyped.name: True,
        right.name: False,
    }


async def test_what_was_taken_back_is_told_once_with_what_it_was(shop: Shop) -> None:
    await shop.sell("tea", 1000)
    mistyped = await shop.price("tea", 120, day(10))
    for _ in range(2):
        await shop.withdraw(mistyped.name)
    [published] = await shop.published(events_pb2.PriceChangeWithdrawn)
    assert (published.product, published.title, published.price) == (
        name("tea"),
        "Tea",
        mistyped.name,
    )
    assert (cents(published.unit_price), from_timestamp(published.effective_time)) == (120, day(10))
    assert from_timestamp(published.withdraw_time) == NOW


async def test_a_price_in_effect_is_history_and_stays(shop: Shop) -> None:
    await shop.sell("tea", 1000)
    price = await shop.price("tea", 120, day(10))
    shop.clock.move_to(day(10))
    with pytest.raises(Problem) as refused:
        await shop.withdraw(price.name)
    assert refused.value.reason == "PRICE_IN_EFFECT"
    assert await shop.unit_price("tea", day(11)) == (120, "LIST_PRICE")


async def test_a_new_price_is_told_with_the_one_before_it_that_holds(shop: Shop) -> None:
    await shop.sell("tea", 1000)
    await shop.withdraw((await shop.price("tea", 120, day(10))).name)
    await shop.price("tea", 1200, day(20))
    published = (await shop.published(events_pb2.PriceChangeScheduled))[-1]
    assert cents(published.previous_unit_price) == 1000


async def test_a_first_price_in_the_wrong_currency_can_be_taken_back(shop: Shop) -> None:
    await shop.sell("tea")
    await shop.withdraw((await shop.price("tea", 1000, day(1), "USD")).name)
    await shop.price("tea", 1000, day(1), "EUR")
    assert (await shop.unit_price("tea", day(1)))[0] == 1000


async def test_prices_of_one_instant_are_each_listed_once_over_the_pages(shop: Shop) -> None:
    await shop.sell("tea", 1000)
    made = []
    for _ in range(4):
        made.append((await shop.price("tea", 120, day(10))).name)
        await shop.withdraw(made[-1])
    found: list[str] = []
    token = ""
    while not found or token:
        request = catalog_pb2.ListPricesRequest(parent=name("tea"), page_size=2, page_token=token)
        page = await shop.call("ListPrices", request)
        found += [price.name for price in page.prices]
        token = page.next_page_token
    assert sorted(found[:-1]) == sorted(made)
