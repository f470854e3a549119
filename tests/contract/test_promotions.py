"""Promotions through the contracts: made by the merchant, redeemed at sign-up, read on the receipt."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from recurring.catalog.v1 import catalog_pb2

from services.catalog.application.promotions import ACTIVE_MAX
from services.runtime.rpc.conversions import from_money, to_money, to_timestamp
from tests.contract.customer import TEA_CENTS, Customer, new_customer
from tests.suite import Client, Suite, new_id, refused

Promotion = catalog_pb2.Promotion


@pytest.fixture
async def ann(suite: Suite) -> Customer:
    return await new_customer(suite)


async def promote(
    shop: Client,
    promotion: str = "spring",
    **fields: Any,  # noqa: ANN401
) -> Promotion:
    if "amount_off" not in fields:
        fields.setdefault("percent_off_bps", 1000)
    request = catalog_pb2.CreatePromotionRequest(
        parent=shop.name,
        promotion_id=promotion,
        promotion=Promotion(title=promotion.title(), **fields),
        request_id=new_id(),
    )
    made: Promotion = await shop.catalog.CreatePromotion(request)
    return made


async def end(shop: Client, promotion: str, etag: str = "") -> Promotion:
    request = catalog_pb2.EndPromotionRequest(
        name=f"{shop.name}/promotions/{promotion}", etag=etag, request_id=new_id()
    )
    ended: Promotion = await shop.catalog.EndPromotion(request)
    return ended


async def get(shop: Client, promotion: str) -> Promotion:
    request = catalog_pb2.GetPromotionRequest(name=f"{shop.name}/promotions/{promotion}")
    found: Promotion = await shop.catalog.GetPromotion(request)
    return found


async def test_a_promotion_is_as_it_was_wanted(suite: Suite) -> None:
    shop = suite.client()
    made = await promote(
        shop,
        code="SPRING",
        amount_off=to_money(200, "EUR"),
        cycle_count=3,
        redemption_limit=5,
        end_time=to_timestamp(await suite.sandbox.now() + timedelta(days=9)),
        products=[f"{shop.name}/products/tea"],
    )
    assert (made.name, made.state) == (f"{shop.name}/promotions/spring", Promotion.ACTIVE)
    assert await get(shop, "spring") == made
    listed = await shop.catalog.ListPromotions(catalog_pb2.ListPromotionsRequest(parent=shop.name))
    assert list(listed.promotions) == [made]


async def test_promotions_are_listed_by_id_page_by_page(suite: Suite) -> None:
    shop = suite.client()
    for promotion in ("spring", "autumn", "summer"):
        await promote(shop, promotion, code=promotion.upper())
    first = await shop.catalog.ListPromotions(
        catalog_pb2.ListPromotionsRequest(parent=shop.name, page_size=2)
    )
    rest = await shop.catalog.ListPromotions(
        catalog_pb2.ListPromotionsRequest(
            parent=shop.name, page_size=2, page_token=first.next_page_token
        )
    )
    listed = [[it.title for it in page.promotions] for page in (first, rest)]
    assert (listed, rest.next_page_token) == ([["Autumn", "Spring"], ["Summer"]], "")


async def test_a_redemption_is_given_back_once_and_on_record(suite: Suite) -> None:
    shop = suite.client()
    await promote(shop)
    request = catalog_pb2.BatchReleasePromotionsRequest(
        standing_orders=[f"{shop.name}/standingOrders/never-made"]
    )
    await suite.suite_client().catalog.BatchReleasePromotions(request)
    assert (await get(shop, "spring")).redemption_count == 0


async def test_a_promotion_ends_for_good(suite: Suite) -> None:
    shop = suite.client()
    made = await promote(shop)
    ended = await end(shop, "spring", made.etag)
    assert (ended.state, await end(shop, "spring")) == (Promotion.ENDED, ended)
    stale = await refused(end(shop, "spring", made.etag))
    assert (stale.code, stale.reason) == ("ABORTED", "ETAG_MISMATCH")


async def test_what_is_wrong_with_a_promotion(suite: Suite) -> None:
    shop = suite.client()
    await promote(shop, code="SPRING")
    for call in (promote(shop), promote(shop, "other", code="SPRING")):
        assert (await refused(call)).reason == "PROMOTION_ALREADY_EXISTS"
    nothing_off = promote(shop, "none", amount_off=None)
    assert (await refused(nothing_off)).fields == {"promotion": "DISCOUNT_MISSING"}
    past = promote(shop, "past", end_time=to_timestamp(await suite.sandbox.now()))
    assert list((await refused(past)).fields) == ["promotion.end_time"]
    for absent in (get(shop, "gone"), end(shop, "gone")):
        assert (await refused(absent)).reason == "PROMOTION_NOT_FOUND"


async def test_a_merchant_has_so_many_promotions_that_go_on(suite: Suite) -> None:
    shop = suite.client()
    await asyncio.gather(*(promote(shop, f"p{number}") for number in range(ACTIVE_MAX)))
    assert (await refused(promote(shop, "more"))).reason == "PROMOTIONS_TOO_MANY"
    await end(shop, "p0")
    await promote(shop, "more")


async def test_the_code_of_sign_up_is_taken_off_and_shown(ann: Customer) -> None:
    await promote(ann.shop, code="SPRING", redemption_limit=1)
    made = await ann.subscribe(promotion_code="SPRING")
    assert made.promotion_code == "SPRING"
    preview = await ann.preview(made.name)
    [line] = preview.lines
    [step] = line.adjustments
    assert (step.kind, step.promotion_title) == ("PROMOTION", "Spring")
    assert from_money(step.amount).amount_minor == -(2 * TEA_CENTS // 10)
    assert from_money(preview.amount).amount_minor == 2 * TEA_CENTS - 2 * TEA_CENTS // 10
    assert (await get(ann.shop, "spring")).redemption_count == 1


async def test_a_code_that_cannot_be_redeemed_refuses_the_sign_up(ann: Customer) -> None:
    await promote(ann.shop, "ended", code="ENDED")
    await end(ann.shop, "ended")
    await promote(ann.shop, "full", code="FULL", redemption_limit=1)
    await ann.subscribe(promotion_code="FULL")
    await promote(ann.shop, "dollars", code="DOLLARS", amount_off=to_money(100, "USD"))
    await promote(ann.shop, "other", code="OTHER", products=[f"{ann.shop.name}/products/milk"])
    for code, reason in {
        "GONE": "PROMOTION_NOT_FOUND",
        "ENDED": "PROMOTION_ENDED",
        "FULL": "PROMOTION_USED_UP",
        "DOLLARS": "PROMOTION_CURRENCY_MISMATCH",
        "OTHER": "PROMOTION_NOT_APPLICABLE",
    }.items():
        request = await ann.ask(promotion_code=code)
        request.allow_duplicate = True
        refusal = await refused(ann.shop.scheduler.CreateStandingOrder(request))
        assert refusal.fields == {"standing_order.promotion_code": reason}


async def test_of_two_that_sign_up_for_the_same_at_once_one_redeems(ann: Customer) -> None:
    await promote(ann.shop, code="SPRING", redemption_limit=2)
    answers = await asyncio.gather(
        ann.subscribe(promotion_code="SPRING"),
        ann.subscribe(promotion_code="SPRING"),
        return_exceptions=True,
    )
    assert len([answer for answer in answers if not isinstance(answer, BaseException)]) == 1
    # The other has a product of hers already; what it redeemed was given back.
    assert (await get(ann.shop, "spring")).redemption_count == 1


@pytest.mark.parametrize("code", ["spring", "-A", "A" * 33, "A B"])
async def test_a_code_is_in_capital_letters_and_digits(ann: Customer, code: str) -> None:
    request = await ann.ask(promotion_code=code)
    refusal = await refused(ann.shop.scheduler.CreateStandingOrder(request))
    assert list(refusal.fields) == ["standing_order.promotion_code"]
