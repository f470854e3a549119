"""Disputes at the payment provider, as a merchant's program and the official library meet them."""

import asyncio
from typing import Any

import pytest
import stripe

from tests.integration.sandbox.process import PROVIDER_API_KEY, Sandbox, StartSandbox

WEEK_SECONDS = 7 * 24 * 3600


async def dispute_of(sandbox: Sandbox, card: str = "pm_card_createDispute") -> dict[str, Any]:
    paid = await sandbox.charge(card, key=card)
    [dispute] = (await sandbox.provider("GET", f"/disputes?payment_intent={paid.body['id']}")).body[
        "data"
    ]
    return dict(dispute)


async def answer(sandbox: Sandbox, dispute: dict[str, Any], text: str) -> dict[str, Any]:
    form = {"evidence[uncategorized_text]": text}
    answered = await sandbox.provider("POST", f"/disputes/{dispute['id']}", form=form)
    return dict(answered.body)


def net(dispute: dict[str, Any]) -> int:
    return sum(moved["net"] for moved in dispute["balance_transactions"])


async def test_a_disputed_payment_is_withdrawn_with_a_fee_and_its_evidence_is_due(
    sandbox: Sandbox,
) -> None:
    dispute = await dispute_of(sandbox)
    assert (dispute["status"], dispute["reason"]) == ("needs_response", "fraudulent")
    assert net(dispute) == -1250 - 1500
    assert dispute["evidence_details"]["due_by"] == dispute["created"] + WEEK_SECONDS


@pytest.mark.parametrize(
    ("text", "status", "net_amount"),
    [
        ("winning_evidence", "won", -1500),
        ("losing_evidence", "lost", -2750),
        ("They signed for it.", "under_review", -2750),
    ],
)
async def test_evidence_decides_as_in_stripes_test_mode(
    sandbox: Sandbox, text: str, status: str, net_amount: int
) -> None:
    answered = await answer(sandbox, await dispute_of(sandbox), text)
    assert (answered["status"], net(answered)) == (status, net_amount)
    assert answered["evidence_details"]["submission_count"] == 1
    refused = await sandbox.provider(
        "POST", f"/disputes/{answered['id']}", form={"evidence[uncategorized_text]": "More."}
    )
    assert refused.status == 400


async def test_an_inquiry_moves_no_money_until_it_is_a_chargeback(sandbox: Sandbox) -> None:
    inquiry = await dispute_of(sandbox, "pm_card_createDisputeInquiry")
    assert (inquiry["status"], net(inquiry)) == ("warning_needs_response", 0)
    assert inquiry["is_charge_refundable"]
    escalated = await answer(sandbox, inquiry, "escalate_inquiry_evidence")
    assert (escalated["status"], net(escalated)) == ("needs_response", -2750)


async def test_what_nobody_answers_is_lost_when_it_is_due(start_sandbox: StartSandbox) -> None:
    sandbox = await start_sandbox(SANDBOX_EXPECTED_SERVICES=",")
    dispute = await dispute_of(sandbox)
    async with sandbox.http.post(
        f"{sandbox.url}/clock/advance", json={"seconds": WEEK_SECONDS}
    ) as done:
        await done.read()
    shown = (await sandbox.provider("GET", f"/disputes/{dispute['id']}")).body
    assert (shown["status"], shown["evidence_details"]["past_due"]) == ("lost", True)


async def test_what_is_disputed_or_lost_cannot_be_refunded(sandbox: Sandbox) -> None:
    dispute = await dispute_of(sandbox)
    form = {"payment_intent": dispute["payment_intent"]}
    refused = await sandbox.provider("POST", "/refunds", form=form)
    assert (refused.status, refused.body["error"]["code"]) == (400, "charge_disputed")
    closed = await sandbox.provider("POST", f"/disputes/{dispute['id']}/close", form={})
    assert closed.body["status"] == "lost"
    refused = await sandbox.provider("POST", "/refunds", form=form)
    assert refused.body["error"]["code"] == "charge_already_refunded"


async def test_the_bank_decides_what_is_under_review(sandbox: Sandbox) -> None:
    paid = await sandbox.charge("pm_card_visa", key="1")
    opened = await sandbox.ask(
        "POST",
        "/provider/disputes",
        json={"payment_intent": paid.body["id"], "reason": "duplicate", "amount": 1000},
    )
    assert (opened.body["amount"], opened.body["reason"]) == (1000, "duplicate")
    await answer(sandbox, opened.body, "It was sent twice, and paid twice.")
    path = f"/provider/disputes/{opened.body['id']}"
    assert (await sandbox.ask("POST", path, json={"status": "won"})).body["status"] == "won"
    assert (await sandbox.ask("POST", path, json={"status": "won"})).status == 400


async def test_the_official_library_finds_a_dispute_with_its_payment(sandbox: Sandbox) -> None:
    dispute = await dispute_of(sandbox)
    client = stripe.StripeClient(
        PROVIDER_API_KEY, base_addresses={"api": sandbox.url}, max_network_retries=0
    )
    found = await asyncio.to_thread(
        client.v1.disputes.retrieve, dispute["id"], {"expand": ["payment_intent"]}
    )
    assert isinstance(found, stripe.Dispute)
    assert isinstance(found.payment_intent, stripe.PaymentIntent)
    assert found.payment_intent.id == dispute["payment_intent"]
    lost = await asyncio.to_thread(client.v1.disputes.close, dispute["id"])
    assert lost.status == "lost"
