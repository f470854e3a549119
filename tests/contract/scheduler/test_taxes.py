"""Taxes on what customers order: in previews, on orders and on receipts."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from google.type.postal_address_pb2 import PostalAddress
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import from_money, to_timestamp
from tests.contract.scheduler.shop import TEA_MINOR, Shop
from tests.suite import new_id, refused

DAY = timedelta(days=1)
GERMANY = PostalAddress(region_code="DE")
EXCLUSIVE = catalog_pb2.CatalogSettings.EXCLUSIVE
REVERSE_CHARGE = catalog_pb2.TaxRate.REVERSE_CHARGE


async def add_vat(
    shop: Shop,
    percent: int,
    effective: datetime | None = None,
    **fields: Any,  # noqa: ANN401
) -> catalog_pb2.TaxRate:
    """German VAT, from an instant on."""
    rate = catalog_pb2.TaxRate(
        region_code="DE", tax="vat", title="VAT", rate_ppm=percent * 10_000, **fields
    )
    if effective is not None:
        rate.effective_time.CopyFrom(to_timestamp(effective))
    request = catalog_pb2.CreateTaxRateRequest(
        parent=shop.name, tax_rate_id=f"t-{new_id()}", tax_rate=rate, request_id=new_id()
    )
    made: catalog_pb2.TaxRate = await shop.client.catalog.CreateTaxRate(request)
    return made


async def set_taxes(shop: Shop, **fields: Any) -> None:  # noqa: ANN401
    settings = catalog_pb2.CatalogSettings(name=f"{shop.name}/catalogSettings", **fields)
    request = catalog_pb2.UpdateCatalogSettingsRequest(
        catalog_settings=settings, request_id=new_id()
    )
    await shop.client.catalog.UpdateCatalogSettings(request)


async def subscribe(shop: Shop, **fields: Any) -> pb.StandingOrder:  # noqa: ANN401
    """One order of a tea, charged in two days."""
    when = await shop.due_in(2 * DAY, cycle_count=1)
    mandate = await shop.sign_up("ada")
    return await shop.create(when, billing_mode=pb.AUTOMATIC, mandate=mandate, **fields)


def amounts(line: pb.OrderLine) -> list[int]:
    """Before taxes, the taxes, and with them, in cents."""
    parts = (line.net_amount, line.tax_amount, line.gross_amount)
    return [from_money(part).amount_minor for part in parts]


async def test_a_tax_that_is_added_is_in_the_preview_on_the_order_and_on_the_receipt(
    shop: Shop,
) -> None:
    rate = await add_vat(shop, 19)
    await set_taxes(shop, tax_behavior=EXCLUSIVE)
    made = await subscribe(shop, ship_to=GERMANY)
    [cycle] = await shop.preview(made.name, 1)
    assert from_money(cycle.amount).amount_minor == TEA_MINOR + 80

    await shop.suite.advance(3 * DAY)
    order = await shop.order(made.name)
    assert (order.state, from_money(order.amount).amount_minor) == (pb.Order.PAID, 500)
    [line] = order.lines
    assert amounts(line) == [TEA_MINOR, 80, 500]
    [tax] = line.taxes
    assert (tax.tax_rate, tax.title, tax.rate_ppm, tax.treatment) == (
        rate.name, "VAT", 190_000, "CHARGED",
    )  # fmt: skip
    request = notify_pb2.ListNoticesRequest(parent=shop.customer("ada"))
    notices = (await shop.client.notify.ListNotices(request)).notices
    [receipt] = [
        notice.deliveries[0].text for notice in notices if notice.kind == notify_pb2.RECEIPT
    ]
    assert "You paid 5.00 EUR (tax 0.80 EUR) for Tea on" in receipt


async def test_a_forecast_says_what_is_paid_with_added_taxes_and_without(shop: Shop) -> None:
    await add_vat(shop, 19)
    await set_taxes(shop, tax_behavior=EXCLUSIVE)
    await subscribe(shop, ship_to=GERMANY)
    request = pb.ForecastDemandRequest(parent=shop.name)
    [entry] = (await shop.scheduler.ForecastDemand(request)).forecasts
    shown = (entry.revenue, entry.list_revenue, entry.gross_revenue)
    assert [from_money(it).amount_minor for it in shown] == [TEA_MINOR, TEA_MINOR, TEA_MINOR + 80]


async def test_a_tax_in_the_price_changes_nothing_that_is_paid(shop: Shop) -> None:
    await add_vat(shop, 5)
    made = await subscribe(shop, ship_to=GERMANY)
    [cycle] = await shop.preview(made.name, 1)
    assert [amounts(line) for line in cycle.lines] == [[400, 20, TEA_MINOR]]


async def test_where_no_rate_is_known_lines_have_no_tax(shop: Shop) -> None:
    await add_vat(shop, 19)
    await set_taxes(shop, tax_behavior=EXCLUSIVE)
    made = await subscribe(shop, ship_to=PostalAddress(region_code="FR"))
    [cycle] = await shop.preview(made.name, 1)
    [line] = cycle.lines
    assert (amounts(line), len(line.taxes)) == ([TEA_MINOR, 0, TEA_MINOR], 0)


async def test_a_business_of_another_country_owes_the_tax_itself(shop: Shop) -> None:
    await add_vat(shop, 5, tax_id_treatment=REVERSE_CHARGE)
    await set_taxes(shop, region_code="AT")
    made = await subscribe(shop, ship_to=GERMANY, tax_id="DE123456789")
    [cycle] = await shop.preview(made.name, 1)
    [line] = cycle.lines
    assert (amounts(line), line.taxes[0].treatment) == ([400, 0, 400], "REVERSE_CHARGE")


async def test_a_rise_of_a_tax_after_the_notice_is_not_charged(shop: Shop) -> None:
    await add_vat(shop, 19)
    await set_taxes(shop, tax_behavior=EXCLUSIVE)
    made = await subscribe(shop, ship_to=GERMANY)
    await shop.suite.advance(1.5 * DAY)
    await add_vat(shop, 50)
    await shop.suite.advance(1.5 * DAY)
    order = await shop.order(made.name)
    assert (order.state, from_money(order.amount).amount_minor) == (pb.Order.PAID, 500)
    assert amounts(order.lines[0]) == [TEA_MINOR, 80, 500]


@pytest.mark.parametrize(
    "tax_id", ["DE12345678", "GR123456789", "DE 123456789", "123456789", "ATX1"]
)
async def test_a_tax_id_of_no_known_form_is_refused(shop: Shop, tax_id: str) -> None:
    wanted = shop.create(await shop.due_in(2 * DAY), tax_id=tax_id)
    assert set((await refused(wanted)).fields) == {"standing_order.tax_id"}
