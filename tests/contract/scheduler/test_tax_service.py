"""A merchant whose taxes a tax service works out: nothing is charged without them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, time, timedelta

import pytest
from recurring.catalog.v1 import catalog_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import from_money
from tests.contract.scheduler.shop import TEA_MINOR, Shop, daily
from tests.suite import new_id, refused

DAY = timedelta(days=1)
# Of 4.20 EUR: 19 % are 79.8 cents.
TAX_MINOR = 80


@pytest.fixture
async def taxed_shop(shop: Shop) -> AsyncIterator[Shop]:
    """A German merchant whose prices have no taxes in them."""
    settings = catalog_pb2.CatalogSettings(
        name=f"{shop.name}/catalogSettings",
        region_code="DE",
        tax_behavior=catalog_pb2.CatalogSettings.EXCLUSIVE,
        tax_source=catalog_pb2.CatalogSettings.TAX_SERVICE,
    )
    await shop.client.catalog.UpdateCatalogSettings(
        catalog_pb2.UpdateCatalogSettingsRequest(catalog_settings=settings, request_id=new_id())
    )
    yield shop
    await shop.suite.sandbox.switch_outage("tax", on=False)


async def subscribe(shop: Shop, after: timedelta = 2 * DAY) -> pb.StandingOrder:
    """One tea, charged by itself."""
    mandate = await shop.add_card("ada")
    when = await shop.due_in(after, cycle_count=1)
    return await shop.create(when, billing_mode=pb.AUTOMATIC, mandate=mandate)


async def test_orders_have_the_taxes_of_the_service_on_their_lines(taxed_shop: Shop) -> None:
    made = await subscribe(taxed_shop)
    await taxed_shop.suite.advance(2.2 * DAY)
    order = await taxed_shop.order(made.name)
    assert order.state == pb.Order.PAID
    assert from_money(order.amount).amount_minor == TEA_MINOR + TAX_MINOR
    [tax] = order.lines[0].taxes
    assert (tax.title, tax.rate_ppm, tax.tax_rate) == ("VAT", 190_000, "")
    assert from_money(tax.amount).amount_minor == TAX_MINOR


async def test_a_cycle_waits_for_its_taxes_and_its_customer_hears_nothing_of_that(
    taxed_shop: Shop,
) -> None:
    made = await subscribe(taxed_shop, 1.2 * DAY)
    await taxed_shop.suite.sandbox.switch_outage("tax", on=True)
    # Longer than anything else is waited for.
    await taxed_shop.suite.advance(4.4 * DAY)
    assert await taxed_shop.outcomes(made.name) == [(1, "HELD", ["TAX_UNAVAILABLE"])]
    assert "ORDER_HELD" not in await taxed_shop.notice_kinds()
    assert await taxed_shop.charge_states() == {}
    await taxed_shop.suite.sandbox.switch_outage("tax", on=False)
    await taxed_shop.suite.advance(1.2 * DAY)
    assert await taxed_shop.outcomes(made.name) == [(1, "PAID", [])]
    assert from_money((await taxed_shop.order(made.name)).amount).amount_minor == 500


async def test_an_announced_order_is_not_charged_while_its_taxes_are_not_known(
    taxed_shop: Shop,
) -> None:
    made = await subscribe(taxed_shop)
    await taxed_shop.suite.advance(1.5 * DAY)
    await taxed_shop.suite.sandbox.switch_outage("tax", on=True)
    await taxed_shop.suite.advance(1 * DAY)
    assert await taxed_shop.outcomes(made.name) == [(1, "HELD", ["TAX_UNAVAILABLE"])]
    await taxed_shop.suite.sandbox.switch_outage("tax", on=False)
    await taxed_shop.suite.advance(timedelta(hours=2))
    assert await taxed_shop.outcomes(made.name) == [(1, "PAID", [])]


async def test_an_order_that_waits_is_forecast_at_the_price_that_it_will_have(
    taxed_shop: Shop,
) -> None:
    start = await taxed_shop.today() + 3 * DAY
    await taxed_shop.create(daily(start, cycle_count=1))
    await taxed_shop.suite.sandbox.switch_outage("tax", on=True)
    # Past its due time, on its day.
    evening = datetime.combine(start, time(22), UTC)
    await taxed_shop.suite.advance(evening - await taxed_shop.now())
    await taxed_shop.reprice("tea", 200)
    await taxed_shop.suite.sandbox.switch_outage("tax", on=False)
    response = await taxed_shop.scheduler.ForecastDemand(
        pb.ForecastDemandRequest(parent=taxed_shop.name)
    )
    assert [from_money(entry.revenue).amount_minor for entry in response.forecasts] == [200]


async def test_nobody_signs_up_to_a_price_whose_taxes_are_not_known(taxed_shop: Shop) -> None:
    await taxed_shop.suite.sandbox.switch_outage("tax", on=True)
    refusal = await refused(subscribe(taxed_shop))
    assert refusal.reason == "DEPENDENCY_UNAVAILABLE"
