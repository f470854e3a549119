"""What customers write back, from their phone to the service that does it and back."""

from datetime import timedelta

import pytest
from recurring.audit.v1 import audit_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from tests.contract.customer import NOTICE_LEAD, Customer, new_customer
from tests.suite import Suite, new_id

DUE = NOTICE_LEAD + timedelta(days=3)
MANUAL = {"billing_mode": scheduler_pb2.PAY_ON_NOTICE, "mandate": ""}


@pytest.fixture
async def ann(suite: Suite) -> Customer:
    return await new_customer(suite)


async def write(ann: Customer, text: str) -> str:
    """Write on Ann's phone; returns the one message that confirms it."""
    before = len(await ann.suite.sandbox.inbox(ann.phone))
    await ann.suite.sandbox.reply(ann.phone, text)
    await ann.suite.sandbox.settle()
    [received] = (await ann.suite.sandbox.inbox(ann.phone))[before:]
    return str(received["body"])


async def order_of(ann: Customer, standing_order: str) -> scheduler_pb2.Order:
    request = scheduler_pb2.GetOrderRequest(name=f"{standing_order}/orders/1")
    order: scheduler_pb2.Order = await ann.shop.scheduler.GetOrder(request)
    return order


async def test_skip_leaves_out_the_order_and_nothing_is_charged(ann: Customer) -> None:
    tea = (await ann.subscribe()).name
    await ann.suite.advance(timedelta(days=2, hours=12))
    answers = [await write(ann, it) for it in ("Skip, please!", "skip.", "SKIP")]
    await ann.suite.advance(DUE)

    assert "Reply SKIP" in answers[0]
    assert "is skipped. Nothing is charged for it." in answers[1]
    assert answers[2] == answers[1]
    order = await order_of(ann, tea)
    assert order.state == scheduler_pb2.Order.SKIPPED
    charges = await ann.shop.payments.ListCharges(payments_pb2.ListChargesRequest(parent=ann.name))
    assert not any(charge.order == order.name for charge in charges.charges)
    listed = await ann.shop.scheduler.ListAuditEntries(
        audit_pb2.ListAuditEntriesRequest(parent=ann.shop.name, page_size=10)
    )
    entry = next(it for it in listed.audit_entries if it.method == "SkipCycle")
    assert entry.subject == "notify"


async def test_an_order_that_was_charged_is_not_skipped_and_the_answer_says_so(
    ann: Customer,
) -> None:
    await ann.subscribe()
    await ann.suite.advance(DUE)

    assert "its payment has begun, or it is over" in await write(ann, "SKIP")


async def test_pause_has_the_standing_order_wait(ann: Customer) -> None:
    tea = (await ann.subscribe()).name
    await ann.suite.advance(timedelta(days=2, hours=12))
    answers = [await write(ann, "PAUSE") for _ in range(2)]

    assert answers[0].startswith("Tea is paused: what is announced is cancelled")
    assert answers[1].startswith("Tea is not active")
    got = await ann.shop.scheduler.GetStandingOrder(scheduler_pb2.GetStandingOrderRequest(name=tea))
    assert got.state == scheduler_pb2.StandingOrder.PAUSED


async def test_pay_confirms_the_request_by_the_default_payment_method(ann: Customer) -> None:
    tea = (await ann.subscribe(**MANUAL)).name
    await ann.suite.advance(DUE)
    answer = await write(ann, "pay")

    assert "You paid" in answer
    assert (await order_of(ann, tea)).state == scheduler_pb2.Order.PAID


async def test_without_a_payment_method_pay_says_what_is_missing(ann: Customer) -> None:
    await ann.subscribe(**MANUAL)
    await ann.suite.advance(DUE)
    await ann.shop.payments.DetachPaymentMethod(
        payments_pb2.DetachPaymentMethodRequest(name=ann.card, force=True, request_id=new_id())
    )

    assert "please choose a payment method" in await write(ann, "PAY")
