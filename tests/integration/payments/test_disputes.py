"""Charges that their payers dispute: followed to their end, booked, answered once."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from recurring.payments.v1 import payments_pb2

from services.payments import workers
from services.payments.application import disputes
from services.payments.clients.stripe import StripeProvider
from services.payments.domain.disputes import DisputeLookup, DisputeReport
from services.runtime.auth.call_context import act_for_all
from services.runtime.errors import Problem
from services.runtime.rpc.conversions import to_money, to_timestamp
from tests.integration.payments.suite import (
    AMOUNT_MINOR,
    CHARGE,
    DAY,
    MANDATE,
    Payments,
    State,
    charge_name,
    event_of,
    order,
)
from tests.integration.payments.test_faults_between import Ending
from tests.integration.payments.test_unknown import Crash

Dispute = payments_pb2.Dispute
DisputePolicy = payments_pb2.DisputePolicy


@pytest.fixture
async def paid(payments: Payments) -> Payments:
    await payments.consent()
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    return payments


async def open_dispute(payments: Payments, **wanted: Any) -> str:  # noqa: ANN401
    """The payer disputes the charge at their bank; returns the provider's id of that."""
    [payment] = await payments.payments_at_provider()
    json = {"payment_intent": payment["id"], **wanted}
    return str((await payments.sandbox.ask("POST", "/provider/disputes", json=json)).body["id"])


async def decide(payments: Payments, provider_dispute: str, status: str) -> None:
    path = f"/provider/disputes/{provider_dispute}"
    await payments.sandbox.ask("POST", path, json={"status": status})


async def find_disputes(payments: Payments) -> None:
    """What each process does at an interval, since a webhook may never come."""
    act_for_all("payments")
    await disputes.list_new(payments.database, payments.clock, payments.provider)
    await payments.work()


async def dispute_of(payments: Payments, **wanted: Any) -> payments_pb2.Dispute:  # noqa: ANN401
    await open_dispute(payments, **wanted)
    await find_disputes(payments)
    return await present(payments)


async def present(payments: Payments) -> payments_pb2.Dispute:
    request = payments_pb2.ListDisputesRequest(parent="merchants/acme", charge=CHARGE)
    [dispute] = (await payments.call(request)).disputes
    found: payments_pb2.Dispute = dispute
    return found


async def submit(payments: Payments, text: str) -> None:
    name = (await present(payments)).name
    await payments.call(payments_pb2.SubmitDisputeEvidenceRequest(name=name, text=text))
    await payments.work()


async def reason_of_refusal(payments: Payments, request: Any) -> str:  # noqa: ANN401
    with pytest.raises(Problem) as refused:
        await payments.call(request)
    return refused.value.reason


async def test_a_dispute_is_found_without_a_webhook_and_its_money_leaves_the_clearing(
    paid: Payments,
) -> None:
    dispute = await dispute_of(paid, reason="product_not_received")
    assert (dispute.state, dispute.reason) == (Dispute.NEEDS_RESPONSE, "product_not_received")
    assert (dispute.charge, dispute.mandate) == (CHARGE, MANDATE)
    assert dispute.fee == to_money(1500, "EUR")
    balances = await paid.balances()
    assert (balances["provider-clearing"], balances["disputes"]) == (0, AMOUNT_MINOR)
    opened = event_of(await paid.events(), "DisputeOpened")
    assert (opened.dispute, opened.inquiry) == (dispute.name, False)


@pytest.mark.parametrize(
    ("text", "state", "taken_minor"),
    [("winning_evidence", Dispute.WON, 0), ("losing_evidence", Dispute.LOST, AMOUNT_MINOR)],
)
async def test_what_the_bank_decides_about_the_evidence_is_booked_and_published_once(
    paid: Payments, text: str, state: Dispute.State.ValueType, taken_minor: int
) -> None:
    await dispute_of(paid)
    await submit(paid, text)
    await paid.pass_time(3 * DAY)
    assert (await present(paid)).state == state
    balances = await paid.balances()
    assert balances["disputes"] == taken_minor
    assert balances["provider-clearing"] == AMOUNT_MINOR - taken_minor
    assert event_of(await paid.events(), "DisputeClosed").state == state


async def test_the_evidence_says_what_was_stored_and_is_sent_once(paid: Payments) -> None:
    dispute = await dispute_of(paid)
    await paid.sandbox.ask("PUT", "/outages/provider", json={"kind": "lost_answers", "times": 2})
    await submit(paid, "They signed for it.")
    await paid.pass_time(DAY)

    shown = {evidence.field: evidence.text for evidence in (await present(paid)).evidence}
    assert shown["uncategorized_text"] == "They signed for it."
    activities = shown["access_activity_log"].splitlines()
    agreed = sha256(b"Charge me for coffee.").hexdigest()
    assert f'charged: "Charge me for coffee." (SHA-256 {agreed})' in activities[0]
    assert "notified of a charge of at most 12.50 EUR" in activities[1]
    assert "12.50 EUR by visa 4242: attempt 1 succeeded." in activities[2]
    found = await paid.sandbox.provider("GET", f"/disputes/{dispute.provider_dispute_id}")
    assert found.body["evidence_details"]["submission_count"] == 1
    assert found.body["evidence"]["access_activity_log"] == shown["access_activity_log"]
    assert (await present(paid)).state == Dispute.UNDER_REVIEW
    again = payments_pb2.SubmitDisputeEvidenceRequest(name=dispute.name, text="More.")
    assert await reason_of_refusal(paid, again) == "DISPUTE_STATE"


async def test_evidence_whose_sender_ended_is_not_sent_again_after_its_key_is_forgotten(
    paid: Payments, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten = {"keys_forgotten_after_seconds": 86_400}
    await paid.sandbox.ask("PUT", "/provider/behavior", json=forgotten)
    dispute = await dispute_of(paid)
    await paid.call(
        payments_pb2.SubmitDisputeEvidenceRequest(name=dispute.name, text="They signed for it.")
    )
    act_for_all("payments")
    with monkeypatch.context() as patched:
        patched.setattr(workers, "_RESPONSES_ANSWERED", Ending())
        with pytest.raises(Crash):
            await paid.process().answer_disputes()
    # Nobody works for two days.
    paid.clock.move(2 * DAY)
    await paid.sandbox.advance_to(paid.clock.now())
    await paid.due_work.answer_disputes()
    found = await paid.sandbox.provider("GET", f"/disputes/{dispute.provider_dispute_id}")
    assert found.body["evidence_details"]["submission_count"] == 1
    shown = await present(paid)
    assert shown.HasField("response_send_time")
    assert not shown.response_failure


async def consent_to_more(payments: Payments, ceiling_minor: int, text: str) -> str:
    """The customer agrees to a higher ceiling; returns the SHA-256 of what they agreed to."""
    await payments.call(
        payments_pb2.AmendMandateRequest(
            name=MANDATE,
            terms=payments_pb2.MandateTerms(charge_ceiling=to_money(ceiling_minor, "EUR")),
            update_mask=FieldMask(paths=["charge_ceiling"]),
            evidence=payments_pb2.Mandate.Evidence(
                text=text,
                accept_time=to_timestamp(payments.clock.now()),
                channel=payments_pb2.Mandate.PHONE,
                text_version="v2",
            ),
        )
    )
    payments.clock.move(timedelta(minutes=1))
    return sha256(text.encode()).hexdigest()


async def test_the_evidence_shows_each_consent_that_the_charge_was_made_under(
    payments: Payments,
) -> None:
    await payments.consent()
    payments.clock.move(timedelta(minutes=1))
    agreed = await consent_to_more(payments, 20_000, "Charge me up to 200 EUR.")
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    await consent_to_more(payments, 30_000, "Charge me up to 300 EUR, later.")
    await dispute_of(payments)
    await submit(payments, "")

    shown = {evidence.field: evidence.text for evidence in (await present(payments)).evidence}
    first, second, *others = shown["access_activity_log"].splitlines()
    assert 'agreed to be charged: "Charge me for coffee."' in first
    assert second.endswith(
        "The customer agreed to a change of that (phone):"
        f' "Charge me up to 200 EUR." (version v2, SHA-256 {agreed})'
    )
    assert "300 EUR" not in "".join(others)


async def test_a_dispute_that_is_accepted_is_lost(paid: Payments) -> None:
    dispute = await dispute_of(paid)
    await paid.call(payments_pb2.AcceptDisputeRequest(name=dispute.name))
    await paid.work()
    lost = await present(paid)
    assert (lost.state, lost.response) == (Dispute.LOST, Dispute.ACCEPTANCE)


async def test_an_inquiry_takes_no_money_and_may_become_a_dispute(paid: Payments) -> None:
    before = await paid.balances()
    provider_dispute = await open_dispute(paid, inquiry=True)
    await find_disputes(paid)
    assert (await present(paid)).state == Dispute.INQUIRY_NEEDS_RESPONSE
    assert await paid.balances() == before
    await decide(paid, provider_dispute, "needs_response")
    await paid.pass_time(DAY)
    assert (await present(paid)).state == Dispute.NEEDS_RESPONSE
    opened = [e for e in await paid.events() if e.DESCRIPTOR.name == "DisputeOpened"]
    assert [event.inquiry for event in opened] == [True, False]  # type: ignore[attr-defined]


async def test_what_is_disputed_is_not_refunded_and_what_is_lost_is_not_left(
    paid: Payments,
) -> None:
    await dispute_of(paid, amount=1000)
    request = payments_pb2.CreateRefundRequest(parent=CHARGE, refund_id="spilt")
    assert await reason_of_refusal(paid, request) == "CHARGE_DISPUTED"
    await submit(paid, "losing_evidence")
    more = payments_pb2.CreateRefundRequest(parent=CHARGE, refund_id="spilt", request_id="")
    more.refund.amount.CopyFrom(to_money(251, "EUR"))
    assert await reason_of_refusal(paid, more) == "REFUND_ABOVE_CHARGE"
    await paid.refund()
    await paid.work()
    assert (await paid.charge()).refunded_amount == to_money(250, "EUR")


async def fall_due_again(payments: Payments, number: int) -> payments_pb2.Charge:
    await payments.announce(payments.notice(order(number)))
    await payments.fall_due(payments.due(order(number)))
    await payments.work()
    return await payments.charge(charge_name(number))


async def test_nothing_is_charged_under_the_mandate_unless_the_dispute_is_won(
    paid: Payments,
) -> None:
    await dispute_of(paid)
    refused = await fall_due_again(paid, 2)
    assert refused.refusal_reasons == [
        payments_pb2.MANDATE_PAUSED,
        payments_pb2.MANDATE_DISPUTED,
    ]
    await submit(paid, "winning_evidence")
    assert (await fall_due_again(paid, 3)).state == State.SUCCEEDED


@pytest.mark.parametrize(
    ("charging", "state"),
    [
        (DisputePolicy.STOP_UNLESS_WON, State.REFUSED),
        (DisputePolicy.STOP_WHILE_OPEN, State.SUCCEEDED),
        (DisputePolicy.GO_ON, State.SUCCEEDED),
    ],
)
async def test_the_merchants_policy_says_what_a_lost_dispute_stops(
    paid: Payments, charging: DisputePolicy.Charging.ValueType, state: State.ValueType
) -> None:
    policy = DisputePolicy(name="merchants/acme/disputePolicy", charging=charging)
    await paid.call(payments_pb2.UpdateDisputePolicyRequest(dispute_policy=policy))
    await dispute_of(paid)
    await submit(paid, "losing_evidence")
    assert (await fall_due_again(paid, 2)).state == state


async def test_a_dispute_of_a_payment_that_is_not_ours_is_kept_for_people(
    payments: Payments,
) -> None:
    other = await payments.sandbox.charge("pm_card_createDispute", key="another-system")
    assert other.status == 200
    await find_disputes(payments)
    await payments.pass_time(2 * DAY)
    found = await payments.rows("SELECT finding, next_lookup_time FROM dispute_lookups")
    assert found == [(disputes.UNKNOWN_PAYMENT, None)]


async def test_two_processes_that_look_a_dispute_up_book_it_once(paid: Payments) -> None:
    await open_dispute(paid)
    act_for_all("payments")
    await disputes.list_new(paid.database, paid.clock, paid.provider)
    twins = [paid.process() for _ in range(2)]
    await asyncio.gather(*(twin.look_up_disputes() for twin in twins))
    await paid.work()
    assert (await paid.balances())["disputes"] == AMOUNT_MINOR
    assert (await paid.published()).count("DisputeOpened") == 1


async def test_an_open_dispute_is_looked_up_daily_until_it_is_over(paid: Payments) -> None:
    provider_dispute = await open_dispute(paid)
    await find_disputes(paid)
    await decide(paid, provider_dispute, "lost")
    await paid.pass_time(DAY - timedelta(hours=1))
    assert (await present(paid)).state == Dispute.NEEDS_RESPONSE
    await paid.pass_time(timedelta(hours=1))
    assert (await present(paid)).state == Dispute.LOST
    act_for_all("payments")
    assert await paid.rows("SELECT next_lookup_time FROM dispute_lookups") == [(None,)]


async def test_a_mandate_that_was_paused_by_hand_stays_so_if_the_dispute_is_won(
    paid: Payments,
) -> None:
    await dispute_of(paid)
    await paid.call(payments_pb2.PauseMandateRequest(name=MANDATE))
    await submit(paid, "winning_evidence")
    assert (await present(paid)).state == Dispute.WON
    mandate = await paid.call(payments_pb2.GetMandateRequest(name=MANDATE))
    assert mandate.state == payments_pb2.Mandate.PAUSED
    assert mandate.pause_reason == payments_pb2.Mandate.REQUESTED


async def test_a_mandate_that_was_resumed_by_hand_is_not_paused_by_later_news_of_the_dispute(
    paid: Payments,
) -> None:
    name = await open_dispute(paid)
    await find_disputes(paid)
    await submit(paid, "losing_evidence")
    await paid.call(payments_pb2.ResumeMandateRequest(name=MANDATE))
    assert isinstance(paid.provider, StripeProvider)
    report = await paid.provider.dispute(name)
    assert isinstance(report, DisputeReport)
    lookup = DisputeLookup(report.provider, name)
    act_for_all("payments")
    async with paid.database.begin() as tx:
        news = [(lookup, replace(report, fee_minor=2000))]
        await disputes.settle(tx, news, paid.clock.now())
    assert (await present(paid)).fee == to_money(2000, "EUR")
    assert (await fall_due_again(paid, 2)).state == State.SUCCEEDED


async def dispute_two(payments: Payments) -> list[str]:
    """The payer disputes two charges under one mandate; returns what the provider calls that."""
    await fall_due_again(payments, 2)
    opened = []
    for payment in await payments.payments_at_provider():
        json = {"payment_intent": payment["id"]}
        answer = await payments.sandbox.ask("POST", "/provider/disputes", json=json)
        opened.append(str(answer.body["id"]))
    await find_disputes(payments)
    return opened


async def test_a_dispute_that_was_lost_keeps_the_mandate_paused_if_another_is_won(
    paid: Payments,
) -> None:
    first, second = await dispute_two(paid)
    await decide(paid, first, "lost")
    await paid.pass_time(DAY)
    await decide(paid, second, "won")
    await paid.pass_time(DAY)
    refused = await fall_due_again(paid, 3)
    assert refused.refusal_reasons == [payments_pb2.MANDATE_PAUSED]
    closed = [e for e in await paid.events() if e.DESCRIPTOR.name == "DisputeClosed"]
    assert [event.mandate_paused for event in closed] == [True, True]  # type: ignore[attr-defined]


async def test_a_dispute_that_is_won_resumes_what_was_resumed_by_hand_after_another_was_lost(
    paid: Payments,
) -> None:
    await dispute_of(paid)
    await submit(paid, "losing_evidence")
    await paid.call(payments_pb2.ResumeMandateRequest(name=MANDATE))
    paid.clock.move(timedelta(minutes=1))
    await fall_due_again(paid, 2)
    second = (await paid.payments_at_provider())[1]
    answer = await paid.sandbox.ask(
        "POST", "/provider/disputes", json={"payment_intent": second["id"]}
    )
    await find_disputes(paid)
    assert (await fall_due_again(paid, 3)).state == State.REFUSED
    await decide(paid, answer.body["id"], "won")
    await paid.pass_time(DAY)
    assert (await fall_due_again(paid, 4)).state == State.SUCCEEDED


async def test_an_inquiry_that_becomes_a_dispute_of_less_books_what_the_provider_took(
    paid: Payments,
) -> None:
    name = await open_dispute(paid, inquiry=True)
    await find_disputes(paid)
    await decide(paid, name, "needs_response")
    assert isinstance(paid.provider, StripeProvider)
    report = await paid.provider.dispute(name)
    assert isinstance(report, DisputeReport)
    act_for_all("payments")
    async with paid.database.begin() as tx:
        news = [(DisputeLookup(report.provider, name), replace(report, amount_minor=1000))]
        await disputes.settle(tx, news, paid.clock.now())
    assert (await paid.balances())["disputes"] == 1000
    assert (await present(paid)).amount == to_money(1000, "EUR")


async def test_evidence_that_does_not_open_waits_for_its_key_and_holds_up_no_other(
    paid: Payments,
) -> None:
    await dispute_two(paid)
    names = [await dispute_name(paid, number) for number in (1, 2)]
    for name in names:
        await paid.call(payments_pb2.SubmitDisputeEvidenceRequest(name=name, text="They signed."))
    await exchange_keys(paid, names[0], "test-1:", "gone-1:")
    act_for_all("payments")
    await paid.due_work.answer_disputes()
    await exchange_keys(paid, names[0], "gone-1:", "test-1:")
    assert [await is_sent(paid, name) for name in names] == [False, True]

    await paid.pass_time(timedelta(minutes=1))
    assert [await is_sent(paid, name) for name in names] == [True, True]


async def dispute_name(payments: Payments, number: int) -> str:
    request = payments_pb2.ListDisputesRequest(parent="merchants/acme", charge=charge_name(number))
    [dispute] = (await payments.call(request)).disputes
    return str(dispute.name)


async def is_sent(payments: Payments, name: str) -> bool:
    dispute = await payments.call(payments_pb2.GetDisputeRequest(name=name))
    return bool(dispute.HasField("response_send_time"))


async def exchange_keys(payments: Payments, name: str, old: str, new: str) -> None:
    """Have the evidence of a dispute name another key."""
    async with payments.database.begin() as tx:
        await tx.execute(
            "UPDATE disputes SET evidence = CAST($1 AS bytea) || substr(evidence, $2 + 1)"
            " WHERE dispute = $3",
            new.encode(),
            len(old),
            name.rpartition("/")[2],
        )
