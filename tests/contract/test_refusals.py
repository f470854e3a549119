"""Reasons that many methods share: not found, changed meanwhile, ended, out of range, cut off."""

from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.message import Message
from google.type import timeofday_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.money import AMOUNT_MINOR_MAX
from services.runtime.rpc.conversions import to_date, to_timestamp
from tests.contract.customer import Customer, add_product, new_customer
from tests.contract.every_call import FAR, Call, platform_calls
from tests.suite import Refusal, Suite, new_id, refused

STALE = '"999"'
PRICES_MAX = 1000
PRICES_AT_ONCE = 100
# Where an update has its etag.
RESOURCES = (
    "product",
    "standing_order",
    "scheduler_settings",
    "dunning_policy",
    "dispute_policy",
    "document_settings",
    "payment_routing",
    "ledger_settings",
    "catalog_settings",
    "contact",
    "notify_settings",
    "webhook_endpoint",
    "rule_pack",
    "capacity",
)


@pytest.fixture
async def ann(suite: Suite) -> AsyncIterator[Customer]:
    """Ann, whose standing order `weekly` is the one of every call."""
    ann = await new_customer(suite)
    request = await ann.ask()
    request.standing_order_id = "weekly"
    await ann.shop.scheduler.CreateStandingOrder(request)
    await add_product(ann.shop, "visit", capacity_by_day=True)
    for method in ("CreateTaxRate", "CreatePromotion", "CreatePriceProtectionOffer"):
        await calls_of(ann)[f"catalog.{method}"].make(ann.shop, request_id=new_id())
    await calls_of(ann)["notify.CreateWebhookEndpoint"].make(ann.shop, request_id=new_id())
    yield ann
    if (await weekly(ann)).state == scheduler_pb2.StandingOrder.ACTIVE:
        await calls_of(ann)["scheduler.CancelStandingOrder"].make(ann.shop, request_id=new_id())


async def weekly(ann: Customer) -> scheduler_pb2.StandingOrder:
    name = f"{ann.shop.name}/standingOrders/weekly"
    return await ann.shop.scheduler.GetStandingOrder(
        scheduler_pb2.GetStandingOrderRequest(name=name)
    )


def calls_of(ann: Customer) -> dict[str, Call]:
    return {call.id: call for call in platform_calls(ann.shop.merchant)}


def etag_holders(call: Call) -> list[Any]:
    """What has the etag of a call: a resource in the request, or the request."""
    resources = [getattr(call.request, name) for name in RESOURCES if call.takes(name)]
    holders = [*resources, call.request]
    return [
        holder
        for holder in holders
        if isinstance(holder, Message) and "etag" in holder.DESCRIPTOR.fields_by_name
    ]


async def whys(ann: Customer, calls: list[Call]) -> dict[str, str]:
    """The reason of each refusal."""
    return {call.id: (await refused(call.make(ann.shop))).reason for call in calls}


NOT_FOUND = {
    "catalog.GetProduct": "PRODUCT_NOT_FOUND",
    "catalog.UpdateProduct": "PRODUCT_NOT_FOUND",
    "catalog.DiscontinueProduct": "PRODUCT_NOT_FOUND",
    "catalog.CreatePrice": "PRODUCT_NOT_FOUND",
    "catalog.ListPrices": "PRODUCT_NOT_FOUND",
    "catalog.WithdrawPrice": "PRICE_NOT_FOUND",
    "catalog.GetStock": "PRODUCT_NOT_FOUND",
    "catalog.AdjustStock": "PRODUCT_NOT_FOUND",
    "catalog.CreateDelivery": "PRODUCT_NOT_FOUND",
    "catalog.ListDeliveries": "PRODUCT_NOT_FOUND",
    "catalog.ReceiveDelivery": "DELIVERY_NOT_FOUND",
    "catalog.CancelDelivery": "DELIVERY_NOT_FOUND",
    "catalog.GetCapacity": "PRODUCT_NOT_FOUND",
    "catalog.UpdateCapacity": "PRODUCT_NOT_FOUND",
    "catalog.GetCapacityCalendar": "PRODUCT_NOT_FOUND",
    "catalog.GetStockHold": "STOCK_HOLD_NOT_FOUND",
    "catalog.ReleaseStockHold": "STOCK_HOLD_NOT_FOUND",
    "catalog.GetTaxRate": "TAX_RATE_NOT_FOUND",
    "catalog.WithdrawTaxRate": "TAX_RATE_NOT_FOUND",
    "scheduler.GetStandingOrder": "STANDING_ORDER_NOT_FOUND",
    "scheduler.UpdateStandingOrder": "STANDING_ORDER_NOT_FOUND",
    "scheduler.PreviewStandingOrderUpdate": "STANDING_ORDER_NOT_FOUND",
    "scheduler.PauseStandingOrder": "STANDING_ORDER_NOT_FOUND",
    "scheduler.ResumeStandingOrder": "STANDING_ORDER_NOT_FOUND",
    "scheduler.CancelStandingOrder": "STANDING_ORDER_NOT_FOUND",
    "scheduler.SkipCycle": "STANDING_ORDER_NOT_FOUND",
    "scheduler.RestoreCycle": "STANDING_ORDER_NOT_FOUND",
    "scheduler.ChangeCycle": "STANDING_ORDER_NOT_FOUND",
    "scheduler.OrderNow": "STANDING_ORDER_NOT_FOUND",
    "scheduler.PreviewCycles": "STANDING_ORDER_NOT_FOUND",
    "scheduler.GetOrder": "ORDER_NOT_FOUND",
    "scheduler.ExplainOrder": "ORDER_NOT_FOUND",
    "scheduler.ConfirmOrder": "ORDER_NOT_FOUND",
    "payments.GetPaymentMethod": "PAYMENT_METHOD_NOT_FOUND",
    "payments.UpdatePaymentMethod": "PAYMENT_METHOD_NOT_FOUND",
    "payments.SetDefaultPaymentMethod": "PAYMENT_METHOD_NOT_FOUND",
    "payments.ReplacePaymentMethod": "PAYMENT_METHOD_NOT_FOUND",
    "payments.DetachPaymentMethod": "PAYMENT_METHOD_NOT_FOUND",
    "payments.CreateMandate": "PAYMENT_METHOD_NOT_FOUND",
    "payments.GetMandate": "MANDATE_NOT_FOUND",
    "payments.ConfirmMandate": "MANDATE_NOT_FOUND",
    "payments.AmendMandate": "MANDATE_NOT_FOUND",
    "payments.PauseMandate": "MANDATE_NOT_FOUND",
    "payments.ResumeMandate": "MANDATE_NOT_FOUND",
    "payments.RevokeMandate": "MANDATE_NOT_FOUND",
    "payments.GetCharge": "CHARGE_NOT_FOUND",
    "payments.ExplainCharge": "CHARGE_NOT_FOUND",
    "payments.ConfirmPaymentRequest": "CHARGE_NOT_FOUND",
    "payments.CreateRefund": "CHARGE_NOT_FOUND",
    "payments.ListRefunds": "CHARGE_NOT_FOUND",
    "payments.GetRefund": "REFUND_NOT_FOUND",
    "payments.GetDispute": "DISPUTE_NOT_FOUND",
    "payments.SubmitDisputeEvidence": "DISPUTE_NOT_FOUND",
    "payments.AcceptDispute": "DISPUTE_NOT_FOUND",
    "payments.GetPayout": "PAYOUT_NOT_FOUND",
    "payments.ApplyReconciliationEntry": "RECONCILIATION_FINDING_NOT_FOUND",
    "payments.GetDocument": "DOCUMENT_NOT_FOUND",
    "payments.DownloadDocument": "DOCUMENT_NOT_FOUND",
    "notify.UpdateContact": "CONTACT_NOT_FOUND",
    "notify.GetContact": "CONTACT_NOT_FOUND",
    "notify.StartPhoneBinding": "CONTACT_NOT_FOUND",
    "notify.ConfirmPhoneBinding": "CONTACT_NOT_FOUND",
    "notify.CancelPhoneChange": "CONTACT_NOT_FOUND",
    "notify.StartEmailBinding": "CONTACT_NOT_FOUND",
    "notify.ConfirmEmailBinding": "CONTACT_NOT_FOUND",
    "notify.UnbindPhone": "CONTACT_NOT_FOUND",
    "notify.GetNotice": "NOTICE_NOT_FOUND",
    "notify.ResendNotice": "NOTICE_NOT_FOUND",
    "notify.GetNoticeTemplate": "NOTICE_TEMPLATE_NOT_FOUND",
    "notify.DeleteNoticeTemplate": "NOTICE_TEMPLATE_NOT_FOUND",
    **dict.fromkeys(
        (
            "notify.GetWebhookEndpoint",
            "notify.UpdateWebhookEndpoint",
            "notify.DeleteWebhookEndpoint",
            "notify.RotateWebhookSecret",
            "notify.TestWebhookEndpoint",
            "notify.ListWebhookDeliveries",
            "notify.ReplayWebhookDeliveries",
        ),
        "WEBHOOK_ENDPOINT_NOT_FOUND",
    ),
}
CHANGES_A_STANDING_ORDER = (
    "scheduler.UpdateStandingOrder",
    "scheduler.PreviewStandingOrderUpdate",
    "scheduler.PauseStandingOrder",
    "scheduler.ResumeStandingOrder",
    "scheduler.CancelStandingOrder",
    "scheduler.SkipCycle",
    "scheduler.RestoreCycle",
    "scheduler.ChangeCycle",
    "scheduler.OrderNow",
)


async def test_what_is_not_there_is_not_found(suite: Suite) -> None:
    merchant = suite.client()
    calls = {call.id: call for call in platform_calls(merchant.merchant)}
    calls["notify.UpdateContact"].request.allow_missing = False
    refusals: dict[str, Refusal] = {
        name: await refused(calls[name].make(merchant)) for name in NOT_FOUND
    }
    assert {name: refusal.reason for name, refusal in refusals.items()} == NOT_FOUND
    assert {refusal.code for refusal in refusals.values()} == {"NOT_FOUND"}


async def test_what_has_changed_since_it_was_read_is_not_changed(ann: Customer) -> None:
    changing = [
        call
        for call in calls_of(ann).values()
        if not call.method.startswith(("Create", "Simulate")) and etag_holders(call)
    ]
    for call in changing:
        etag_holders(call)[0].etag = STALE
    refused = await whys(ann, changing)
    assert refused == dict.fromkeys(refused, "ETAG_MISMATCH")
    assert set(CHANGES_A_STANDING_ORDER) < set(refused)


async def test_what_is_over_is_not_changed(ann: Customer) -> None:
    calls = calls_of(ann)
    await calls["scheduler.CancelStandingOrder"].make(ann.shop, request_id=new_id())
    refused = await whys(ann, [calls[name] for name in CHANGES_A_STANDING_ORDER])
    assert refused == dict.fromkeys(CHANGES_A_STANDING_ORDER, "STANDING_ORDER_STATE")


async def test_a_cycle_too_far_ahead_is_out_of_range(ann: Customer) -> None:
    calls = calls_of(ann)
    far = [
        calls[name]
        for name in ("scheduler.SkipCycle", "scheduler.RestoreCycle", "scheduler.ChangeCycle")
    ]
    for call in far:
        getattr(call.request, "change", call.request).cycle = 5000
    refused = await whys(ann, far)
    assert refused == dict.fromkeys(refused, "CYCLE_OUT_OF_RANGE")


async def test_a_cycle_that_has_its_order_is_cut_off(ann: Customer) -> None:
    await ann.suite.advance(timedelta(days=3))
    calls = calls_of(ann)
    change = calls["scheduler.ChangeCycle"]
    change.request.change.local_date.CopyFrom(to_date(FAR.date()))
    refusals = await whys(ann, [change, calls["scheduler.RestoreCycle"]])
    assert refusals == dict.fromkeys(refusals, "CYCLE_CUT_OFF")
    refusal = await refused(calls["scheduler.ConfirmOrder"].make(ann.shop))
    assert refusal.reason == "ORDER_STATE"


async def test_a_product_that_cannot_be_ordered_is_no_change_of_a_cycle(ann: Customer) -> None:
    await add_product(ann.shop, "unpriced")
    await add_product(ann.shop, "dollars", 100, "USD")
    await add_product(ann.shop, "palace", AMOUNT_MINOR_MAX)
    await add_product(ann.shop, "old", 100)
    old = catalog_pb2.DiscontinueProductRequest(
        name=f"{ann.shop.name}/products/old", request_id=new_id()
    )
    await ann.shop.catalog.DiscontinueProduct(old)
    reasons = {}
    for product in ("gone", "unpriced", "old"):
        answer = await refused(change_items(ann, product))
        [reasons[product]] = answer.fields.values()
    assert reasons == {
        "gone": "PRODUCT_NOT_FOUND",
        "unpriced": "PRICE_NOT_FOUND",
        "old": "PRODUCT_DISCONTINUED",
    }
    answer = await refused(change_items(ann, "tea", "dollars"))
    assert answer.fields == {"change.items[1].product": "CURRENCY_MISMATCH"}
    answer = await refused(change_items(ann, "tea", "palace"))
    assert answer.fields == {"change.items[1].product": "TOTAL_TOO_LARGE"}


def change_items(ann: Customer, *products: str) -> Awaitable[Any]:
    items = [
        scheduler_pb2.Item(product=f"{ann.shop.name}/products/{product}", quantity=1)
        for product in products
    ]
    return ann.shop.scheduler.ChangeCycle(
        scheduler_pb2.ChangeCycleRequest(
            name=f"{ann.shop.name}/standingOrders/weekly",
            change=scheduler_pb2.CycleChange(cycle=1, items=items),
            request_id=new_id(),
        )
    )


async def test_consent_has_one_name_once(ann: Customer) -> None:
    calls = calls_of(ann)
    mandate = calls["payments.CreateMandate"]
    assert (await refused(mandate.make(ann.shop))).reason == "MANDATE_ALREADY_EXISTS"
    got = await calls["payments.GetMandate"].make(ann.shop)
    assert got.state == payments_pb2.Mandate.ACTIVE
    paused = await calls["payments.PauseMandate"].make(ann.shop, request_id=new_id())
    assert paused.state == payments_pb2.Mandate.PAUSED
    resumed = await calls["payments.ResumeMandate"].make(ann.shop, request_id=new_id())
    assert resumed.state == payments_pb2.Mandate.ACTIVE
    revoked = await calls["payments.RevokeMandate"].make(ann.shop, request_id=new_id())
    assert revoked.state == payments_pb2.Mandate.REVOKED
    late = [f"payments.{verb}Mandate" for verb in ("Confirm", "Amend", "Pause", "Resume")]
    refusals = await whys(ann, [calls[call] for call in late])
    assert refusals == dict.fromkeys(late, "MANDATE_STATE")


async def test_a_time_of_day_is_to_the_minute(ann: Customer) -> None:
    wanted = (await ann.order()).schedule
    wanted.local_time.CopyFrom(timeofday_pb2.TimeOfDay(hours=9, seconds=30))
    request = await ann.ask(schedule=wanted)
    answer = await refused(ann.shop.scheduler.CreateStandingOrder(request))
    assert answer.fields == {"standing_order.schedule.local_time": "FIELD_INVALID"}


async def test_a_product_has_so_many_prices_and_no_more(suite: Suite) -> None:
    merchant = suite.client()
    calls = {call.id: call for call in platform_calls(merchant.merchant)}
    await calls["catalog.CreateProduct"].make(merchant)
    now = await suite.sandbox.now()

    def entry(number: int) -> catalog_pb2.NewPrice:
        [price] = calls["catalog.BatchCreatePrices"].request.entries
        new = catalog_pb2.NewPrice()
        new.CopyFrom(price)
        new.price_id = f"p{number}"
        new.price.effective_time.CopyFrom(to_timestamp(now + timedelta(days=1 + number)))
        return new

    for first in range(0, PRICES_MAX, PRICES_AT_ONCE):
        entries = [entry(number) for number in range(first, first + PRICES_AT_ONCE)]
        many = catalog_pb2.BatchCreatePricesRequest(
            parent=merchant.name, entries=entries, request_id=new_id()
        )
        await merchant.catalog.BatchCreatePrices(many)
    one_more = calls["catalog.CreatePrice"].make(merchant, price_id="one-more", request_id=new_id())
    assert (await refused(one_more)).reason == "PRICES_TOO_MANY"
    batch = await refused(calls["catalog.BatchCreatePrices"].make(merchant, request_id=new_id()))
    assert batch.fields == {"entries[0].parent": "PRICES_TOO_MANY"}
