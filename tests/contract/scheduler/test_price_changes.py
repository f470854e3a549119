"""Customers get one notice, and in time, of what changes their own price."""

from datetime import timedelta

import pytest
from google.protobuf import duration_pb2
from recurring.notify.v1 import notify_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from tests.contract.scheduler.shop import TEA_MINOR, Shop

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
RISE_MINOR, DROP_MINOR = TEA_MINOR + 80, TEA_MINOR - 70


async def weekly(shop: Shop, customer: str = "ada", **changes: object) -> pb.StandingOrder:
    when = await shop.due_in(3 * DAY, every_days=7)
    return await shop.create(when, customer=shop.customer(customer), **changes)


async def price_texts(shop: Shop, customer: str = "ada") -> list[str]:
    """What messages said to a customer about prices, the oldest first."""
    await shop.suite.sandbox.settle()
    response = await shop.client.notify.ListNotices(
        notify_pb2.ListNoticesRequest(parent=shop.customer(customer), page_size=1000)
    )
    kinds = {notify_pb2.PRICE_CHANGE, notify_pb2.PRICE_CHANGE_WITHDRAWN}
    return [notice.deliveries[0].text for notice in response.notices if notice.kind in kinds]


async def test_the_notice_of_a_rise_says_how_much_it_is_and_from_when(shop: Shop) -> None:
    await weekly(shop)
    await shop.reprice("tea", RISE_MINOR, effective=await shop.now() + 5 * DAY)
    [text] = await price_texts(shop)
    # The product's notice is of 30 days; the fifth order is due 31 days from now.
    first = (await shop.now() + 31 * DAY).strftime("%a %-d %b %Y")
    assert f"Tea in Tea will cost 5.00 EUR an order, not 4.20 EUR, from {first} on" in text
    assert "To opt out, cancel or change it in your account before then." in text


async def test_a_drop_is_announced_with_the_first_cycle_that_has_it(shop: Shop) -> None:
    await weekly(shop, items=[shop.item("tea", 2)])
    await shop.reprice("tea", DROP_MINOR, effective=await shop.now() + 5 * DAY)
    [text] = await price_texts(shop)
    first = (await shop.now() + 10 * DAY).strftime("%a %-d %b %Y")
    assert f"will cost 7.00 EUR an order, not 8.40 EUR, from {first} on" in text


async def test_who_is_protected_for_good_or_buys_something_else_gets_no_notice(shop: Shop) -> None:
    for customer in ("bob", "eve"):
        await shop.bind_phone(customer)
    capped = pb.PriceProtection(cap=pb.PriceProtection.Cap(increase_limit_bps=0))
    await weekly(shop, price_protection=capped)
    await weekly(shop, "bob", items=[shop.item("coffee")])
    ended = await shop.due_in(3 * DAY, every_days=7, cycle_count=2)
    await shop.create(ended, customer=shop.customer("eve"))
    await shop.reprice("tea", RISE_MINOR, effective=await shop.now() + 5 * DAY)
    assert [await price_texts(shop, customer) for customer in ("ada", "bob", "eve")] == [[], [], []]


async def test_a_locked_customer_has_a_notice_of_the_first_cycle_after_the_lock(shop: Shop) -> None:
    locked = pb.PriceProtection(lock=pb.PriceProtection.Lock(cycle_count=8))
    await weekly(shop, price_protection=locked)
    await shop.reprice("tea", RISE_MINOR, effective=await shop.now() + 5 * DAY)
    [text] = await price_texts(shop)
    first = (await shop.now() + (3 + 8 * 7) * DAY).strftime("%a %-d %b %Y")
    assert f"from {first} on" in text


async def test_a_change_that_is_far_away_is_announced_when_it_is_near(shop: Shop) -> None:
    locked = pb.PriceProtection(lock=pb.PriceProtection.Lock(cycle_count=20))
    await weekly(shop, price_protection=locked)
    await shop.reprice("tea", RISE_MINOR, effective=await shop.now() + DAY)
    assert await price_texts(shop) == []
    await shop.suite.advance(60 * DAY)
    assert len(await price_texts(shop)) == 1


async def test_there_is_one_notice_for_all_standing_orders_of_a_customer(shop: Shop) -> None:
    await weekly(shop, title="Breakfast")
    await weekly(shop, title="Office")
    await shop.reprice("tea", RISE_MINOR, effective=await shop.now() + 5 * DAY)
    [text] = await price_texts(shop)
    assert "(and 1 more)" in text


async def test_who_signs_up_after_the_announcement_gets_it_too(shop: Shop) -> None:
    await shop.reprice("tea", RISE_MINOR, effective=await shop.now() + 5 * DAY)
    await weekly(shop)
    assert await price_texts(shop) == []
    await shop.suite.advance(DAY)
    assert len(await price_texts(shop)) == 1


async def test_who_had_a_notice_gets_one_when_the_change_is_withdrawn(shop: Shop) -> None:
    await shop.bind_phone("bob")
    await weekly(shop)
    price = await shop.reprice("tea", RISE_MINOR, effective=await shop.now() + 5 * DAY)
    assert len(await price_texts(shop)) == 1
    await weekly(shop, "bob")
    await shop.withdraw_price(price)
    _, taken_back = await price_texts(shop)
    assert "That is taken back: it stays at 4.20 EUR an order." in taken_back
    await shop.suite.advance(DAY)
    assert await price_texts(shop, "bob") == []


async def test_a_correction_goes_to_whom_it_concerns_now_and_to_whom_no_longer(
    shop: Shop,
) -> None:
    await weekly(shop)
    price = await shop.reprice("tea", RISE_MINOR, effective=await shop.now() + 5 * DAY)
    assert len(await price_texts(shop)) == 1
    for amount_minor, text in (
        (RISE_MINOR + 50, "5.50 EUR an order"),
        (TEA_MINOR, "stays at 4.20"),
    ):
        await shop.suite.advance(HOUR)
        await shop.correct_price(price, amount_minor)
        assert text in (await price_texts(shop))[-1]
    assert len(await price_texts(shop)) == 3


async def test_a_cycle_whose_notice_came_too_late_keeps_the_old_price(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(30 * DAY + HOUR, every_days=7))
    for part in ("sms", "mail"):
        await shop.suite.sandbox.switch_outage(part, on=True)
    await shop.reprice("tea", RISE_MINOR, effective=await shop.now() + 5 * DAY)
    await shop.suite.advance(5 * HOUR)
    assert [cycle.amount.units for cycle in await shop.preview(made.name, 2)] == [4, 4]
    for part in ("sms", "mail"):
        await shop.suite.sandbox.switch_outage(part, on=False)
    await shop.suite.advance(2 * HOUR)
    late, in_time = await shop.preview(made.name, 2)
    [adjustment] = late.lines[0].adjustments
    assert (adjustment.kind, adjustment.rule) == (
        "INCREASE_NOT_YET_NOTIFIED", shop.product("tea"),
    )  # fmt: skip
    assert (late.amount.units, in_time.amount.units) == (4, 5)


async def test_a_paused_customer_gets_the_notice_as_if_resumed(shop: Shop) -> None:
    made = await weekly(shop)
    await shop.pause(made.name)
    await shop.reprice("tea", RISE_MINOR, effective=await shop.now() + 5 * DAY)
    assert len(await price_texts(shop)) == 1


@pytest.mark.parametrize("amount_minor", [TEA_MINOR])
async def test_a_price_that_is_the_same_is_no_news(shop: Shop, amount_minor: int) -> None:
    await weekly(shop, notice_lead=duration_pb2.Duration(seconds=3600))
    await shop.reprice("tea", amount_minor, effective=await shop.now() + 5 * DAY)
    assert await price_texts(shop) == []
