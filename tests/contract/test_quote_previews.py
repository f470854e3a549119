"""What a cart would cost, for who has not signed up yet and for who has."""

from datetime import timedelta
from typing import Any

import pytest
from google.protobuf import timestamp_pb2
from recurring.catalog.v1 import catalog_pb2

from services.runtime.rpc.conversions import from_money, to_money, to_timestamp
from tests.contract.customer import TEA_CENTS, Customer, new_customer
from tests.contract.test_promotions import end, promote
from tests.suite import Suite, new_id, refused

NO_TIME = timestamp_pb2.Timestamp(seconds=2**62)
PROBLEM = catalog_pb2.PromotionProblem


@pytest.fixture
async def ann(suite: Suite) -> Customer:
    return await new_customer(suite)


async def previewed(
    ann: Customer,
    quantity: int = 1,
    **fields: Any,  # noqa: ANN401 - of the request
) -> catalog_pb2.PreviewQuoteResponse:
    items = [catalog_pb2.Item(product=f"{ann.shop.name}/products/tea", quantity=quantity)]
    request = catalog_pb2.PreviewQuoteRequest(**{"parent": ann.shop.name, "items": items, **fields})
    answer: catalog_pb2.PreviewQuoteResponse = await ann.shop.catalog.PreviewQuote(request)
    return answer


def steps(answer: catalog_pb2.PreviewQuoteResponse) -> list[tuple[str, int]]:
    [line] = answer.lines
    return [
        (catalog_pb2.PriceAdjustment.Kind.Name(it.kind), from_money(it.amount).amount_minor)
        for it in line.adjustments
    ]


async def test_a_new_customer_sees_the_price_the_promotion_and_the_tax(ann: Customer) -> None:
    await promote(ann.shop, code="SPRING")
    rate = catalog_pb2.TaxRate(region_code="DE", tax="vat", title="VAT", rate_ppm=190_000)
    request = catalog_pb2.CreateTaxRateRequest(
        parent=ann.shop.name, tax_rate_id="vat-de", tax_rate=rate, request_id=new_id()
    )
    await ann.shop.catalog.CreateTaxRate(request)
    answer = await previewed(ann, 10, promotion_code="SPRING", region_code="DE")
    assert steps(answer) == [("PROMOTION", -TEA_CENTS)]
    assert from_money(answer.total).amount_minor == 9 * TEA_CENTS
    assert from_money(answer.saved_amount).amount_minor == TEA_CENTS
    [applied] = answer.applied_tax_rates
    assert (applied.title, applied.rate_ppm) == ("VAT", 190_000)
    [line] = answer.lines
    assert line.taxes[0].amount == line.tax_amount


async def test_a_quote_redeems_nothing(ann: Customer) -> None:
    made = await promote(ann.shop, code="SPRING", redemption_limit=1)
    for _ in range(2):
        answer = await previewed(ann, promotion_code="SPRING")
        assert (answer.promotion_problem, len(steps(answer))) == (0, 1)
    request = catalog_pb2.GetPromotionRequest(name=made.name)
    assert (await ann.shop.catalog.GetPromotion(request)).redemption_count == 0


async def test_a_code_that_takes_nothing_off_is_said_beside_the_price(ann: Customer) -> None:
    await promote(ann.shop, code="SPRING")
    await end(ann.shop, "spring")
    for code, problem in (
        ("SPRING", PROBLEM.Value("PROMOTION_ENDED")),
        ("SUMMER", PROBLEM.Value("PROMOTION_NOT_FOUND")),
    ):
        answer = await previewed(ann, promotion_code=code)
        assert answer.promotion_problem == problem
        assert from_money(answer.total).amount_minor == TEA_CENTS


async def test_who_has_signed_up_keeps_the_old_price_that_a_new_customer_does_not_get(
    ann: Customer,
) -> None:
    request = await ann.ask()
    request.standing_order_id = "weekly"
    await ann.shop.scheduler.CreateStandingOrder(request)
    now = await ann.suite.sandbox.now()
    price = catalog_pb2.Price(
        unit_price=to_money(TEA_CENTS + 100, "EUR"),
        effective_time=to_timestamp(now + timedelta(hours=1)),
    )
    await ann.shop.catalog.CreatePrice(
        catalog_pb2.CreatePriceRequest(
            parent=f"{ann.shop.name}/products/tea",
            price_id="dear",
            price=price,
            request_id=new_id(),
        )
    )
    at = to_timestamp(now + timedelta(hours=2))
    assert steps(await previewed(ann, price_time=at)) == []
    weekly = f"{ann.shop.name}/standingOrders/weekly"
    kept = await previewed(ann, price_time=at, standing_order=weekly)
    assert steps(kept) == [("INCREASE_NOT_YET_NOTIFIED", -100)]
    assert from_money(kept.total).amount_minor == TEA_CENTS


async def test_a_cart_without_a_price_has_problems(ann: Customer) -> None:
    gone = catalog_pb2.Item(product=f"{ann.shop.name}/products/gone", quantity=1)
    answer = await previewed(ann, items=[gone])
    [problem] = answer.problems
    assert problem.reason == catalog_pb2.ItemProblem.PRODUCT_NOT_FOUND
    assert not answer.HasField("total")


async def test_what_is_wrong_with_a_cart_is_named_by_its_field(ann: Customer) -> None:
    weekly = f"{ann.shop.name}/standingOrders/weekly"
    for fields, field in (
        ({"standing_order": weekly, "promotion_code": "SPRING"}, "promotion_code"),
        ({"currency": "ABC"}, "currency"),
        ({"price_time": NO_TIME}, "price_time"),
    ):
        refusal = await refused(previewed(ann, **fields))
        assert (refusal.code, list(refusal.fields)) == ("INVALID_ARGUMENT", [field])
