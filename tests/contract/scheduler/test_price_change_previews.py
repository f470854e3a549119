"""A merchant sees whom a price change would touch, from when on, and what it brings."""

from datetime import timedelta
from typing import Any

import pytest
from google.type import money_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import from_money, to_date, to_money, to_timestamp
from tests.contract.scheduler.shop import TEA_MINOR, Shop, daily, day_of
from tests.suite import new_id, refused

DAY = timedelta(days=1)
RISE_MINOR, DROP_MINOR = TEA_MINOR + 80, TEA_MINOR - 70
Group = pb.PriceChangeGroup


def minor(money: money_pb2.Money) -> int:
    return from_money(money).amount_minor


def draft(
    shop: Shop,
    amount_minor: int,
    product: str = "tea",
    **fields: Any,  # noqa: ANN401 - fields of a price
) -> catalog_pb2.DraftPrice:
    unit_price = to_money(amount_minor, "EUR")
    price = catalog_pb2.Price(**{"unit_price": unit_price, **fields})
    return catalog_pb2.DraftPrice(product=shop.product(product), price=price)


async def previewed(
    shop: Shop,
    **fields: Any,  # noqa: ANN401 - fields of the request
) -> pb.PreviewPriceChangeResponse:
    return await shop.scheduler.PreviewPriceChange(pb.PreviewPriceChangeRequest(**fields))


async def weekly(shop: Shop, customer: str = "ada", **changes: object) -> pb.StandingOrder:
    """Due in 3 days, and then every 7."""
    when = await shop.due_in(3 * DAY, every_days=7)
    return await shop.create(when, customer=shop.customer(customer), **changes)


async def test_a_drop_reaches_all_from_the_first_cycle_on(shop: Shop) -> None:
    made = await weekly(shop, items=[shop.item("tea", 2), shop.item("coffee")])
    effective = to_timestamp(await shop.now() + 5 * DAY)
    seen = await previewed(shop, draft=draft(shop, DROP_MINOR, effective_time=effective))
    assert (seen.customer_count, seen.standing_order_count) == (1, 1)
    [group] = seen.groups
    assert group.timing == Group.AT_ONCE
    [first] = group.first_cycles
    start = day_of(made.schedule.start_date)
    assert (day_of(first.date), first.standing_order_count) == (start + 7 * DAY, 1)
    # The cycles of days 10, 17, 24 and 31: the span is of days 5 to 35.
    assert seen.cycle_count == 4
    assert minor(seen.gross_revenue) == 4 * 2 * DROP_MINOR
    assert minor(seen.previous_gross_revenue) == 4 * 2 * TEA_MINOR


async def test_a_rise_is_split_by_what_keeps_each_from_it(shop: Shop) -> None:
    for customer in ("bob", "eve", "joe"):
        await shop.bind_phone(customer)
    await weekly(shop)
    lock = pb.PriceProtection(lock=pb.PriceProtection.Lock(cycle_count=8))
    await weekly(shop, "bob", price_protection=lock)
    half = pb.PriceProtection(cap=pb.PriceProtection.Cap(increase_limit_bps=952))
    await weekly(shop, "eve", price_protection=half)
    closed = pb.PriceProtection(cap=pb.PriceProtection.Cap(increase_limit_bps=0))
    await weekly(shop, "joe", price_protection=closed)
    effective = to_timestamp(await shop.now() + 5 * DAY)
    end = to_date((await shop.now() + 70 * DAY).date())
    seen = await previewed(
        shop, draft=draft(shop, RISE_MINOR, effective_time=effective), end_date=end
    )
    now = await shop.today()
    assert [
        (group.timing, [(day_of(it.date) - now).days for it in group.first_cycles])
        for group in seen.groups
    ] == [
        (Group.AFTER_NOTICE, [31]),
        (Group.AFTER_LOCK, [59]),
        (Group.UP_TO_CAP, [31]),
        (Group.NEVER, []),
    ]
    assert (seen.customer_count, seen.standing_order_count) == (3, 3)
    notice, lock_group, cap, never = (
        minor(group.gross_revenue) - minor(group.previous_gross_revenue) for group in seen.groups
    )
    # The cycles of days 31, 38, 45, 52, 59 and 66.
    assert (notice, lock_group, cap, never) == (6 * 80, 2 * 80, 6 * 39, 0)
    assert seen.cycle_count == 14


async def test_it_says_what_then_happens(shop: Shop) -> None:
    """The preview of a draft, that of the version which is then scheduled, and the bills agree."""
    made = await weekly(shop)
    effective = await shop.now() + 5 * DAY
    wanted = draft(shop, RISE_MINOR, effective_time=to_timestamp(effective))
    of_draft = await previewed(shop, draft=wanted)
    price = await shop.reprice("tea", RISE_MINOR, effective=effective)
    assert await previewed(shop, price=price.name) == of_draft
    [group] = of_draft.groups
    [first] = group.first_cycles
    # The customer has a notice of it.
    await shop.suite.sandbox.settle()
    shown = await shop.preview(made.name)
    dearer = [it for it in shown if minor(it.amount) == RISE_MINOR]
    assert day_of(dearer[0].local_date) == day_of(first.date)


async def test_an_announced_amount_falls_and_does_not_rise(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(2 * DAY, cycle_count=1))
    await shop.suite.advance(1.5 * DAY)
    assert await shop.outcomes(made.name) == [(1, "UPCOMING", [])]
    risen = await previewed(shop, draft=draft(shop, RISE_MINOR))
    fallen = await previewed(shop, draft=draft(shop, DROP_MINOR))
    assert [minor(it.gross_revenue) for it in (risen, fallen)] == [TEA_MINOR, DROP_MINOR]


async def test_who_has_the_product_twice_is_one_customer(shop: Shop) -> None:
    await weekly(shop, title="Breakfast")
    await weekly(shop, title="Office")
    await weekly(shop, items=[shop.item("coffee")])
    seen = await previewed(shop, draft=draft(shop, DROP_MINOR))
    assert (seen.customer_count, seen.standing_order_count) == (1, 2)


async def test_nothing_is_stored_of_a_draft(shop: Shop) -> None:
    await weekly(shop)
    await previewed(shop, draft=draft(shop, DROP_MINOR))
    request = catalog_pb2.ListPricesRequest(parent=shop.product("tea"))
    assert len((await shop.client.catalog.ListPrices(request)).prices) == 1


async def test_a_price_in_another_currency_touches_nobody(shop: Shop) -> None:
    await weekly(shop)
    price = catalog_pb2.Price(unit_price=to_money(1, "USD"))
    wanted = catalog_pb2.DraftPrice(product=shop.product("tea"), price=price)
    seen = await previewed(shop, draft=wanted)
    assert (seen.customer_count, minor(seen.gross_revenue)) == (0, 0)


async def test_a_span_that_is_past_or_backward_or_too_long_is_refused(shop: Shop) -> None:
    today = await shop.today()
    for first, last, field in (
        (today - DAY, None, "start_date"),
        (today, today - DAY, "end_date"),
        (today, today + 367 * DAY, "end_date"),
    ):
        end = to_date(last) if last else None
        refusal = await refused(
            previewed(shop, draft=draft(shop, DROP_MINOR), start_date=to_date(first), end_date=end)
        )
        assert refusal.fields == {field: "OUT_OF_RANGE"}


async def test_a_preview_that_is_too_large_says_to_ask_for_less(shop: Shop) -> None:
    start = await shop.today() + 5 * DAY
    for number in range(137):
        await shop.create(daily(start), title=f"Tea {number}")
    first, last = to_date(start), to_date(start + 366 * DAY)
    wanted = previewed(shop, draft=draft(shop, DROP_MINOR), start_date=first, end_date=last)
    refusal = await refused(wanted)
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "FORECAST_TOO_LARGE")
    assert refusal.fields == {"end_date": "FORECAST_TOO_LARGE"}


async def test_a_version_that_does_not_stand_is_refused(shop: Shop) -> None:
    price = await shop.reprice("tea", RISE_MINOR, effective=await shop.now() + 5 * DAY)
    await shop.withdraw_price(price)
    refusal = await refused(previewed(shop, price=price.name))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "PRICE_WITHDRAWN")
    refusal = await refused(previewed(shop, price=f"{shop.product('tea')}/prices/unknown"))
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "PRICE_NOT_FOUND")


async def test_a_draft_of_what_is_not_sold_is_refused(shop: Shop) -> None:
    refusal = await refused(previewed(shop, draft=draft(shop, RISE_MINOR, "unknown")))
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "PRODUCT_NOT_FOUND")
    request = catalog_pb2.DiscontinueProductRequest(name=shop.product("tea"), request_id=new_id())
    await shop.client.catalog.DiscontinueProduct(request)
    refusal = await refused(previewed(shop, draft=draft(shop, RISE_MINOR)))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "PRODUCT_DISCONTINUED")


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"unit_price": None}, "draft.price.unit_price", "FIELD_INVALID"),
        ({"subscriber_discount_bps": 10_000}, "draft.price.subscriber_discount_bps", ""),
        (
            {
                "tier_mode": catalog_pb2.Price.VOLUME,
                "tiers": [catalog_pb2.PriceTier(first_quantity=5, unit_price=to_money(900, "EUR"))],
            },
            "draft.price.tiers[0].unit_price",
            "TIER_DEARER",
        ),
    ],
)
async def test_a_draft_breaks_the_rules_that_a_price_would(
    shop: Shop, fields: dict[str, Any], field: str, reason: str
) -> None:
    refusal = await refused(previewed(shop, draft=draft(shop, RISE_MINOR, **fields)))
    assert refusal.code == "INVALID_ARGUMENT"
    assert list(refusal.fields) == [field]
    assert refusal.fields[field] == (reason or refusal.fields[field])


async def test_nobody_previews_for_another_merchant(shop: Shop) -> None:
    other = shop.suite.client().scheduler
    request = pb.PreviewPriceChangeRequest(draft=draft(shop, RISE_MINOR))
    refusal = await refused(other.PreviewPriceChange(request))
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "MERCHANT_FORBIDDEN")
