"""Reports of a merchant's sales and taxes, as its accountant gets them."""

from datetime import timedelta
from typing import Any

import pytest
from google.type.postal_address_pb2 import PostalAddress
from recurring.catalog.v1 import catalog_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.rpc.conversions import from_money, to_date, to_money, to_timestamp
from tests.contract.customer import NOTICE_LEAD, TEA_CENTS, Customer, add_product, new_customer
from tests.contract.every_call import Call, platform_calls
from tests.suite import Suite, new_id, refused

DUE = NOTICE_LEAD + timedelta(days=3)
FIELDS = ("net_amount", "tax_amount", "refunded_net_amount", "refunded_tax_amount")


@pytest.fixture
async def ann(suite: Suite) -> Customer:
    """Ann, who has tea and milk delivered to Germany, where they are taxed at two rates."""
    ann = await new_customer(suite)
    await add_product(ann.shop, "milk", 100, tax_category="food")
    for rate, category, rate_ppm in (("vat", "standard", 190_000), ("food", "food", 70_000)):
        wanted = catalog_pb2.TaxRate(
            region_code="DE", tax="vat", title="VAT", tax_category=category, rate_ppm=rate_ppm
        )
        await ann.shop.catalog.CreateTaxRate(
            catalog_pb2.CreateTaxRateRequest(
                parent=ann.shop.name, tax_rate_id=rate, tax_rate=wanted, request_id=new_id()
            )
        )
    items = [
        scheduler_pb2.Item(product=f"{ann.shop.name}/products/{product}", quantity=2)
        for product in ("tea", "milk")
    ]
    address = PostalAddress(region_code="DE", address_lines=["Kai 1"], locality="Hamburg")
    request = await ann.ask(items=items, ship_to=address)
    request.standing_order_id = "weekly"
    await ann.shop.scheduler.CreateStandingOrder(request)
    await suite.advance(DUE)
    return ann


def calls_of(ann: Customer) -> dict[str, Call]:
    return {call.method: call for call in platform_calls(ann.shop.merchant)}


async def pages(ann: Customer, method: str, field: str) -> list[Any]:
    """The rows of a report, a page each."""
    rows: list[Any] = []
    token = ""
    while not rows or token:
        page = await calls_of(ann)[method].make(ann.shop, page_size=1, page_token=token)
        [row] = getattr(page, field)
        rows.append(row)
        token = page.next_page_token
    return rows


async def test_sales_and_taxes_are_reported_as_they_were_booked(ann: Customer) -> None:
    calls = calls_of(ann)
    accounts = (await calls["ListLedgerAccounts"].make(ann.shop)).ledger_accounts
    balances = {it.name: from_money(it.balance).amount_minor for it in accounts}
    milk, tea = await pages(ann, "ListProductSales", "product_sales")
    assert [(it.title, it.quantity, it.charge_count) for it in (milk, tea)] == [
        ("Milk", 2, 1),
        ("Tea", 2, 1),
    ]
    sold_minor = sum(from_money(it.net_amount).amount_minor for it in (milk, tea))
    assert sold_minor == -balances[f"{ann.shop.name}/ledgerAccounts/revenue"]
    taxes = await pages(ann, "ListTaxSummaries", "tax_summaries")
    assert [(it.region_code, it.rate_ppm) for it in taxes] == [("DE", 70_000), ("DE", 190_000)]
    for tax in taxes:
        assert from_money(tax.tax_amount).amount_minor == -balances[tax.account]
        assert tax.refunded_tax_amount == to_money(0, "EUR")

    refund = calls["CreateRefund"]
    refund.request.refund.Clear()
    await refund.make(ann.shop, request_id=new_id())
    await ann.suite.sandbox.settle()
    for method, field in (
        ("ListProductSales", "product_sales"),
        ("ListTaxSummaries", "tax_summaries"),
    ):
        for row in getattr(await calls[method].make(ann.shop), field):
            net, tax, refunded_net, refunded_tax = (getattr(row, name) for name in FIELDS)
            assert (refunded_net, refunded_tax) == (net, tax)
    await calls["CancelStandingOrder"].make(ann.shop, request_id=new_id())
    period = f"{ann.name}/statements/{(await ann.today()).year}"
    [sums] = (await calls["GetStatement"].make(ann.shop, name=period)).sums
    assert sums.closing_amount == to_money(0, "EUR")
    assert sums.invoiced_amount == sums.refunded_amount
    file = await calls["DownloadStatement"].make(ann.shop, name=period)
    assert file.file_name.endswith(".html")


async def test_what_is_owed_and_what_was_recovered_is_reported(suite: Suite) -> None:
    ann = await new_customer(suite)
    await add_product(ann.shop, "dollars", 500, "USD")
    poor = f"{ann.name}/paymentMethods/poor"
    await ann.shop.payments.CreatePaymentMethod(
        payments_pb2.CreatePaymentMethodRequest(
            parent=ann.name,
            payment_method_id="poor",
            payment_method=payments_pb2.PaymentMethod(
                provider_token="pm_card_chargeDeclinedInsufficientFunds"
            ),
            request_id=new_id(),
        )
    )
    mandate = await ann.shop.payments.CreateMandate(
        payments_pb2.CreateMandateRequest(
            parent=ann.name,
            mandate_id="poor",
            mandate=payments_pb2.Mandate(
                payment_method=poor,
                charge_ceiling=to_money(100_000, "EUR"),
                evidence=payments_pb2.Mandate.Evidence(
                    text="Yes.", accept_time=to_timestamp(await suite.sandbox.now())
                ),
            ),
            request_id=new_id(),
        )
    )
    orders = [await ann.subscribe(mandate=mandate.name)]
    for product in ("tea", "dollars"):
        item = scheduler_pb2.Item(product=f"{ann.shop.name}/products/{product}", quantity=1)
        request = await ann.ask(items=[item], billing_mode=scheduler_pb2.PAY_ON_NOTICE, mandate="")
        request.allow_duplicate = True
        orders.append(await ann.shop.scheduler.CreateStandingOrder(request))
    await suite.advance(DUE)
    euros, dollars = await pages(ann, "ListReceivables", "receivables")
    assert {it.customer for it in (euros, dollars)} == {ann.name}
    # Tea on request, and what was declined.
    assert (euros.amount, euros.charge_count) == (to_money(3 * TEA_CENTS, "EUR"), 2)
    assert dollars.amount == to_money(500, "USD")

    week_ago = await ann.today() - timedelta(days=7)
    await suite.advance(timedelta(days=2))
    call = calls_of(ann)["ListDunningOutcomes"]
    call.request.start_date.CopyFrom(to_date(week_ago))
    first = await call.make(ann.shop, page_size=1)
    second = await call.make(ann.shop, page_size=1, page_token=first.next_page_token)
    [declined], [retried] = first.dunning_outcomes, second.dunning_outcomes
    assert (declined.attempt_number, declined.attempt_count, declined.open_count) == (1, 1, 0)
    assert (retried.attempt_number, retried.attempt_count, retried.open_count) == (2, 1, 1)
    for order in orders:
        await ann.shop.scheduler.CancelStandingOrder(
            scheduler_pb2.CancelStandingOrderRequest(name=order.name, request_id=new_id())
        )


async def test_days_that_are_none_are_refused(suite: Suite) -> None:
    shop = suite.client()
    for call in platform_calls(shop.merchant):
        if not (call.takes("start_date") and call.takes("time_zone")):
            continue
        for year, field in ((1969, "start_date"), (2099, "end_date")):
            call.request.start_date.year = year
            call.request.start_date.month = call.request.start_date.day = 1
            assert set((await refused(call.make(shop))).fields) == {field}
        call.request.ClearField("start_date")
        refusal = await refused(call.make(shop, time_zone="Middle/Earth"))
        assert set(refusal.fields) == {"time_zone"}
    for call in platform_calls(shop.merchant):
        if call.method in {"GetStatement", "DownloadStatement"}:
            never = f"{shop.name}/customers/ann/statements/never"
            assert set((await refused(call.make(shop, name=never))).fields) == {"name"}
    owed = payments_pb2.ListReceivablesRequest(parent=shop.name, time_zone="Middle/Earth")
    owed.as_of_time.seconds = -1
    refusal = await refused(shop.payments.ListReceivables(owed))
    assert set(refusal.fields) == {"as_of_time", "time_zone"}
