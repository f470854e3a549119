"""A customer accepts an offer of price protection, has it while it lasts, and changes it."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from google.protobuf import field_mask_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.scheduler.v1 import events_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import from_money, to_date, to_money, to_timestamp
from tests.contract.scheduler.shop import Shop
from tests.suite import new_id, refused

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
CENTS, RISEN = 400, 500
FIELD = "standing_order.price_protection.offer"


def offer_name(shop: Shop, offer: str = "held") -> str:
    return f"{shop.name}/priceProtectionOffers/{offer}"


def accepting(shop: Shop, offer: str = "held") -> pb.PriceProtection:
    return pb.PriceProtection(offer=offer_name(shop, offer))


async def offer(shop: Shop, offer_id: str = "held", cycles: int = 2, **fields: Any) -> None:  # noqa: ANN401
    """A lock for some cycles, unless it is something else."""
    if not {"lock", "cap"} & set(fields):
        fields["lock"] = catalog_pb2.PriceLock(cycle_count=cycles)
    await shop.client.catalog.CreatePriceProtectionOffer(
        catalog_pb2.CreatePriceProtectionOfferRequest(
            parent=shop.name,
            price_protection_offer_id=offer_id,
            price_protection_offer=catalog_pb2.PriceProtectionOffer(title="Held", **fields),
            request_id=new_id(),
        )
    )


@pytest.fixture
async def cocoa(shop: Shop) -> Shop:
    """A shop with products whose price rises reach everybody at once."""
    for product in ("cocoa", "vanilla"):
        await shop.client.catalog.CreateProduct(
            catalog_pb2.CreateProductRequest(
                parent=shop.name,
                product_id=product,
                product=catalog_pb2.Product(title=product.title(), increase_notice_days=0),
                request_id=new_id(),
            )
        )
        await shop.reprice(product, CENTS)
    return shop


async def weekly(shop: Shop, **fields: Any) -> pb.StandingOrder:  # noqa: ANN401
    """A weekly standing order that is due first in twenty days."""
    when = await shop.due_in(20 * DAY, every_days=7)
    return await shop.create(when, **{"items": [shop.item("cocoa")], **fields})


async def dearer(shop: Shop, product: str = "cocoa") -> catalog_pb2.Price:
    """A higher price; the clock stands still between calls, and one instant has one price."""
    await shop.suite.advance(HOUR)
    return await shop.reprice(product, RISEN)


async def amounts(shop: Shop, name: str, count: int = 4) -> list[int]:
    """What the coming cycles would cost, in cents."""
    return [from_money(cycle.amount).amount_minor for cycle in await shop.preview(name, count)]


async def test_an_offer_holds_the_price_for_its_cycles(cocoa: Shop) -> None:
    await offer(cocoa)
    made = await weekly(cocoa, price_protection=accepting(cocoa))
    assert made.price_protection == accepting(cocoa)
    await dearer(cocoa)
    assert await amounts(cocoa, made.name) == [CENTS, CENTS, RISEN, RISEN]


async def test_a_line_names_the_offer_the_version_that_it_beat_and_what_was_saved(
    cocoa: Shop,
) -> None:
    await offer(cocoa)
    made = await weekly(cocoa, price_protection=accepting(cocoa))
    risen = await dearer(cocoa)
    [line] = (await cocoa.preview(made.name, 1))[0].lines
    [step] = line.adjustments
    assert (step.kind, step.offer, step.beaten_price, from_money(step.amount).amount_minor) == (
        "PRICE_LOCK", offer_name(cocoa), risen.name, CENTS - RISEN,
    )  # fmt: skip
    assert (step.price, line.price) == (line.price, step.price)


async def test_a_cap_lets_the_price_rise_so_far(cocoa: Shop) -> None:
    await offer(cocoa, cap=catalog_pb2.PriceCap(increase_limit_bps=500))
    made = await weekly(cocoa, price_protection=accepting(cocoa))
    await dearer(cocoa)
    assert await amounts(cocoa, made.name, 1) == [CENTS * 105 // 100]


async def test_an_ended_offer_keeps_its_promise_to_who_accepted_it(cocoa: Shop) -> None:
    await offer(cocoa)
    made = await weekly(cocoa, price_protection=accepting(cocoa))
    await cocoa.client.catalog.EndPriceProtectionOffer(
        catalog_pb2.EndPriceProtectionOfferRequest(name=offer_name(cocoa), request_id=new_id())
    )
    await dearer(cocoa)
    assert await amounts(cocoa, made.name, 1) == [CENTS]
    refusal = await refused(weekly(cocoa, price_protection=accepting(cocoa)))
    assert refusal.fields == {FIELD: "OFFER_ENDED"}


async def test_why_an_offer_cannot_be_accepted(cocoa: Shop) -> None:
    now = await cocoa.now()
    later = to_timestamp(now + DAY)
    await offer(cocoa, "soon", start_time=later)
    await offer(cocoa, "other", products=[cocoa.product("tea")])
    await offer(cocoa, "brief", end_time=later)
    await cocoa.suite.advance(DAY)
    whys = {}
    for offer_id in ("brief", "other", "gone"):
        refusal = await refused(weekly(cocoa, price_protection=accepting(cocoa, offer_id)))
        whys[offer_id] = refusal.fields
    assert whys == {
        "brief": {FIELD: "OFFER_ENDED"},
        "other": {FIELD: "OFFER_NOT_APPLICABLE"},
        "gone": {FIELD: "OFFER_NOT_FOUND"},
    }
    await offer(cocoa, "late", start_time=to_timestamp(now + 9 * DAY))
    refusal = await refused(weekly(cocoa, price_protection=accepting(cocoa, "late")))
    assert refusal.fields == {FIELD: "OFFER_NOT_STARTED"}
    made = await weekly(cocoa, price_protection=accepting(cocoa, "soon"))
    assert made.HasField("price_protection")


async def test_an_offer_of_another_merchant_is_none(cocoa: Shop) -> None:
    foreign = pb.PriceProtection(offer="merchants/other/priceProtectionOffers/held")
    assert (await refused(weekly(cocoa, price_protection=foreign))).fields == {
        FIELD: "FIELD_INVALID"
    }


async def test_a_lock_has_one_end(cocoa: Shop) -> None:
    both = pb.PriceProtection.Lock(cycle_count=3, until_time=to_timestamp(await cocoa.now()))
    found = [
        (await refused(weekly(cocoa, price_protection=pb.PriceProtection(lock=lock)))).fields
        for lock in (both, pb.PriceProtection.Lock())
    ]
    field = "standing_order.price_protection.lock"
    assert found == [{field: "LOCK_END_AMBIGUOUS"}, {field: "LOCK_END_MISSING"}]


async def test_a_newer_offer_counts_from_the_next_cycle_without_an_order(cocoa: Shop) -> None:
    await offer(cocoa)
    made = await weekly(cocoa)
    await dearer(cocoa)
    await cocoa.suite.advance(20 * DAY)
    changed = await cocoa.update(made.name, ["price_protection"], price_protection=accepting(cocoa))
    first = changed.next_cycle
    await cocoa.suite.advance(HOUR)
    await cocoa.reprice("cocoa", 2 * RISEN)
    assert first > 1
    assert await amounts(cocoa, made.name) == [RISEN, RISEN, 2 * RISEN, 2 * RISEN]


async def test_a_protection_is_dropped(cocoa: Shop) -> None:
    made = await weekly(
        cocoa, price_protection=pb.PriceProtection(lock=pb.PriceProtection.Lock(cycle_count=9))
    )
    await dearer(cocoa)
    assert await amounts(cocoa, made.name, 1) == [CENTS]
    changed = await cocoa.update(made.name, ["price_protection"])
    assert not changed.HasField("price_protection")
    assert await amounts(cocoa, made.name, 1) == [RISEN]


async def test_an_offer_that_is_over_can_be_accepted_again(cocoa: Shop) -> None:
    await offer(cocoa, cycles=1)
    made = await weekly(cocoa, price_protection=accepting(cocoa))
    await dearer(cocoa)
    again = partial(
        cocoa.update, made.name, ["price_protection"], price_protection=accepting(cocoa)
    )
    # It holds still: nothing changes.
    assert (await again()).etag == made.etag
    await cocoa.suite.advance(20 * DAY)
    assert await amounts(cocoa, made.name, 1) == [RISEN]
    await again()
    await cocoa.suite.advance(HOUR)
    await cocoa.reprice("cocoa", 2 * RISEN)
    assert await amounts(cocoa, made.name, 2) == [RISEN, 2 * RISEN]


@pytest.mark.parametrize(("survives", "after"), [(True, CENTS), (False, RISEN)])
async def test_another_schedule_ends_a_protection_unless_the_offer_says_otherwise(
    cocoa: Shop, *, survives: bool, after: int
) -> None:
    await offer(cocoa, cycles=9, survives_schedule_changes=survives)
    made = await weekly(cocoa, price_protection=accepting(cocoa))
    await dearer(cocoa)
    daily = await cocoa.due_in(20 * DAY, every_days=3)
    changed = await cocoa.update(made.name, ["schedule"], schedule=daily)
    assert changed.HasField("price_protection") == survives
    assert await amounts(cocoa, made.name, 1) == [after]


async def test_a_pause_that_ends_on_a_new_day_ends_a_protection_as_a_schedule_does(
    cocoa: Shop,
) -> None:
    await offer(cocoa)
    made = await weekly(cocoa, price_protection=accepting(cocoa))
    await dearer(cocoa)
    await cocoa.pause(made.name)
    resumed = await cocoa.scheduler.ResumeStandingOrder(
        pb.ResumeStandingOrderRequest(
            name=made.name,
            anchor_date=to_date((await cocoa.today()) + 30 * DAY),
            request_id=new_id(),
        )
    )
    assert not resumed.HasField("price_protection")
    assert await amounts(cocoa, made.name, 1) == [RISEN]


@pytest.mark.parametrize(("protects", "vanilla"), [(True, CENTS), (False, RISEN)])
async def test_an_added_product_is_protected_if_the_offer_says_so_and_the_others_stay(
    cocoa: Shop, *, protects: bool, vanilla: int
) -> None:
    await offer(cocoa, cycles=9, protects_added_products=protects)
    made = await weekly(cocoa, price_protection=accepting(cocoa))
    await cocoa.suite.advance(HOUR)
    both = [cocoa.item("cocoa"), cocoa.item("vanilla")]
    await cocoa.update(made.name, ["items"], items=both)
    for product in ("cocoa", "vanilla"):
        await dearer(cocoa, product)
    [cycle] = await cocoa.preview(made.name, 1)
    assert [from_money(line.amount).amount_minor for line in cycle.lines] == [CENTS, vanilla]


async def test_a_preview_shows_what_an_offer_would_do(cocoa: Shop) -> None:
    await offer(cocoa)
    made = await weekly(cocoa)
    await cocoa.reprice("cocoa", RISEN, effective=await cocoa.now() + DAY)
    response = await cocoa.scheduler.PreviewStandingOrderUpdate(
        pb.PreviewStandingOrderUpdateRequest(
            standing_order=pb.StandingOrder(name=made.name, price_protection=accepting(cocoa)),
            update_mask=field_mask_pb2.FieldMask(paths=["price_protection"]),
            cycle_count=3,
        )
    )
    before, after = (
        [from_money(cycle.amount).amount_minor for cycle in cycles]
        for cycles in (response.before, response.after)
    )
    assert (before, after) == ([RISEN] * 3, [CENTS, CENTS, RISEN])


async def standing(shop: Shop, **wanted: Any) -> list[pb.StandingPriceProtection]:  # noqa: ANN401
    request = pb.ListPriceProtectionsRequest(parent=shop.name, **wanted)
    return list((await shop.scheduler.ListPriceProtections(request)).price_protections)


async def test_the_list_says_what_is_kept_how_long_and_what_it_has_saved(cocoa: Shop) -> None:
    await offer(cocoa, cycles=3)
    mandate = await cocoa.add_card("ada")
    made = await weekly(
        cocoa,
        price_protection=accepting(cocoa),
        billing_mode=pb.AUTOMATIC,
        mandate=mandate,
    )
    kept = (await cocoa.preview(made.name, 1))[0].lines[0].price
    await dearer(cocoa)
    await cocoa.suite.advance(21 * DAY)
    [protection] = await standing(cocoa)
    due = [cycle.due_time for cycle in await cocoa.preview(made.name, 2)]
    assert protection == pb.StandingPriceProtection(
        standing_order=made.name,
        customer=made.customer,
        price_protection=accepting(cocoa),
        agree_time=made.create_time,
        first_cycle=1,
        prices=[kept],
        used_cycle_count=1,
        remaining_cycle_count=2,
        end_time=due[1],
        saved_amount=to_money(RISEN - CENTS, "EUR"),
    )


async def test_the_list_has_what_is_asked_for(cocoa: Shop) -> None:
    await offer(cocoa, cycles=3)
    short = await weekly(cocoa, price_protection=accepting(cocoa))
    await cocoa.bind_phone("bob")
    capped = pb.PriceProtection(cap=pb.PriceProtection.Cap(increase_limit_bps=0))
    endless = await weekly(
        cocoa,
        customer=cocoa.customer("bob"),
        items=[cocoa.item("vanilla")],
        price_protection=capped,
    )
    await weekly(cocoa)
    far = to_timestamp(await cocoa.now() + 90 * DAY)
    asked: list[dict[str, Any]] = [
        {},
        {"customer": cocoa.customer("bob")},
        {"standing_order": short.name},
        {"product": cocoa.product("vanilla")},
        {"end_before_time": far},
        {"end_before_time": to_timestamp(await cocoa.now() + 9 * DAY)},
    ]
    found = [{it.standing_order for it in await standing(cocoa, **wanted)} for wanted in asked]
    assert found == [
        {short.name, endless.name},
        {endless.name},
        {short.name},
        {endless.name},
        {short.name},
        set(),
    ]


async def test_protections_are_listed_page_by_page_while_they_stand(cocoa: Shop) -> None:
    await offer(cocoa, cycles=1)
    made = [await weekly(cocoa, price_protection=accepting(cocoa)) for _ in range(3)]
    request = pb.ListPriceProtectionsRequest(parent=cocoa.name, page_size=2)
    first = await cocoa.scheduler.ListPriceProtections(request)
    request.page_token = first.next_page_token
    rest = await cocoa.scheduler.ListPriceProtections(request)
    pages = [len(page.price_protections) for page in (first, rest)]
    assert (pages, rest.next_page_token) == ([2, 1], "")
    await cocoa.cancel(made[0].name)
    assert len(await standing(cocoa)) == 2
    # The only protected cycle has been due.
    await cocoa.suite.advance(21 * DAY)
    assert await standing(cocoa) == []


async def endings(shop: Shop) -> list[str]:
    """What the customer was told of protections that are about to end."""
    await shop.suite.sandbox.settle()
    response = await shop.client.notify.ListNotices(
        notify_pb2.ListNoticesRequest(parent=shop.customer("ada"), page_size=1000)
    )
    kind = notify_pb2.PRICE_PROTECTION_ENDING
    return [notice.deliveries[0].text for notice in response.notices if notice.kind == kind]


async def test_a_customer_hears_once_that_a_lock_is_about_to_end(cocoa: Shop) -> None:
    await offer(cocoa, cycles=2)
    made = await weekly(cocoa, price_protection=accepting(cocoa))
    third = (await cocoa.preview(made.name, 3))[2].due_time.ToDatetime()
    # The last protected order is due in 27 days.
    await cocoa.suite.advance(12 * DAY)
    assert await endings(cocoa) == []
    await cocoa.suite.advance(2 * DAY)
    [text] = await endings(cocoa)
    assert f"apply to the orders before {third:%a %-d %b %Y}." in text
    assert "From then on you pay the price of the day." in text
    await cocoa.update(made.name, ["title"], title="Cocoa")
    await cocoa.suite.advance(14 * DAY)
    assert len(await endings(cocoa)) == 1


async def test_a_lock_until_a_day_ends_with_a_notice_too(cocoa: Shop) -> None:
    lock = catalog_pb2.PriceLock(until_time=to_timestamp(await cocoa.now() + 30 * DAY))
    await offer(cocoa, lock=lock)
    await weekly(cocoa, price_protection=accepting(cocoa))
    await cocoa.suite.advance(17 * DAY)
    assert len(await endings(cocoa)) == 1


async def test_who_orders_no_longer_or_is_protected_anew_hears_nothing(cocoa: Shop) -> None:
    await offer(cocoa, cycles=2)
    cancelled, renewed, dropped = [
        await weekly(cocoa, price_protection=accepting(cocoa)) for _ in range(3)
    ]
    # Another one ends with its protection.
    when = await cocoa.due_in(20 * DAY, every_days=7, cycle_count=2)
    await cocoa.create(when, items=[cocoa.item("cocoa")], price_protection=accepting(cocoa))
    await cocoa.cancel(cancelled.name)
    capped = pb.PriceProtection(cap=pb.PriceProtection.Cap(increase_limit_bps=0))
    await cocoa.update(renewed.name, ["price_protection"], price_protection=capped)
    await cocoa.update(dropped.name, ["price_protection"])
    await cocoa.suite.advance(20 * DAY)
    assert await endings(cocoa) == []


async def test_the_event_names_the_offer_and_both_times(cocoa: Shop) -> None:
    await offer(cocoa, cycles=2)
    async with cocoa.suite.subscribe_events() as subscription:
        made = await weekly(cocoa, price_protection=accepting(cocoa))
        due = [cycle.due_time for cycle in await cocoa.preview(made.name, 3)]
        await cocoa.suite.advance(14 * DAY)
        published = await subscription.next(events_pb2.PriceProtectionEnding, cocoa.client.merchant)
    event = published.message
    assert (event.standing_order, event.offer) == (made.name, offer_name(cocoa))
    assert [event.end_time, event.first_unprotected_time] == due[1:]
