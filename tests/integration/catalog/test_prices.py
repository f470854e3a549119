"""Dated prices and sign-up prices, from announcement to quote."""

from typing import Any

import pytest
from recurring.catalog.v1 import catalog_pb2, events_pb2

from services.runtime.errors import Problem
from services.runtime.rpc.conversions import from_timestamp, to_money, to_timestamp
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
    price = await shop.price("tea", 1200)
    assert await shop.unit_price("tea", day(99)) == (1000, "INCREASE_NOT_YET_NOTIFIED")
    for late in (12, 20):
        # The first delivery counts.
        await shop.tell(price, day(late))
    assert await shop.unit_price("tea", day(41)) == (1000, "INCREASE_NOT_YET_NOTIFIED")
    assert await shop.unit_price("tea", day(42)) == (1200, "LIST_PRICE")


async def test_what_was_told_of_a_price_before_it_was_corrected_counts_no_more(shop: Shop) -> None:
    await shop.sell("tea", 1000, increase_notice_days=30)
    await shop.protect("tea")
    price = await shop.price("tea", 1200, day(10))
    await shop.tell(price, day(0))
    shop.clock.move_to(day(1))
    corrected = await shop.correct(price, 1300)
    assert await shop.unit_price("tea", day(60)) == (1000, "INCREASE_NOT_YET_NOTIFIED")
    await shop.tell(corrected, day(2))
    assert await shop.unit_price("tea", day(60)) == (1300, "LIST_PRICE")


async def test_a_rule_of_the_merchants_own_makes_the_notice_longer_and_is_named(shop: Shop) -> None:
    await shop.sell("tea", 1000, increase_notice_days=3)
    await shop.protect("tea")
    price = await shop.price("tea", 1200, day(1))
    await shop.tell(price, day(1))
    assert await shop.unit_price("tea", day(4)) == (1200, "LIST_PRICE")
    own = catalog_pb2.RulePack(name=f"{MERCHANT}/rulePacks/own")
    own.rules.add(id="rise").price_increase_notice.min_days = 60
    await shop.call("UpdateRulePack", catalog_pb2.UpdateRulePackRequest(rule_pack=own))
    [line] = (await shop.quote(item("tea"), at=day(60))).lines
    [adjustment] = line.adjustments
    assert (adjustment.amount, adjustment.rule) == (to_money(-200, "EUR"), own.name)
    assert await shop.unit_price("tea", day(61)) == (1200, "LIST_PRICE")


async def test_who_subscribes_later_pays_the_list_price(shop: Shop) -> None:
    await shop.sell("tea", 1000, increase_notice_days=30)
    shop.clock.move_to(day(10))
    await shop.price("tea", 1200)
    await shop.protect("tea", standing_order="new", signed_up=day(11))
    assert await shop.unit_price("tea", day(12), standing_order="new") == (1200, "LIST_PRICE")


async def test_prices_that_are_remembered_leave_an_entry_and_those_known_already_none(
    shop: Shop,
) -> None:
    await shop.sell("tea")
    price = await shop.price("tea", 1000)
    for _ in range(2):
        await shop.protect("tea", protection=CAPPED)
    standing_order = f"{MERCHANT}/standingOrders/weekly"
    remembered = {
        "standing_order": standing_order,
        "prices": [price.name],
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
    response = await shop.quote(item("tea", 3), item("coffee", 2), item("tea", 1), at=NOW)
    [result] = response.results
    assert cents(result.quote.total) == 4 * 250 + 2 * 1199
    assert list(result.quote.line_indexes) == [0, 1, 2]
    assert [(line.quantity, cents(line.amount)) for line in response.lines] == [
        (3, 750),
        (2, 2398),
        (1, 250),
    ]
    assert all(line.price.startswith(f"{line.product}/prices/") for line in response.lines)


async def test_equal_lines_of_many_carts_are_sent_once(shop: Shop) -> None:
    await shop.sell("tea", 250)
    response = await shop.quote(item("tea", 2), item("tea", 3), item("tea", 2), at=NOW)
    assert list(response.results[0].quote.line_indexes) == [0, 1, 0]


async def test_a_line_says_step_by_step_how_its_amount_came_about(shop: Shop) -> None:
    await shop.sell("tea", increase_notice_days=0)
    first = await shop.price("tea", 1000)
    await shop.protect("tea", protection=CAPPED)
    shop.clock.move_to(day(1))
    second = await shop.price("tea", 1500)
    [line] = (await shop.quote(item("tea", 3), at=day(2))).lines
    assert (cents(line.list_amount), cents(line.amount)) == (4500, 3150)
    assert (cents(line.list_unit_price), cents(line.unit_price)) == (1500, 1050)
    assert (line.list_price, line.price) == (second.name, first.name)
    [step] = line.adjustments
    assert (cents(step.amount), step.price) == (-1350, first.name)


async def test_who_signs_up_during_a_notice_is_quoted_the_new_price(shop: Shop) -> None:
    await shop.sell("tea", 1000, increase_notice_days=30)
    shop.clock.move_to(day(10))
    await shop.price("tea", 1200)
    assert (await shop.unit_price("tea", day(12), standing_order="new"))[0] == 1000
    new = await shop.unit_price("tea", day(12), standing_order="new", signed_up=day(11))
    assert new == (1200, "LIST_PRICE")


async def test_a_change_of_price_is_published_with_the_day_it_reaches_subscribers(
    shop: Shop,
) -> None:
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


async def test_a_price_put_between_two_is_published_with_the_one_before_it(shop: Shop) -> None:
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


async def test_what_was_withdrawn_is_published_once_with_what_it_was(shop: Shop) -> None:
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


async def test_a_new_price_is_published_with_the_one_before_it_that_holds(shop: Shop) -> None:
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
    names: list[str] = []
    token = ""
    while not names or token:
        request = catalog_pb2.ListPricesRequest(parent=name("tea"), page_size=2, page_token=token)
        page = await shop.call("ListPrices", request)
        names += [price.name for price in page.prices]
        token = page.next_page_token
    assert sorted(names[:-1]) == sorted(made)


# --- currencies ----------------------------------------------------------------------------------


async def test_a_product_has_a_price_in_each_of_its_currencies(shop: Shop) -> None:
    await shop.sell("tea", 1000)
    await shop.price("tea", 1200, currency="USD")
    [line] = (await shop.quote(item("tea", 2), at=NOW, currency="USD")).lines
    assert (line.amount.currency_code, cents(line.amount)) == ("USD", 2400)
    [line] = (await shop.quote(item("tea", 2), at=NOW, currency="EUR")).lines
    assert (line.amount.currency_code, cents(line.amount)) == ("EUR", 2000)


async def test_a_rise_in_one_currency_says_nothing_of_another(shop: Shop) -> None:
    await shop.sell("tea", 1000)
    await shop.price("tea", 1200, currency="USD")
    published = (await shop.published(events_pb2.PriceChangeScheduled))[-1]
    assert not published.HasField("previous_unit_price")


async def test_a_cart_without_a_currency_is_in_the_only_one_that_all_have(shop: Shop) -> None:
    await shop.sell("tea", 1000)
    await shop.price("tea", 1200, currency="USD")
    await shop.sell("coffee")
    await shop.price("coffee", 500, currency="USD")
    [result] = (await shop.quote(item("tea"), item("coffee"), at=NOW)).results
    assert (result.quote.total.currency_code, cents(result.quote.total)) == ("USD", 1700)


async def test_a_cart_of_several_currencies_must_name_one(shop: Shop) -> None:
    await shop.sell("tea", 1000)
    await shop.price("tea", 1200, currency="USD")
    assert await shop.problems(item("tea")) == ["tea: CURRENCY_NEEDED"]
    assert await shop.protect("tea") == ["tea: CURRENCY_NEEDED"]
    assert await shop.protect("tea", currency="USD") == []


async def test_a_product_without_the_carts_currency_cannot_be_priced(shop: Shop) -> None:
    await shop.sell("tea", 1000)
    await shop.sell("coffee", 500)
    await shop.price("coffee", 600, currency="USD")
    assert await shop.problems(item("coffee"), item("tea"), currency="USD") == [
        "tea: CURRENCY_MISMATCH"
    ]


async def test_a_million_rupiah_is_an_ordinary_price_and_yen_have_no_cents(shop: Shop) -> None:
    await shop.sell("tea")
    await shop.price("tea", 150_000_000, currency="IDR")
    [line] = (await shop.quote(item("tea", 3), at=NOW)).lines
    assert (line.amount.units, line.amount.nanos) == (4_500_000, 0)
    await shop.price("tea", 1500, currency="JPY", subscriber_discount_bps=333)
    [line] = (await shop.quote(item("tea"), at=NOW, currency="JPY")).lines
    assert (line.amount.units, line.amount.nanos) == (1451, 0)


# --- tiers and discounts -------------------------------------------------------------------------


def tier(first: int, amount_minor: int, last: int = 0, currency: str = "EUR") -> Any:  # noqa: ANN401
    unit_price = to_money(amount_minor, currency)
    return catalog_pb2.PriceTier(first_quantity=first, last_quantity=last, unit_price=unit_price)


@pytest.mark.parametrize(
    ("mode", "quantity", "off"),
    [
        ("VOLUME", 9, 0),
        ("VOLUME", 10, 1000),
        ("VOLUME", 100, 20_000),
        ("GRADUATED", 9, 0),
        ("GRADUATED", 10, 100),
        ("GRADUATED", 100, 9200),
    ],
)
async def test_more_units_cost_less_by_their_tiers(
    shop: Shop, mode: str, quantity: int, off: int
) -> None:
    await shop.sell("tea")
    tiers = [tier(10, 900, last=99), tier(100, 800)]
    made = await shop.price("tea", 1000, tiers=tiers, tier_mode=mode)
    assert list(made.tiers) == tiers
    assert await shop.steps(item("tea", quantity), at=NOW) == [
        (1000 * quantity, "LIST"),
        *([(-off, "QUANTITY_TIER")] if off else []),
        (1000 * quantity - off, "AMOUNT"),
    ]


async def test_a_standing_order_is_given_its_discount_after_the_tiers(shop: Shop) -> None:
    await shop.sell("tea")
    await shop.price(
        "tea", 1000, tiers=[tier(10, 900)], tier_mode="VOLUME", subscriber_discount_bps=750
    )
    assert await shop.steps(item("tea", 11), at=NOW) == [
        (11_000, "LIST"),
        (-1100, "QUANTITY_TIER"),
        (-742, "SUBSCRIBER_DISCOUNT"),
        (9158, "AMOUNT"),
    ]


async def test_a_locked_price_keeps_its_tiers_and_its_discount(shop: Shop) -> None:
    await shop.sell("tea", increase_notice_days=0)
    tiers = [tier(10, 900)]
    await shop.price("tea", 1000, tiers=tiers, tier_mode="VOLUME", subscriber_discount_bps=1000)
    await shop.protect("tea", protection=LOCKED)
    shop.clock.move_to(day(1))
    await shop.price("tea", 1500)
    assert await shop.steps(item("tea", 10), at=day(2)) == [
        (15_000, "LIST"),
        (-6900, "PRICE_LOCK"),
        (8100, "AMOUNT"),
    ]


async def test_a_smaller_discount_is_an_increase_that_waits_for_its_notice(shop: Shop) -> None:
    await shop.sell("tea", increase_notice_days=30)
    await shop.price("tea", 1000, subscriber_discount_bps=1000)
    await shop.protect("tea")
    shop.clock.move_to(day(1))
    await shop.tell(await shop.price("tea", 1000), day(1))
    assert await shop.unit_price("tea", day(30)) == (900, "INCREASE_NOT_YET_NOTIFIED")
    assert await shop.unit_price("tea", day(31)) == (1000, "LIST_PRICE")
    published = (await shop.published(events_pb2.PriceChangeScheduled))[-1]
    assert from_timestamp(published.subscriber_effective_time) == day(31)


@pytest.mark.parametrize(
    ("tiers", "field", "reason"),
    [
        ([tier(10, 900), tier(10, 800)], "tiers[1].first_quantity", "TIER_FALLS"),
        ([tier(10, 900), tier(5, 800)], "tiers[1].first_quantity", "TIER_FALLS"),
        ([tier(10, 900, last=9), tier(11, 800)], "tiers[0].last_quantity", "TIER_FALLS"),
        ([tier(10, 900, last=20), tier(20, 800)], "tiers[0].last_quantity", "TIER_FALLS"),
        ([tier(10, 900, last=20), tier(22, 800)], "tiers[0].last_quantity", "TIER_SKIPS"),
        ([tier(10, 900, last=20)], "tiers[0].last_quantity", "TIER_SKIPS"),
        ([tier(10, 1001)], "tiers[0].unit_price", "TIER_DEARER"),
        ([tier(10, 9, currency="USD")], "tiers[0].unit_price.currency_code", "CURRENCY_MISMATCH"),
    ],
)
async def test_tiers_that_skip_fall_or_rise_are_refused_with_the_field(
    shop: Shop, tiers: list[Any], field: str, reason: str
) -> None:
    await shop.sell("tea")
    with pytest.raises(Problem) as refused:
        await shop.price("tea", 1000, tiers=tiers, tier_mode="GRADUATED")
    assert [(v.field, v.reason) for v in refused.value.violations] == [(f"price.{field}", reason)]


@pytest.mark.parametrize("fields", [{"tiers": [tier(10, 900)]}, {"tier_mode": "VOLUME"}])
async def test_tiers_go_with_their_mode(shop: Shop, fields: dict[str, Any]) -> None:
    await shop.sell("tea")
    with pytest.raises(Problem) as refused:
        await shop.price("tea", 1000, **fields)
    assert [v.field for v in refused.value.violations] == ["price.tier_mode"]
