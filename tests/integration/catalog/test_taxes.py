"""Taxes in quotes: by category, by instant, by document, and of each merchant its own."""

from datetime import datetime
from typing import Any

from recurring.catalog.v1 import catalog_pb2 as pb

from services.runtime.rpc.conversions import to_timestamp
from tests.integration.catalog.shop import MERCHANT, NOW, SUITE, Shop, cents, day, item

EXCLUSIVE = pb.CatalogSettings.EXCLUSIVE
DOCUMENT = pb.CatalogSettings.DOCUMENT


async def add_rate(
    shop: Shop,
    percent: int,
    effective: datetime = NOW,
    **fields: Any,  # noqa: ANN401
) -> str:
    """A rate of German VAT unless the fields say otherwise; returns its name."""
    usual: dict[str, Any] = {"region_code": "DE", "tax": "vat", "title": "VAT"}
    rate = pb.TaxRate(
        rate_ppm=percent * 10_000, effective_time=to_timestamp(effective), **usual | fields
    )
    rate_id = f"{rate.region_code}-{rate.tax}-{rate.tax_category}-{percent}".lower()
    request = pb.CreateTaxRateRequest(parent=MERCHANT, tax_rate_id=rate_id, tax_rate=rate)
    return str((await shop.call("CreateTaxRate", request)).name)


async def set_taxes(shop: Shop, **fields: Any) -> None:  # noqa: ANN401
    settings = pb.CatalogSettings(name=f"{MERCHANT}/catalogSettings", **fields)
    await shop.call(
        "UpdateCatalogSettings", pb.UpdateCatalogSettingsRequest(catalog_settings=settings)
    )


def cart(
    *items: pb.Item, at: datetime = NOW, region: str = "DE", merchant: str = MERCHANT
) -> pb.Cart:
    return pb.Cart(
        standing_order=f"{merchant}/standingOrders/weekly",
        cycle=1,
        items=items,
        price_time=to_timestamp(at),
        region_code=region,
    )


async def quoted(shop: Shop, *carts: pb.Cart) -> list[tuple[int, list[int]]]:
    """Of each cart its total, and the taxes of its lines, in cents."""
    answer = await shop.call("BatchQuote", pb.BatchQuoteRequest(carts=carts), SUITE)
    return [
        (
            cents(result.quote.total),
            [cents(answer.lines[index].tax_amount) for index in result.quote.line_indexes],
        )
        for result in answer.results
    ]


async def test_carts_have_the_taxes_of_their_instant_destination_and_categories(
    shop: Shop,
) -> None:
    await shop.sell("tea", 1000)
    await shop.sell("bread", 1000, tax_category="food")
    await set_taxes(shop, tax_behavior=EXCLUSIVE)
    await add_rate(shop, 19)
    await add_rate(shop, 21, day(10))
    await add_rate(shop, 7, tax_category="food")
    await add_rate(shop, 20, region_code="AT")
    assert await quoted(
        shop,
        cart(item("tea"), item("bread")),
        cart(item("tea"), at=day(10)),
        cart(item("tea"), item("bread"), region="AT-9"),
        cart(item("tea"), region="FR"),
        cart(item("tea"), region=""),
    ) == [
        (2260, [190, 70]), (1210, [210]), (2400, [200, 200]), (1000, [0]), (1000, [0]),
    ]  # fmt: skip


async def test_an_order_without_an_address_has_the_taxes_of_where_the_merchant_is(
    shop: Shop,
) -> None:
    await shop.sell("tea", 1190)
    await add_rate(shop, 19)
    await set_taxes(shop, region_code="DE-BE")
    assert await quoted(shop, cart(item("tea"), region="")) == [(1190, [190])]


async def test_a_document_is_rounded_once(shop: Shop) -> None:
    for product in ("tea", "milk", "salt"):
        await shop.sell(product, 4)
    await add_rate(shop, 10)
    items = (item("tea"), item("milk"), item("salt"))
    await set_taxes(shop, tax_behavior=EXCLUSIVE)
    assert await quoted(shop, cart(*items)) == [(12, [0, 0, 0])]
    await set_taxes(shop, tax_behavior=EXCLUSIVE, tax_rounding=DOCUMENT)
    assert await quoted(shop, cart(*items)) == [(13, [1, 0, 0])]


async def test_a_withdrawn_rate_is_on_no_line(shop: Shop) -> None:
    await shop.sell("tea", 1000)
    await set_taxes(shop, tax_behavior=EXCLUSIVE)
    await add_rate(shop, 19)
    name = await add_rate(shop, 91, day(5))
    await shop.call("WithdrawTaxRate", pb.WithdrawTaxRateRequest(name=name))
    assert await quoted(shop, cart(item("tea"), at=day(6))) == [(1190, [190])]


async def test_with_its_taxes_a_cart_can_be_too_dear(shop: Shop) -> None:
    await shop.sell("palace", 10**12 - 1)
    await set_taxes(shop, tax_behavior=EXCLUSIVE)
    await add_rate(shop, 1)
    request = pb.BatchQuoteRequest(carts=[cart(item("palace"))])
    [result] = (await shop.call("BatchQuote", request, SUITE)).results
    [problem] = result.problems.problems
    assert problem.reason == pb.ItemProblem.TOTAL_TOO_LARGE
