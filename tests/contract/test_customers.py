"""A customer's own token opens what is theirs, and nothing of another customer or the merchant."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf import field_mask_pb2
from recurring.audit.v1 import audit_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.catalog.api.access import ACCESS as OF_CATALOG
from services.notify.api.access import ACCESS as OF_NOTIFY
from services.payments.api.access import ACCESS as OF_PAYMENTS
from services.runtime.auth.authenticator import Access
from services.runtime.auth.customer_access import Ownership
from services.runtime.rpc.conversions import to_money
from services.scheduler.api.access import ACCESS as OF_SCHEDULER
from tests.contract.customer import CARD, NOTICE_LEAD, Customer, new_customer
from tests.contract.every_call import Call, platform_calls
from tests.suite import Client, Refusal, Suite, new_id, read_refusal, refused

FORBIDDEN = ("PERMISSION_DENIED", "CUSTOMER_FORBIDDEN")
ACCESS: dict[str, Access] = {
    f"{service}.{method}": access
    for service, table in {
        "catalog": OF_CATALOG, "notify": OF_NOTIFY, "payments": OF_PAYMENTS, "scheduler": OF_SCHEDULER,
    }.items()
    for method, access in table.items()
}  # fmt: skip


def owned(*ownerships: Ownership) -> set[str]:
    """The methods that are open to customers, by how a request shows whose it is."""
    return {
        name
        for name, access in ACCESS.items()
        if access.customer is not None and access.customer.ownership in ownerships
    }


@pytest.fixture
async def ann(suite: Suite) -> Customer:
    """Ann, whose merchant has all that is asked for."""
    ann = await new_customer(suite)
    request = await ann.ask()
    request.standing_order_id = "weekly"
    await ann.shop.scheduler.CreateStandingOrder(request)
    return ann


@pytest.fixture
def page(suite: Suite, ann: Customer) -> Client:
    """A page of Ann's, with a token that is hers."""
    return suite.customer_client(ann.shop.merchant, "ann")


@pytest.fixture
def bobs_page(suite: Suite, ann: Customer) -> Client:
    return suite.customer_client(ann.shop.merchant, "bob")


def kind(refusal: Refusal) -> tuple[str, str]:
    return refusal.code, refusal.reason


async def refusals(client: Client, calls: list[Call]) -> dict[str, Refusal]:
    return {call.id: await refused(call.make(client)) for call in calls}


# --- what is closed -----------------------------------------------------------------------------------


async def test_no_call_about_another_customer_or_the_merchant_is_answered(
    ann: Customer, bobs_page: Client
) -> None:
    calls = platform_calls(ann.shop.merchant)
    of_rows = owned(Ownership.BY_ROW)
    closed = [call for call in calls if call.id not in of_rows | owned(Ownership.OF_NOBODY)]
    assert {name: kind(it) for name, it in (await refusals(bobs_page, closed)).items()} == {
        call.id: FORBIDDEN for call in closed
    }
    by_row = await refusals(bobs_page, [call for call in calls if call.id in of_rows])
    assert {refusal.code for refusal in by_row.values()} == {"NOT_FOUND"}


async def test_what_is_another_customers_is_refused_as_what_is_not_there(
    ann: Customer, bobs_page: Client
) -> None:
    def calls_about(standing_order: str) -> dict[str, Call]:
        found = {}
        for call in platform_calls(ann.shop.merchant):
            if call.service == "scheduler" and call.id in owned(Ownership.BY_ROW):
                sent = call.request.SerializeToString().replace(b"weekly", standing_order.encode())
                found[call.id] = Call(
                    call.service, call.method, type(call.request).FromString(sent)
                )
        return found

    there, nowhere = calls_about("weekly"), calls_about("xxxxxx")
    for name, call in there.items():
        real = await refused(call.make(bobs_page))
        made_up = await refused(nowhere[name].make(bobs_page))
        assert real.message.replace("weekly", "xxxxxx") == made_up.message, name
        assert kind(real) == kind(made_up), name


async def test_a_customer_of_another_merchant_is_refused_everywhere(
    suite: Suite, ann: Customer
) -> None:
    elsewhere = suite.customer_client(suite.client().merchant, "ann")
    calls = platform_calls(ann.shop.merchant)
    codes = {refusal.code for refusal in (await refusals(elsewhere, calls)).values()}
    assert codes == {"PERMISSION_DENIED"}


@pytest.mark.parametrize("scope", ["platform", "payments:read", "standing-orders:write", ""])
async def test_a_customers_token_needs_the_scope_of_customers(
    suite: Suite, ann: Customer, scope: str
) -> None:
    page = suite.customer_client(ann.shop.merchant, "ann", scope)
    calls = [call for call in platform_calls(ann.shop.merchant) if call.id in ACCESS]
    reasons = {refusal.reason for refusal in (await refusals(page, calls)).values()}
    assert reasons == {"SCOPE_MISSING"}


async def test_the_scope_of_customers_opens_nothing_without_a_customer(
    suite: Suite, ann: Customer
) -> None:
    nobody = suite.client(ann.shop.merchant, "customer")
    answers = await refusals(nobody, platform_calls(ann.shop.merchant))
    assert {refusal.reason for refusal in answers.values()} == {"SCOPE_MISSING"}


def _priced(order: scheduler_pb2.StandingOrder) -> None:
    order.price_protection.lock.cycle_count = 1000


def _of_bob(order: scheduler_pb2.StandingOrder) -> None:
    order.customer = order.customer.replace("ann", "bob")


def _under_bobs_mandate(order: scheduler_pb2.StandingOrder) -> None:
    order.mandate = order.mandate.replace("ann", "bob")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (_priced, "standing_order.price_protection"),
        (_of_bob, "standing_order.customer"),
        (_under_bobs_mandate, "standing_order.mandate"),
    ],
)
async def test_a_customer_sets_neither_the_merchants_terms_nor_whose_an_order_is(
    ann: Customer,
    page: Client,
    change: Callable[[scheduler_pb2.StandingOrder], None],
    field: str,
) -> None:
    request = await ann.ask()
    request.standing_order_id = ""
    change(request.standing_order)
    refusal = await refused(page.scheduler.CreateStandingOrder(request))
    assert kind(refusal) == FORBIDDEN
    assert set(refusal.fields) == {field}


@pytest.mark.parametrize("path", ["price_protection", "customer", "*"])
async def test_no_mask_takes_the_merchants_terms_away(
    ann: Customer, page: Client, path: str
) -> None:
    request = scheduler_pb2.UpdateStandingOrderRequest(
        standing_order=scheduler_pb2.StandingOrder(name=f"{ann.shop.name}/standingOrders/weekly"),
        update_mask=field_mask_pb2.FieldMask(paths=[path]),
        request_id=new_id(),
    )
    assert kind(await refused(page.scheduler.UpdateStandingOrder(request))) == FORBIDDEN


async def test_another_customers_request_is_not_answered_again(
    ann: Customer, page: Client, bobs_page: Client
) -> None:
    skip = scheduler_pb2.SkipCycleRequest(
        name=f"{ann.shop.name}/standingOrders/weekly", cycle=1, request_id=new_id()
    )
    assert (await page.scheduler.SkipCycle(skip)).name == skip.name
    assert (await refused(bobs_page.scheduler.SkipCycle(skip))).reason == "REQUEST_ID_REUSED"


async def test_a_token_that_is_somebodys_at_the_provider_is_registered_by_the_merchant_first(
    ann: Customer, page: Client
) -> None:
    def registering(method: str) -> payments_pb2.CreatePaymentMethodRequest:
        return payments_pb2.CreatePaymentMethodRequest(
            parent=ann.name,
            payment_method_id=method,
            payment_method=payments_pb2.PaymentMethod(provider_token="pm_sandbox_ofCustomer"),
            request_id=new_id(),
        )

    refusal = await refused(page.payments.CreatePaymentMethod(registering("first")))
    assert kind(refusal) == FORBIDDEN
    assert set(refusal.fields) == {"payment_method.provider_token"}
    await ann.shop.payments.CreatePaymentMethod(registering("second"))
    assert (await page.payments.CreatePaymentMethod(registering("third"))).last4 == "7008"


# --- what is open -------------------------------------------------------------------------------------


# What a call of a merchant's program has to have to be a customer's.
OWN: dict[str, dict[str, Any]] = {
    name: {"customer": "{customer}"}
    for name in (
        "scheduler.ListStandingOrders", "scheduler.ListPriceProtections", "scheduler.ListOrders",
        "payments.ListDocuments",
    )
}  # fmt: skip


async def test_no_call_about_a_customers_own_is_forbidden(ann: Customer, page: Client) -> None:
    """Each of them is answered, or refused for another reason than who asks."""
    forbidden = {}
    for call in platform_calls(ann.shop.merchant):
        if ACCESS[call.id].customer is None:
            continue
        changes = {
            field: value.format(customer=ann.name) for field, value in OWN.get(call.id, {}).items()
        }
        try:
            await call.make(page, **changes)
        except grpc.aio.AioRpcError as error:
            refusal = read_refusal(error)
            if refusal.code in {"PERMISSION_DENIED", "UNAUTHENTICATED", "INTERNAL"}:
                forbidden[call.id] = refusal
    assert forbidden == {}


async def test_a_customer_orders_changes_skips_pauses_and_cancels_by_themselves(
    ann: Customer, page: Client
) -> None:
    request = await ann.ask(title="Mine")
    request.standing_order_id = ""
    request.allow_duplicate = True
    made = await page.scheduler.CreateStandingOrder(request)
    made.items[0].quantity = 3
    changed = await page.scheduler.UpdateStandingOrder(
        scheduler_pb2.UpdateStandingOrderRequest(
            # As a page has it: with the terms, which the mask leaves as they are.
            standing_order=made,
            update_mask=field_mask_pb2.FieldMask(paths=["items"]),
            request_id=new_id(),
        )
    )
    assert changed.items[0].quantity == 3
    calls = {call.method: call for call in platform_calls(ann.shop.merchant)}
    for step in ("SkipCycle", "RestoreCycle", "PauseStandingOrder", "ResumeStandingOrder"):
        await calls[step].make(page, name=made.name)
    ended = await calls["CancelStandingOrder"].make(page, name=made.name)
    assert ended.state == scheduler_pb2.StandingOrder.CANCELLED
    listed = await page.scheduler.ListStandingOrders(
        scheduler_pb2.ListStandingOrdersRequest(parent=ann.shop.name, customer=ann.name)
    )
    assert {order.name.rpartition("/")[2] for order in listed.standing_orders} == {
        "weekly", made.name.rpartition("/")[2],
    }  # fmt: skip


async def test_a_customer_keeps_their_cards_mandates_and_contact_by_themselves(
    ann: Customer, page: Client
) -> None:
    await page.payments.CreatePaymentMethod(
        payments_pb2.CreatePaymentMethodRequest(
            parent=ann.name,
            payment_method_id="spare",
            payment_method=payments_pb2.PaymentMethod(provider_token=CARD),
            request_id=new_id(),
        )
    )
    listed = await page.payments.ListPaymentMethods(
        payments_pb2.ListPaymentMethodsRequest(parent=ann.name)
    )
    assert len(listed.payment_methods) == 2
    revoked = await page.payments.RevokeMandate(
        payments_pb2.RevokeMandateRequest(name=ann.mandate, request_id=new_id())
    )
    assert revoked.state == payments_pb2.Mandate.REVOKED
    contact = await page.notify.GetContact(notify_pb2.GetContactRequest(name=f"{ann.name}/contact"))
    contact.display_name = "Anna"
    changed = await page.notify.UpdateContact(
        notify_pb2.UpdateContactRequest(
            contact=contact,
            update_mask=field_mask_pb2.FieldMask(paths=["display_name"]),
            request_id=new_id(),
        )
    )
    assert (changed.display_name, changed.masked_phone) == ("Anna", contact.masked_phone)


async def test_a_customer_is_not_told_that_their_card_is_taken_for_a_lost_one(
    ann: Customer, page: Client
) -> None:
    calls = {call.id: call for call in platform_calls(ann.shop.merchant)}
    replace = calls["payments.ReplacePaymentMethod"]
    replace.request.payment_method.provider_token = "pm_card_chargeDeclinedLostCard"
    await replace.make(page)
    lost = f"{ann.name}/paymentMethods/next"
    await ann.suite.advance(NOTICE_LEAD + timedelta(days=3))
    await ann.suite.sandbox.settle()
    to_merchant, to_customer = [
        await calls["payments.GetPaymentMethod"].make(client, name=lost)
        for client in (ann.shop, page)
    ]
    assert (to_merchant.decline_code, to_customer.decline_code) == ("lost_card", "generic_decline")
    charge = await calls["payments.GetCharge"].make(page)
    assert [attempt.decline_code for attempt in charge.attempts] == ["generic_decline"]


async def test_the_audit_names_the_customer(ann: Customer, page: Client) -> None:
    await page.payments.PauseMandate(
        payments_pb2.PauseMandateRequest(name=ann.mandate, request_id=new_id())
    )
    listed = await ann.shop.payments.ListAuditEntries(
        audit_pb2.ListAuditEntriesRequest(parent=ann.shop.name, subject=ann.name)
    )
    assert [entry.method for entry in listed.audit_entries] == ["PauseMandate"]


async def test_a_customer_has_no_credit_to_give_themselves(ann: Customer, page: Client) -> None:
    gift = payments_pb2.CreateCreditTransactionRequest(
        parent=ann.name,
        credit_transaction_id="gift",
        credit_transaction=payments_pb2.CreditTransaction(
            amount=to_money(500, "EUR"), type=payments_pb2.CreditTransaction.GOODWILL
        ),
        request_id=new_id(),
    )
    assert kind(await refused(page.payments.CreateCreditTransaction(gift))) == FORBIDDEN
