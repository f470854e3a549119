"""Promotions, from sign-up to what they take off a line, and their budgets under concurrency."""

import asyncio
from typing import Any

import pytest
from recurring.catalog.v1 import catalog_pb2

from services.runtime.rpc.conversions import to_money, to_timestamp
from tests.integration.catalog.shop import MERCHANT, NOW, SUITE, Shop, cents, day, item, name


@pytest.fixture
async def tea(shop: Shop) -> Shop:
    """A merchant who sells tea for ten euros."""
    await shop.sell("tea", 1000, increase_notice_days=0)
    return shop


async def amount(shop: Shop, cycle: int = 1, at: int = 0, **who: Any) -> int:  # noqa: ANN401
    """What one unit of tea costs in a cycle, in cents."""
    [line] = (await shop.quote(item("tea"), at=day(at), cycle=cycle, **who)).lines
    return cents(line.amount)


async def test_a_line_says_what_the_promotion_took_off(tea: Shop) -> None:
    made = await tea.promote("spring", code="SPRING")
    assert await tea.sign_up("SPRING") == []
    assert await tea.steps(item("tea", 3), at=NOW) == [
        (3000, "LIST"),
        (-300, "PROMOTION"),
        (2700, "AMOUNT"),
    ]
    [line] = (await tea.quote(item("tea", 3), at=NOW)).lines
    [step] = line.adjustments
    assert (step.promotion, step.promotion_title, step.price) == (made.name, "Spring", "")
    assert line.price == line.list_price


async def test_a_promotion_comes_after_what_was_promised(tea: Shop) -> None:
    await tea.promote("spring", code="SPRING")
    lock = catalog_pb2.PriceProtection(lock=catalog_pb2.PriceLock(cycle_count=3))
    await tea.sign_up("SPRING", protection=lock)
    tea.clock.move_to(day(1))
    await tea.price("tea", 1500)
    assert await tea.steps(item("tea"), at=day(2)) == [
        (1500, "LIST"),
        (-500, "PRICE_LOCK"),
        (-100, "PROMOTION"),
        (900, "AMOUNT"),
    ]


async def test_it_is_for_the_first_cycles_of_the_standing_order(tea: Shop) -> None:
    await tea.promote("spring", code="SPRING", cycle_count=2)
    await tea.sign_up("SPRING", first_cycle=7)
    assert [await amount(tea, cycle) for cycle in (7, 8, 9)] == [900, 900, 1000]


async def test_it_is_for_cycles_before_a_date(tea: Shop) -> None:
    await tea.promote("spring", code="SPRING", discount_until_time=to_timestamp(day(10)))
    await tea.sign_up("SPRING")
    assert [await amount(tea, at=at) for at in (9, 10)] == [900, 1000]


async def test_an_amount_is_taken_off_the_order_once_over_its_lines(tea: Shop) -> None:
    await tea.sell("coffee", 500)
    await tea.promote("spring", code="SPRING", amount_off=to_money(1200, "EUR"))
    await tea.sign_up("SPRING", "tea", "coffee")
    [result] = (await tea.quote(item("tea"), item("coffee"), at=NOW)).results
    assert cents(result.quote.total) == 1000 + 500 - 1200
    lines = (await tea.quote(item("tea"), item("coffee"), at=NOW)).lines
    # The first line costs a cent all the same.
    assert [cents(line.amount) for line in lines] == [1, 299]


async def test_it_is_for_its_products_only(tea: Shop) -> None:
    await tea.sell("coffee", 500)
    await tea.promote("spring", code="SPRING", products=[name("coffee")])
    assert await tea.sign_up("SPRING") == ["PROMOTION_NOT_APPLICABLE"]
    assert await tea.sign_up("SPRING", "tea", "coffee") == []
    lines = (await tea.quote(item("tea"), item("coffee"), at=NOW)).lines
    assert [cents(line.amount) for line in lines] == [1000, 450]


async def test_without_a_code_everybody_has_it_who_signs_up_then(tea: Shop) -> None:
    await tea.sign_up(standing_order="before")
    await tea.promote("spring")
    await tea.sign_up(standing_order="after")
    assert await amount(tea, standing_order="before") == 1000
    assert await amount(tea, standing_order="after") == 900


async def test_a_code_is_preferred_to_what_everybody_has(tea: Shop) -> None:
    await tea.promote("all")
    await tea.promote("spring", code="SPRING", percent_off_bps=5000)
    await tea.sign_up("SPRING")
    assert await amount(tea) == 500


async def test_when_what_everybody_has_is_used_up_they_sign_up_without(tea: Shop) -> None:
    await tea.promote("all", redemption_limit=1)
    assert await tea.sign_up(standing_order="first") == []
    assert await tea.sign_up(standing_order="second") == []
    assert await amount(tea, standing_order="second") == 1000


async def test_a_standing_order_redeems_once_whatever_is_sent_again(tea: Shop) -> None:
    await tea.promote("spring", code="SPRING", redemption_limit=2)
    for _ in range(3):
        assert await tea.sign_up("SPRING") == []
    assert await tea.redemptions("spring") == 1


async def test_what_cannot_be_redeemed_is_refused_with_the_reason_and_protects_nothing(
    tea: Shop,
) -> None:
    await tea.promote("full", code="FULL", redemption_limit=1)
    await tea.sign_up("FULL", standing_order="other")
    await tea.promote("late", code="LATE", end_time=to_timestamp(day(1)))
    ended = await tea.promote("ended", code="ENDED")
    await tea.call("EndPromotion", catalog_pb2.EndPromotionRequest(name=ended.name))
    await tea.promote("dollars", code="DOLLARS", amount_off=to_money(100, "USD"))
    assert await tea.sign_up("GONE") == ["PROMOTION_NOT_FOUND"]
    assert await tea.sign_up("FULL") == ["PROMOTION_USED_UP"]
    assert await tea.sign_up("LATE", signed_up=day(1)) == ["PROMOTION_ENDED"]
    assert await tea.sign_up("ENDED") == ["PROMOTION_ENDED"]
    assert await tea.sign_up("DOLLARS") == ["PROMOTION_CURRENCY_MISMATCH"]
    async with tea.database.read() as connection:
        rows = await connection.fetch("SELECT standing_order FROM protections")
    assert [row["standing_order"] for row in rows] == ["other"]


@pytest.mark.parametrize("code", ["", "SPRING"])
async def test_a_sign_up_that_is_sent_again_is_answered_as_before_though_its_promotion_has_ended(
    tea: Shop, code: str
) -> None:
    made = await tea.promote("spring", code=code, cycle_count=2)
    entry = catalog_pb2.ProtectPrices(
        standing_order=f"{MERCHANT}/standingOrders/weekly",
        products=[name("tea")],
        sign_up_time=to_timestamp(NOW),
        promotion_code=code,
        first_cycle=1,
    )
    request = catalog_pb2.BatchProtectPricesRequest(entries=[entry])
    first = await tea.call("BatchProtectPrices", request, SUITE)
    [result] = first.results
    assert (result.promotion.title, result.promotion.last_cycle) == ("Spring", 2)
    await tea.call("EndPromotion", catalog_pb2.EndPromotionRequest(name=made.name))
    assert await tea.call("BatchProtectPrices", request, SUITE) == first


async def test_who_has_redeemed_what_ended_keeps_it(tea: Shop) -> None:
    made = await tea.promote("spring", code="SPRING")
    await tea.sign_up("SPRING")
    await tea.call("EndPromotion", catalog_pb2.EndPromotionRequest(name=made.name))
    assert await amount(tea, cycle=9) == 900


async def release(shop: Shop, standing_order: str) -> None:
    names = [f"{MERCHANT}/standingOrders/{standing_order}"]
    request = catalog_pb2.BatchReleasePromotionsRequest(standing_orders=names)
    await shop.call("BatchReleasePromotions", request, SUITE)


async def test_what_is_given_back_can_be_redeemed_by_another(tea: Shop) -> None:
    await tea.promote("spring", code="SPRING", redemption_limit=1)
    await tea.sign_up("SPRING", standing_order="failed")
    for _ in range(2):
        await release(tea, "failed")
    assert await tea.redemptions("spring") == 0
    assert await tea.sign_up("SPRING", standing_order="next") == []
    assert await tea.redemptions("spring") == 1


async def test_no_more_redeem_than_may_however_many_try_at_once(tea: Shop) -> None:
    await tea.promote("spring", code="SPRING", redemption_limit=10)
    answers = await asyncio.gather(
        *(tea.sign_up("SPRING", standing_order=f"so-{number}") for number in range(64)),
        # The same standing orders at the same time, as they are sent again.
        *(tea.sign_up("SPRING", standing_order=f"so-{number}") for number in range(64)),
    )
    first, again = answers[:64], answers[64:]
    redeemed = [number for number in range(64) if not first[number]]
    assert len(redeemed) == await tea.redemptions("spring") == 10
    assert redeemed == [number for number in range(64) if not again[number]]
    async with tea.database.read() as connection:
        assert len(await connection.fetch("SELECT standing_order FROM redemptions")) == 10
