"""Errors of the provider's own, which it answers again for as long as it remembers the key.

It says nothing of what became of the request: nothing, or all that was asked.
"""

from datetime import timedelta

from recurring.payments.v1 import payments_pb2

from services.runtime.rpc.conversions import to_money
from tests.integration.payments.suite import AMOUNT_MINOR, Payments, State
from tests.integration.payments.test_disputes import dispute_of, present, submit
from tests.integration.payments.test_not_made import forget_keys, states_of_attempts

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
NOTHING, ALL = "failed", "failed_halfway"


async def break_at(payments: Payments, kind: str | None) -> None:
    json = {"on": kind is not None, "kind": kind or NOTHING}
    await payments.sandbox.ask("PUT", "/outages/provider", json=json)


async def fall_due(payments: Payments, kind: str | None = None) -> None:
    """A charge falls due while the provider breaks in this way."""
    await payments.consent()
    await payments.announce()
    await break_at(payments, kind)
    await payments.fall_due()
    await payments.work()
    await break_at(payments, None)


async def refunds(payments: Payments) -> list[int]:
    listed = (await payments.sandbox.provider("GET", "/refunds")).body["data"]
    return [refund["amount"] for refund in listed]


async def submissions(payments: Payments) -> int:
    name = (await present(payments)).provider_dispute_id
    found = await payments.sandbox.provider("GET", f"/disputes/{name}")
    return int(found.body["evidence_details"]["submission_count"])


async def test_a_payment_that_was_made_all_the_same_is_found(payments: Payments) -> None:
    await fall_due(payments, ALL)
    assert (await payments.charge()).state == State.IN_FLIGHT
    await payments.pass_time(MINUTE)
    assert (await payments.charge()).state == State.SUCCEEDED
    assert await payments.charged_minor() == AMOUNT_MINOR


async def test_a_payment_that_was_not_made_is_made_once_its_key_is_forgotten(
    payments: Payments,
) -> None:
    await fall_due(payments, NOTHING)
    await payments.pass_time(30 * HOUR)
    # Nobody can say yet that nothing comes of it.
    assert (await payments.charge()).state == State.IN_FLIGHT
    assert await payments.charged_minor() == 0

    forget_keys(payments)
    await payments.pass_time(2 * HOUR)
    assert (await payments.charge()).state == State.SUCCEEDED
    assert await states_of_attempts(payments) == ["NOT_MADE", "SUCCEEDED"]
    assert await payments.charged_minor() == AMOUNT_MINOR


async def test_a_refund_is_given_once_whatever_became_of_it(payments: Payments) -> None:
    await fall_due(payments)
    for name, kind, made in (("first", ALL, [100]), ("second", NOTHING, [100])):
        await break_at(payments, kind)
        await payments.refund(name, 100)
        await payments.work()
        await break_at(payments, None)
        await payments.pass_time(HOUR)
        assert await refunds(payments) == made
    assert (await payments.charge()).refunded_amount == to_money(100, "EUR")

    forget_keys(payments)
    await payments.pass_time(2 * HOUR)
    assert await refunds(payments) == [100, 100]
    assert (await payments.charge()).refunded_amount == to_money(200, "EUR")


async def test_evidence_is_taken_within_the_hour_for_its_time_ends(payments: Payments) -> None:
    await fall_due(payments)
    await dispute_of(payments)
    await break_at(payments, NOTHING)
    await submit(payments, "They signed for it.")
    await break_at(payments, None)
    assert await submissions(payments) == 0
    await payments.pass_time(HOUR)

    assert (await present(payments)).state == payments_pb2.Dispute.UNDER_REVIEW
    assert await submissions(payments) == 1


async def test_evidence_that_was_taken_all_the_same_is_sent_once(payments: Payments) -> None:
    await fall_due(payments)
    await dispute_of(payments)
    await break_at(payments, ALL)
    await submit(payments, "They signed for it.")
    await break_at(payments, None)
    await payments.pass_time(HOUR)

    assert (await present(payments)).state == payments_pb2.Dispute.UNDER_REVIEW
    assert await submissions(payments) == 1
