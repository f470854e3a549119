"""Bad input: each kind has a reason of its own, names the field, and leaves nothing behind."""

from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf import field_mask_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.money import AMOUNT_MINOR_MAX
from services.runtime.rpc.conversions import to_date, to_money
from tests.contract.customer import (
    NOTICE_LEAD,
    TEA_CENTS,
    Customer,
    add_card,
    add_contact,
    add_mandate,
    add_product,
    new_customer,
)
from tests.suite import Suite, new_id, refused

Answer = tuple[str, str, dict[str, str]]
Item = scheduler_pb2.Item


@pytest.fixture
async def ann(suite: Suite) -> Customer:
    return await new_customer(suite)


async def why(call: Awaitable[Any]) -> Answer:
    refusal = await refused(call)
    return refusal.code, refusal.reason, refusal.fields


async def why_no_order(ann: Customer, **fields: Any) -> Answer:  # noqa: ANN401
    """Why a standing order was refused, of which then nothing is left."""
    request = await ann.ask(**fields)
    answer = await why(ann.shop.scheduler.CreateStandingOrder(request))
    name = f"{ann.shop.name}/standingOrders/{request.standing_order_id}"
    lookup = scheduler_pb2.GetStandingOrderRequest(name=name)
    gone = await refused(ann.shop.scheduler.GetStandingOrder(lookup))
    assert gone.reason == "STANDING_ORDER_NOT_FOUND"
    return answer


def invalid(field: str, reason: str = "FIELD_INVALID") -> Answer:
    return "INVALID_ARGUMENT", reason, {field: reason}


def product(ann: Customer, name: str) -> str:
    return f"{ann.shop.name}/products/{name}"


# --- creating a standing order ------------------------------------------------------------------


async def test_what_is_right_is_accepted(ann: Customer) -> None:
    made = await ann.subscribe()
    assert made.state == scheduler_pb2.StandingOrder.ACTIVE


async def test_an_unknown_product(ann: Customer) -> None:
    items = [Item(product=product(ann, name), quantity=1) for name in ("tea", "gone")]
    assert await why_no_order(ann, items=items) == invalid(
        "standing_order.items[1].product", "PRODUCT_NOT_FOUND"
    )


async def test_a_product_off_sale(ann: Customer) -> None:
    await ann.shop.catalog.DiscontinueProduct(
        catalog_pb2.DiscontinueProductRequest(name=product(ann, "tea"), request_id=new_id())
    )
    assert await why_no_order(ann) == invalid(
        "standing_order.items[0].product", "PRODUCT_DISCONTINUED"
    )


async def test_a_product_without_a_price(ann: Customer) -> None:
    await add_product(ann.shop, "coffee")
    items = [Item(product=product(ann, "coffee"), quantity=1)]
    assert await why_no_order(ann, items=items) == invalid(
        "standing_order.items[0].product", "PRICE_NOT_FOUND"
    )


async def test_a_product_in_a_foreign_currency(ann: Customer) -> None:
    await add_product(ann.shop, "coffee", 1200, "USD")
    items = [Item(product=product(ann, name), quantity=1) for name in ("tea", "coffee")]
    assert await why_no_order(ann, items=items) == invalid(
        "standing_order.items[1].product", "CURRENCY_MISMATCH"
    )


async def test_a_product_in_several_currencies_of_which_none_is_named(ann: Customer) -> None:
    usd = catalog_pb2.Price(unit_price=to_money(1200, "USD"))
    await ann.shop.catalog.CreatePrice(
        catalog_pb2.CreatePriceRequest(
            parent=product(ann, "tea"), price_id="usd", price=usd, request_id=new_id()
        )
    )
    assert await why_no_order(ann) == invalid("standing_order.currency", "CURRENCY_NEEDED")
    assert await why_no_order(ann, currency="XXX") == invalid("standing_order.currency")
    assert (await ann.subscribe(currency="EUR")).currency == "EUR"


async def test_a_product_of_someone_elses_merchant(ann: Customer) -> None:
    items = [Item(product="merchants/other/products/tea", quantity=1)]
    assert await why_no_order(ann, items=items) == invalid("standing_order.items[0].product")


async def test_a_customer_of_someone_elses_merchant(ann: Customer) -> None:
    answer = await why_no_order(ann, customer="merchants/other/customers/ann")
    assert "standing_order.customer" in answer[2]


@pytest.mark.parametrize("quantity", [0, -1, 10_001])
async def test_a_quantity_of_nothing_or_of_too_much(ann: Customer, quantity: int) -> None:
    items = [Item(product=product(ann, "tea"), quantity=quantity)]
    assert await why_no_order(ann, items=items) == invalid("standing_order.items[0].quantity")


async def test_no_items(ann: Customer) -> None:
    assert await why_no_order(ann, items=[]) == invalid("standing_order.items")


async def test_a_past_start_date(ann: Customer) -> None:
    wanted = (await ann.order()).schedule
    wanted.start_date.CopyFrom(to_date(await ann.today() - timedelta(days=2)))
    assert await why_no_order(ann, schedule=wanted) == invalid(
        "standing_order.schedule.start_date", "START_DATE_PAST"
    )


async def test_a_start_date_that_does_not_exist(ann: Customer) -> None:
    wanted = (await ann.order()).schedule
    wanted.start_date.month, wanted.start_date.day = 2, 30
    answer = await why_no_order(ann, schedule=wanted)
    assert "standing_order.schedule.start_date" in answer[2]


async def test_a_lock_until_no_time(ann: Customer) -> None:
    protection = scheduler_pb2.PriceProtection()
    protection.lock.until_time.seconds = 2**62
    assert await why_no_order(ann, price_protection=protection) == invalid(
        "standing_order.price_protection.lock.until_time"
    )


@pytest.mark.parametrize("zone", ["", "Europe/Atlantis", "CEST+2", "../../etc/passwd"])
async def test_an_unknown_zone(ann: Customer, zone: str) -> None:
    wanted = (await ann.order()).schedule
    wanted.time_zone = zone
    assert await why_no_order(ann, schedule=wanted) == invalid(
        "standing_order.schedule.time_zone", "TIME_ZONE_UNKNOWN"
    )


async def test_all_violations_are_reported_at_once(ann: Customer) -> None:
    wanted = (await ann.order()).schedule
    wanted.time_zone = "Europe/Atlantis"
    items = [Item(product=product(ann, "tea"), quantity=1)] * 2
    code, reason, fields = await why_no_order(ann, title="", items=items, schedule=wanted)
    assert (code, reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert fields == {
        "standing_order.title": "FIELD_INVALID",
        "standing_order.items[1].product": "FIELD_INVALID",
        "standing_order.schedule.time_zone": "TIME_ZONE_UNKNOWN",
    }


async def test_every_broken_rule_is_reported_before_anything_else(ann: Customer) -> None:
    items = [Item(product="tea"), Item(product=product(ann, "tea"), quantity=10_001)]
    _, _, fields = await why_no_order(ann, title="x" * 61, items=items)
    assert set(fields) == {
        "standing_order.title",
        "standing_order.items[0].product",
        "standing_order.items[0].quantity",
        "standing_order.items[1].quantity",
    }


async def test_a_customer_without_a_bound_phone(ann: Customer) -> None:
    customer = f"{ann.shop.name}/customers/bob"
    mode = scheduler_pb2.PAY_ON_NOTICE
    answer = await why_no_order(ann, customer=customer, billing_mode=mode, mandate="")
    assert answer == ("FAILED_PRECONDITION", "PHONE_NOT_BOUND", {})


@pytest.mark.parametrize(
    ("ceiling_minor", "currency"), [(2 * TEA_CENTS - 1, "EUR"), (100_000, "USD")]
)
async def test_a_mandate_that_does_not_cover_it(
    ann: Customer, ceiling_minor: int, currency: str
) -> None:
    small = await add_mandate(ann, "m2", ceiling_minor, currency)
    answer = await why_no_order(ann, mandate=small.name)
    assert answer == ("FAILED_PRECONDITION", "MANDATE_NOT_COVERING", {})


async def test_a_mandate_for_another_standing_order(ann: Customer) -> None:
    other = f"merchants/{ann.shop.merchant}/standingOrders/other"
    made = await add_mandate(ann, "m2", standing_orders=[other])
    answer = await why_no_order(ann, mandate=made.name)
    assert answer == ("FAILED_PRECONDITION", "MANDATE_NOT_COVERING", {})


async def test_an_order_of_more_than_one_payment_can_be(ann: Customer) -> None:
    await add_product(ann.shop, "palace", AMOUNT_MINOR_MAX)
    items = [Item(product=product(ann, name), quantity=1) for name in ("palace", "tea")]
    assert await why_no_order(ann, items=items) == invalid(
        "standing_order.items[1].product", "TOTAL_TOO_LARGE"
    )


async def test_a_mandate_that_is_not_there(ann: Customer) -> None:
    answer = await why_no_order(ann, mandate=f"{ann.name}/mandates/gone")
    assert answer == ("FAILED_PRECONDITION", "MANDATE_NOT_COVERING", {})


async def test_an_id_that_is_taken(ann: Customer) -> None:
    request = await ann.ask()
    await ann.shop.scheduler.CreateStandingOrder(request)
    request.request_id = new_id()
    code, reason, _ = await why(ann.shop.scheduler.CreateStandingOrder(request))
    assert (code, reason) == ("ALREADY_EXISTS", "STANDING_ORDER_ALREADY_EXISTS")


# --- a request id reused ------------------------------------------------------------------------

REUSED = invalid("request_id", "REQUEST_ID_REUSED")


async def test_a_request_id_of_the_scheduler_reused_with_other_content(ann: Customer) -> None:
    request = await ann.ask()
    made = await ann.shop.scheduler.CreateStandingOrder(request)
    assert await ann.shop.scheduler.CreateStandingOrder(request) == made
    request.standing_order.title = "Other"
    assert await why(ann.shop.scheduler.CreateStandingOrder(request)) == REUSED


async def test_a_request_id_of_the_catalog_reused_with_other_content(ann: Customer) -> None:
    request = catalog_pb2.CreateProductRequest(
        parent=ann.shop.name,
        product_id="coffee",
        product=catalog_pb2.Product(title="Coffee"),
        request_id=new_id(),
    )
    made = await ann.shop.catalog.CreateProduct(request)
    assert await ann.shop.catalog.CreateProduct(request) == made
    request.product_id = "milk"
    assert await why(ann.shop.catalog.CreateProduct(request)) == REUSED


async def test_a_request_id_of_payments_reused_with_other_content(ann: Customer) -> None:
    request = payments_pb2.CreatePaymentMethodRequest(
        parent=ann.name,
        payment_method_id="second",
        payment_method=payments_pb2.PaymentMethod(provider_token="pm_card_visa"),
        request_id=new_id(),
    )
    made = await ann.shop.payments.CreatePaymentMethod(request)
    assert await ann.shop.payments.CreatePaymentMethod(request) == made
    request.payment_method_id = "third"
    assert await why(ann.shop.payments.CreatePaymentMethod(request)) == REUSED


async def test_a_request_id_of_notify_reused_with_other_content(ann: Customer) -> None:
    contact = notify_pb2.Contact(name=f"{ann.name}/contact", display_name="Anna")
    request = notify_pb2.UpdateContactRequest(contact=contact, request_id=new_id())
    made = await ann.shop.notify.UpdateContact(request)
    assert await ann.shop.notify.UpdateContact(request) == made
    request.contact.display_name = "Annie"
    assert await why(ann.shop.notify.UpdateContact(request)) == REUSED


async def test_a_request_id_reused_for_another_method(ann: Customer) -> None:
    request = await ann.ask()
    made = await ann.shop.scheduler.CreateStandingOrder(request)
    pause = scheduler_pb2.PauseStandingOrderRequest(name=made.name, request_id=request.request_id)
    assert await why(ann.shop.scheduler.PauseStandingOrder(pause)) == REUSED


# --- a stale etag -------------------------------------------------------------------------------

STALE: Answer = ("ABORTED", "ETAG_MISMATCH", {"etag": "ETAG_MISMATCH"})


async def test_a_stale_etag_of_a_standing_order(ann: Customer) -> None:
    made = await ann.subscribe()
    request = scheduler_pb2.PauseStandingOrderRequest(
        name=made.name, etag=made.etag, request_id=new_id()
    )
    await ann.shop.scheduler.PauseStandingOrder(request)
    stub, name, etag = ann.shop.scheduler, made.name, made.etag
    resume = scheduler_pb2.ResumeStandingOrderRequest(name=name, etag=etag, request_id=new_id())
    cancel = scheduler_pb2.CancelStandingOrderRequest(name=name, etag=etag, request_id=new_id())
    skip = scheduler_pb2.SkipCycleRequest(name=name, cycle=2, etag=etag, request_id=new_id())
    assert await why(stub.ResumeStandingOrder(resume)) == STALE
    assert await why(stub.CancelStandingOrder(cancel)) == STALE
    assert await why(stub.SkipCycle(skip)) == STALE


async def test_a_stale_etag_of_a_mandate(ann: Customer) -> None:
    made = await add_mandate(ann, "m2")
    request = payments_pb2.RevokeMandateRequest(name=made.name, etag=made.etag, request_id=new_id())
    await ann.shop.payments.RevokeMandate(request)
    request.request_id = new_id()
    assert await why(ann.shop.payments.RevokeMandate(request)) == STALE
    name, etag, stub = made.name, made.etag, ann.shop.payments
    pause = payments_pb2.PauseMandateRequest(name=name, etag=etag, request_id=new_id())
    resume = payments_pb2.ResumeMandateRequest(name=name, etag=etag, request_id=new_id())
    confirm = payments_pb2.ConfirmMandateRequest(
        name=name, etag=etag, evidence=made.evidence, request_id=new_id()
    )
    amend = payments_pb2.AmendMandateRequest(
        name=name,
        etag=etag,
        terms=payments_pb2.MandateTerms(time_zone="Europe/Berlin"),
        update_mask=field_mask_pb2.FieldMask(paths=["time_zone"]),
        request_id=new_id(),
    )
    assert await why(stub.AmendMandate(amend)) == STALE
    assert await why(stub.PauseMandate(pause)) == STALE
    assert await why(stub.ResumeMandate(resume)) == STALE
    assert await why(stub.ConfirmMandate(confirm)) == STALE


async def test_a_stale_etag_of_a_contact(ann: Customer) -> None:
    made = await add_contact(ann, "bob")
    made.display_name = "Bobby"
    request = notify_pb2.UpdateContactRequest(contact=made, request_id=new_id())
    await ann.shop.notify.UpdateContact(request)
    request.request_id = new_id()
    code, reason, fields = await why(ann.shop.notify.UpdateContact(request))
    assert (code, reason) == STALE[:2]
    assert list(fields.values()) == ["ETAG_MISMATCH"]


# --- a wrong state ------------------------------------------------------------------------------

WRONG: Answer = ("FAILED_PRECONDITION", "STANDING_ORDER_STATE", {})


async def test_a_standing_order_in_the_wrong_state(ann: Customer) -> None:
    name = (await ann.subscribe()).name
    stub = ann.shop.scheduler

    def pause() -> Awaitable[Any]:
        request = scheduler_pb2.PauseStandingOrderRequest(name=name, request_id=new_id())
        return stub.PauseStandingOrder(request)

    def resume() -> Awaitable[Any]:
        request = scheduler_pb2.ResumeStandingOrderRequest(name=name, request_id=new_id())
        return stub.ResumeStandingOrder(request)

    def cancel() -> Awaitable[Any]:
        request = scheduler_pb2.CancelStandingOrderRequest(name=name, request_id=new_id())
        return stub.CancelStandingOrder(request)

    def skip() -> Awaitable[Any]:
        request = scheduler_pb2.SkipCycleRequest(name=name, cycle=1, request_id=new_id())
        return stub.SkipCycle(request)

    assert await why(resume()) == WRONG
    await pause()
    assert await why(pause()) == WRONG
    await cancel()
    for call in (pause(), resume(), cancel(), skip()):
        assert await why(call) == WRONG


@pytest.mark.parametrize("cycle", [-1, 0x7FFFFFFF])
async def test_a_cycle_that_cannot_be_skipped(ann: Customer, cycle: int) -> None:
    name = (await ann.subscribe()).name
    request = scheduler_pb2.SkipCycleRequest(name=name, cycle=cycle, request_id=new_id())
    code, _, _ = await why(ann.shop.scheduler.SkipCycle(request))
    assert code in {"OUT_OF_RANGE", "INVALID_ARGUMENT"}


async def test_a_code_that_nobody_waits_for(ann: Customer) -> None:
    request = notify_pb2.ConfirmPhoneBindingRequest(
        name=f"{ann.name}/contact", code="12345678", request_id=new_id()
    )
    answer = await why(ann.shop.notify.ConfirmPhoneBinding(request))
    assert answer[:2] == ("FAILED_PRECONDITION", "CODE_NOT_PENDING")


async def test_a_token_that_the_provider_does_not_know(ann: Customer) -> None:
    request = payments_pb2.CreatePaymentMethodRequest(
        parent=ann.name,
        payment_method_id="other",
        payment_method=payments_pb2.PaymentMethod(provider_token="pm_nobody_knows"),
        request_id=new_id(),
    )
    answer = await why(ann.shop.payments.CreatePaymentMethod(request))
    assert answer[:2] == ("FAILED_PRECONDITION", "PROVIDER_TOKEN_UNKNOWN")


async def test_a_payment_method_that_exists(ann: Customer) -> None:
    answer = await why(add_card(ann))
    assert answer[:2] == ("ALREADY_EXISTS", "PAYMENT_METHOD_ALREADY_EXISTS")


async def test_a_mandate_for_a_card_that_is_not_there(suite: Suite) -> None:
    ann = Customer(suite, suite.client(), "")
    answer = await why(add_mandate(ann))
    assert answer[:2] == ("NOT_FOUND", "PAYMENT_METHOD_NOT_FOUND")


async def test_an_order_that_is_paid_can_be_refunded_and_nothing_else(ann: Customer) -> None:
    made = await ann.subscribe()
    await ann.suite.advance(NOTICE_LEAD + timedelta(days=4))
    order = await ann.shop.scheduler.GetOrder(
        scheduler_pb2.GetOrderRequest(name=f"{made.name}/orders/1")
    )
    assert order.state == scheduler_pb2.Order.PAID
    skip = scheduler_pb2.SkipCycleRequest(name=made.name, cycle=1, request_id=new_id())
    assert (await why(ann.shop.scheduler.SkipCycle(skip)))[1] == "ORDER_STATE"

    charge = f"{ann.name}/charges/{made.name.rpartition('/')[2]}-1"
    confirm = payments_pb2.ConfirmPaymentRequestRequest(
        name=charge, payment_method=ann.card, request_id=new_id()
    )
    answer = await why(ann.shop.payments.ConfirmPaymentRequest(confirm))
    assert answer[:2] == ("FAILED_PRECONDITION", "PAYMENT_REQUEST_STATE")

    def refund(amount_minor: int, currency: str) -> Awaitable[Any]:
        return ann.shop.payments.CreateRefund(
            payments_pb2.CreateRefundRequest(
                parent=charge,
                refund_id="r1",
                refund=payments_pb2.Refund(amount=to_money(amount_minor, currency)),
                request_id=new_id(),
            )
        )

    assert (await why(refund(100, "USD")))[:2] == ("FAILED_PRECONDITION", "CURRENCY_MISMATCH")
    assert (await why(refund(2 * TEA_CENTS + 1, "EUR")))[:2] == (
        "FAILED_PRECONDITION",
        "REFUND_ABOVE_CHARGE",
    )
    await refund(2 * TEA_CENTS, "EUR")
    assert (await why(refund(1, "EUR")))[1] in {"REFUND_ALREADY_EXISTS", "REFUND_ABOVE_CHARGE"}
