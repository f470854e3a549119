"""Erasure removes what is stored about a customer."""

from datetime import timedelta

import pytest
from google.type.postal_address_pb2 import PostalAddress
from recurring.audit.v1 import audit_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from tests.contract.customer import Customer, add_contact, new_customer
from tests.suite import Client, Suite, new_id, refused


@pytest.fixture
async def ann(suite: Suite) -> Customer:
    return await new_customer(suite)


async def erase(ann: Customer) -> None:
    await ann.shop.notify.EraseCustomer(
        notify_pb2.EraseCustomerRequest(name=ann.name, request_id=new_id())
    )


async def erase_orders(ann: Customer) -> None:
    await ann.shop.scheduler.EraseCustomer(
        scheduler_pb2.EraseCustomerRequest(name=ann.name, request_id=new_id())
    )


async def contact(shop: Client, customer: str) -> notify_pb2.Contact:
    contact: notify_pb2.Contact = await shop.notify.GetContact(
        notify_pb2.GetContactRequest(name=f"{customer}/contact")
    )
    return contact


async def test_who_is_erased_is_not_known_any_more(ann: Customer) -> None:
    await erase(ann)
    assert (await refused(contact(ann.shop, ann.name))).reason == "CONTACT_NOT_FOUND"


async def test_that_there_was_a_notice_stays_without_its_text(ann: Customer) -> None:
    await erase(ann)
    listed = await ann.shop.notify.ListNotices(notify_pb2.ListNoticesRequest(parent=ann.name))
    [code] = listed.notices
    assert [sent.text for sent in code.deliveries] == [""]


async def test_other_customers_stay(ann: Customer) -> None:
    await add_contact(ann, "bob")
    await erase(ann)
    assert (await contact(ann.shop, f"{ann.shop.name}/customers/bob")).display_name == "Bob"


async def test_who_was_erased_can_come_back(ann: Customer) -> None:
    await erase(ann)
    await add_contact(ann)
    assert not (await contact(ann.shop, ann.name)).masked_phone


# --- the scheduler ------------------------------------------------------------------------------

HOME = PostalAddress(region_code="DE", locality="Bonn", address_lines=["Marktplatz 1"])


async def standing_order(ann: Customer, name: str) -> scheduler_pb2.StandingOrder:
    request = scheduler_pb2.GetStandingOrderRequest(name=name)
    standing_order: scheduler_pb2.StandingOrder = await ann.shop.scheduler.GetStandingOrder(request)
    return standing_order


async def first_order(ann: Customer, name: str) -> scheduler_pb2.Order:
    request = scheduler_pb2.GetOrderRequest(name=f"{name}/orders/1")
    order: scheduler_pb2.Order = await ann.shop.scheduler.GetOrder(request)
    return order


async def receive(ann: Customer) -> str:
    """Have a first order sent home, and the third elsewhere; returns the standing order's name."""
    made = await ann.subscribe(title="Tea for Ann", ship_to=HOME, tax_id="DE123456789")
    change = scheduler_pb2.CycleChange(cycle=3, ship_to=HOME)
    await ann.shop.scheduler.ChangeCycle(
        scheduler_pb2.ChangeCycleRequest(name=made.name, change=change, request_id=new_id())
    )
    await ann.shop.scheduler.OrderNow(
        scheduler_pb2.OrderNowRequest(name=made.name, request_id=new_id())
    )
    await ann.suite.sandbox.settle()
    return made.name


async def cancel(ann: Customer, name: str) -> None:
    await ann.shop.scheduler.CancelStandingOrder(
        scheduler_pb2.CancelStandingOrderRequest(name=name, request_id=new_id())
    )
    await ann.suite.sandbox.settle()


async def test_who_still_orders_is_not_erased(ann: Customer) -> None:
    name = (await ann.subscribe(ship_to=HOME)).name
    refusal = await refused(erase_orders(ann))
    assert refusal.reason == "CUSTOMER_HAS_STANDING_ORDERS"
    assert name in refusal.message
    assert (await standing_order(ann, name)).ship_to == HOME
    await cancel(ann, name)
    await erase_orders(ann)


async def test_of_what_was_ordered_the_address_and_the_title_are_gone(ann: Customer) -> None:
    name = await receive(ann)
    await cancel(ann, name)
    before = await first_order(ann, name)
    assert (before.ship_to, before.tax_id) == (HOME, "DE123456789")
    await erase_orders(ann)

    template, order = await standing_order(ann, name), await first_order(ann, name)
    assert (template.title, template.HasField("ship_to"), template.tax_id) == ("", False, "")
    assert not template.cycle_changes
    assert (order.HasField("ship_to"), order.tax_id) == (False, "")
    assert (order.state, order.lines, order.amount) == (before.state, before.lines, before.amount)


async def test_answers_about_what_was_ordered_are_forgotten(ann: Customer) -> None:
    request = await ann.ask(ship_to=HOME)
    made = await ann.shop.scheduler.CreateStandingOrder(request)
    await cancel(ann, made.name)
    await erase_orders(ann)
    again = await ann.shop.scheduler.CreateStandingOrder(request)
    assert again == scheduler_pb2.StandingOrder()


async def test_what_was_bought_elsewhere_is_forgotten(ann: Customer) -> None:
    tea = f"{ann.shop.name}/products/tea"
    bought = scheduler_pb2.RecordPurchaseRequest(
        customer=ann.name, products=[tea], request_id=new_id()
    )
    await ann.shop.scheduler.RecordPurchase(bought)
    await erase_orders(ann)
    made = await ann.subscribe(repurchase_window=timedelta(days=30))
    preview = scheduler_pb2.PreviewCyclesRequest(name=made.name, cycle_count=1)
    [coming] = (await ann.shop.scheduler.PreviewCycles(preview)).cycles
    assert not coming.skip_reason
    await cancel(ann, made.name)


async def test_what_others_ordered_stays(ann: Customer) -> None:
    bob = f"{ann.shop.name}/customers/bob"
    fields = {"billing_mode": scheduler_pb2.PAY_ON_NOTICE, "mandate": ""}
    name = (await ann.subscribe(ship_to=HOME, **fields)).name
    await ann.shop.scheduler.EraseCustomer(
        scheduler_pb2.EraseCustomerRequest(name=bob, request_id=new_id())
    )
    assert (await standing_order(ann, name)).ship_to == HOME
    await cancel(ann, name)


async def test_what_is_personal_was_never_kept_for_the_audit(ann: Customer) -> None:
    made = await ann.subscribe(title="Tea for Ann", ship_to=HOME)
    await cancel(ann, made.name)
    request = audit_pb2.ListAuditEntriesRequest(parent=ann.shop.name, resource=made.name)
    [cancelled, created] = (await ann.shop.scheduler.ListAuditEntries(request)).audit_entries
    for state in (created.after, cancelled.before, cancelled.after):
        assert (state["title"], state["ship_to"]) == ("•••nn", "•••")


# --- payments -----------------------------------------------------------------------------------


async def erase_payments(ann: Customer) -> payments_pb2.EraseCustomerResponse:
    erased: payments_pb2.EraseCustomerResponse = await ann.shop.payments.EraseCustomer(
        payments_pb2.EraseCustomerRequest(name=ann.name, request_id=new_id())
    )
    return erased


async def test_who_still_has_to_pay_is_not_erased(ann: Customer) -> None:
    name = (await ann.subscribe(billing_mode=scheduler_pb2.PAY_ON_NOTICE, mandate="")).name
    await ann.shop.scheduler.OrderNow(scheduler_pb2.OrderNowRequest(name=name, request_id=new_id()))
    await ann.suite.sandbox.settle()
    assert (await refused(erase_payments(ann))).reason == "CUSTOMER_HAS_CHARGES"
    await cancel(ann, name)
    await erase_payments(ann)


async def test_the_card_of_who_is_erased_is_gone_and_the_proof_of_consent_kept(
    ann: Customer,
) -> None:
    await cancel(ann, await receive(ann))
    assert (await erase_payments(ann)).HasField("evidence_until_time")

    cards = payments_pb2.ListPaymentMethodsRequest(parent=ann.name)
    assert not (await ann.shop.payments.ListPaymentMethods(cards)).payment_methods
    mandates = payments_pb2.ListMandatesRequest(parent=ann.name)
    [mandate] = (await ann.shop.payments.ListMandates(mandates)).mandates
    assert (mandate.state, mandate.evidence.text) == (payments_pb2.Mandate.REVOKED, "Yes.")
