"""Disputes, from the payer's bank to the books, as a platform sees them."""

from datetime import timedelta
from typing import Any

import pytest
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import events_pb2, payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.rpc.conversions import to_money
from tests.contract.customer import NOTICE_LEAD, TEA_CENTS, Customer, new_customer
from tests.contract.every_call import Call, platform_calls
from tests.suite import Suite, new_id, refused

DUE = NOTICE_LEAD + timedelta(days=3)
Dispute = payments_pb2.Dispute


@pytest.fixture
async def ann(suite: Suite) -> Customer:
    """Ann, whose first order is paid."""
    ann = await new_customer(suite)
    request = await ann.ask()
    request.standing_order_id = "weekly"
    await ann.shop.scheduler.CreateStandingOrder(request)
    await suite.advance(DUE)
    return ann


def calls_of(ann: Customer) -> dict[str, Call]:
    return {call.method: call for call in platform_calls(ann.shop.merchant)}


async def twice(ann: Customer, call: Call) -> Any:  # noqa: ANN401
    """What a mutation answers, and answers again."""
    call.request.request_id = new_id()
    made = await call.make(ann.shop)
    assert await call.make(ann.shop) == made
    return made


async def dispute_of(ann: Customer) -> payments_pb2.Dispute:
    """Ann disputes what she paid, and the provider says so by a webhook."""
    calls = calls_of(ann)
    charge = await calls["GetCharge"].make(ann.shop)
    payment = charge.attempts[-1].provider_payment
    await ann.suite.sandbox.post("/provider/disputes", {"payment_intent": payment})
    await ann.suite.sandbox.settle()
    [dispute] = (await calls["ListDisputes"].make(ann.shop, charge=charge.name)).disputes
    found: payments_pb2.Dispute = dispute
    return found


async def test_a_dispute_is_answered_once_with_what_is_stored(ann: Customer) -> None:
    async with ann.suite.subscribe_events() as subscription:
        dispute = await dispute_of(ann)
        opened = await subscription.next(events_pb2.DisputeOpened, ann.shop.merchant)
    assert opened.message.dispute == dispute.name
    assert (dispute.state, dispute.amount) == (
        Dispute.NEEDS_RESPONSE,
        to_money(2 * TEA_CENTS, "EUR"),
    )
    calls = calls_of(ann)
    refund = await refused(calls["CreateRefund"].make(ann.shop))
    assert refund.reason == "CHARGE_DISPUTED"

    submit = calls["SubmitDisputeEvidence"]
    submit.request.name = dispute.name
    submit.request.text = "winning_evidence"
    answered = await twice(ann, submit)
    assert "access_activity_log" in {evidence.field for evidence in answered.evidence}
    assert (await refused(submit.make(ann.shop, request_id=new_id()))).reason == "DISPUTE_STATE"
    await ann.suite.sandbox.settle()
    got = await calls["GetDispute"].make(ann.shop, name=dispute.name)
    assert got.state == Dispute.WON
    kinds = [notice.kind for notice in (await calls["ListNotices"].make(ann.shop)).notices]
    assert kinds.count(notify_pb2.DISPUTE_OPENED) == kinds.count(notify_pb2.DISPUTE_CLOSED) == 1
    assert [each.name for each in (await calls["ListDisputes"].make(ann.shop)).disputes] == [
        dispute.name
    ]
    await calls["CancelStandingOrder"].make(ann.shop, request_id=new_id())


async def test_a_dispute_that_is_accepted_stops_what_is_due_under_the_mandate(
    ann: Customer,
) -> None:
    dispute = await dispute_of(ann)
    calls = calls_of(ann)
    accept = calls["AcceptDispute"]
    accept.request.name = dispute.name
    async with ann.suite.subscribe_events() as subscription:
        await twice(ann, accept)
        await ann.suite.sandbox.settle()
        closed = await subscription.next(events_pb2.DisputeClosed, ann.shop.merchant)
    assert closed.message.state == Dispute.LOST
    assert (await refused(accept.make(ann.shop, request_id=new_id()))).reason == "DISPUTE_STATE"
    await ann.suite.advance(timedelta(days=7))
    second = f"{ann.shop.name}/standingOrders/weekly/orders/2"
    order = await calls["GetOrder"].make(ann.shop, name=second)
    assert order.state in {scheduler_pb2.Order.HELD, scheduler_pb2.Order.LAPSED}
    await calls["CancelStandingOrder"].make(ann.shop, request_id=new_id())


async def test_the_policy_on_disputes_is_got_and_set(ann: Customer) -> None:
    calls = calls_of(ann)
    before = await calls["GetDisputePolicy"].make(ann.shop)
    assert before.charging == payments_pb2.DisputePolicy.STOP_UNLESS_WON
    made = await twice(ann, calls["UpdateDisputePolicy"])
    assert made.charging == payments_pb2.DisputePolicy.STOP_WHILE_OPEN
    assert await calls["GetDisputePolicy"].make(ann.shop) == made
    await calls["CancelStandingOrder"].make(ann.shop, request_id=new_id())
