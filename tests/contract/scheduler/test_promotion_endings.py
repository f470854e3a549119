"""Before the first order without their promotion, customers are notified of what it costs, once."""

from datetime import timedelta

import pytest
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.scheduler.v1 import events_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import from_money, to_timestamp
from tests.contract.scheduler.shop import Shop
from tests.suite import new_id

DAY = timedelta(days=1)


async def promote(shop: Shop, **fields: object) -> None:
    """Half off some cycles of who signs up from now on."""
    promotion = catalog_pb2.Promotion(title="Spring", percent_off_bps=5000, **fields)  # type: ignore[arg-type]
    await shop.client.catalog.CreatePromotion(
        catalog_pb2.CreatePromotionRequest(
            parent=shop.name, promotion_id="spring", promotion=promotion, request_id=new_id()
        )
    )


async def weekly(shop: Shop) -> pb.StandingOrder:
    """A weekly standing order that is due first in twenty days."""
    return await shop.create(await shop.due_in(20 * DAY, every_days=7))


async def notices(shop: Shop) -> list[str]:
    """What the customer was notified of promotions that end, by SMS."""
    await shop.suite.sandbox.settle()
    response = await shop.client.notify.ListNotices(
        notify_pb2.ListNoticesRequest(
            parent=shop.customer("ada"), kind=notify_pb2.PROMOTION_ENDING, page_size=1000
        )
    )
    return [notice.deliveries[0].text for notice in response.notices]


async def test_a_customer_is_notified_of_the_date_and_both_amounts_once(shop: Shop) -> None:
    await promote(shop, cycle_count=2)
    async with shop.suite.subscribe_events() as subscription:
        made = await weekly(shop)
        _, second, third = await shop.preview(made.name, 3)
        await shop.suite.advance(19 * DAY)
        assert await notices(shop) == []
        await shop.suite.advance(DAY)
        published = await subscription.next(events_pb2.PromotionEnding, shop.client.merchant)

    event = published.message
    assert (event.standing_order, event.promotion) == (made.name, f"{shop.name}/promotions/spring")
    assert (event.first_cycle, event.first_due_time) == (3, third.due_time)
    assert (event.previous_amount, event.amount) == (second.amount, third.amount)
    assert from_money(event.amount).amount_minor > from_money(event.previous_amount).amount_minor
    [text] = await notices(shop)
    assert f"ends before your order of {third.due_time.ToDatetime():%a %-d %b %Y}." in text
    await shop.suite.advance(20 * DAY)
    assert len(await notices(shop)) == 1


async def test_a_promotion_until_a_day_ends_with_a_notice_too(shop: Shop) -> None:
    await promote(shop, discount_until_time=to_timestamp(await shop.now() + 30 * DAY))
    await weekly(shop)
    await shop.suite.advance(17 * DAY)
    assert len(await notices(shop)) == 1


async def test_rule_packs_can_ask_for_an_earlier_notice(shop: Shop) -> None:
    pack = catalog_pb2.RulePack(
        name=f"{shop.name}/rulePacks/own",
        rules=[
            catalog_pb2.Rule(
                id="offers",
                source="Our promise",
                offer_end_notice=catalog_pb2.NoticePeriod(min_days=25),
            )
        ],
    )
    await shop.client.catalog.UpdateRulePack(
        catalog_pb2.UpdateRulePackRequest(rule_pack=pack, request_id=new_id())
    )
    await promote(shop, cycle_count=2)
    await weekly(shop)
    await shop.suite.advance(9 * DAY)
    assert len(await notices(shop)) == 1


@pytest.mark.parametrize("fields", [{}, {"cycle_count": 3}])
async def test_no_notice_where_no_order_follows_without_the_promotion(
    shop: Shop, fields: dict[str, int]
) -> None:
    await promote(shop, **fields)
    when = await shop.due_in(20 * DAY, every_days=7, cycle_count=3)
    await shop.create(when)
    await shop.suite.advance(24 * DAY)
    assert await notices(shop) == []
