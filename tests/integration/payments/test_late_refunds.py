"""Refunds that the provider gives back late, or that the customer's bank sends back after days."""

import pytest
from recurring.payments.v1 import payments_pb2

from services.payments import workers
from services.runtime.auth.call_context import act_for_all
from tests.integration.payments.suite import AMOUNT_MINOR, CHARGE, DAY, Payments, event_of
from tests.integration.payments.test_faults_between import Ending
from tests.integration.payments.test_unknown import Crash

Refund = payments_pb2.Refund
HOUR_SECONDS = 3600


@pytest.fixture
async def paid(payments: Payments) -> Payments:
    await payments.consent()
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    return payments


async def refund_of(payments: Payments, refund_id: str = "spilt") -> payments_pb2.Refund:
    request = payments_pb2.GetRefundRequest(name=f"{CHARGE}/refunds/{refund_id}")
    found: payments_pb2.Refund = await payments.call(request)
    return found


async def let_refunds(payments: Payments, **behavior: int) -> None:
    await payments.sandbox.ask("PUT", "/provider/behavior", json=behavior)


async def pass_time_at_provider(payments: Payments, seconds: int) -> None:
    sandbox = payments.sandbox
    async with sandbox.http.post(f"{sandbox.url}/clock/advance", json={"seconds": seconds}) as done:
        await done.read()


async def test_a_refund_is_pending_until_the_provider_has_made_it(paid: Payments) -> None:
    await let_refunds(paid, refunds_pending_seconds=HOUR_SECONDS)
    await paid.refund()
    await paid.pass_time(DAY)
    assert (await refund_of(paid)).state == Refund.PENDING
    assert "RefundSucceeded" not in await paid.published()

    await pass_time_at_provider(paid, HOUR_SECONDS)
    await paid.pass_time(DAY)
    assert (await refund_of(paid)).state == Refund.SUCCEEDED
    listed = (await paid.sandbox.provider("GET", "/refunds")).body["data"]
    assert [each["amount"] for each in listed] == [AMOUNT_MINOR]


async def test_a_refund_that_fails_before_it_is_made_books_nothing(paid: Payments) -> None:
    await let_refunds(
        paid, refunds_pending_seconds=2 * HOUR_SECONDS, refunds_fail_after_seconds=HOUR_SECONDS
    )
    before = await paid.balances()
    await paid.refund()
    await paid.work()
    await pass_time_at_provider(paid, HOUR_SECONDS)
    await paid.pass_time(DAY)

    refund = await refund_of(paid)
    assert (refund.state, refund.failure_code) == (Refund.FAILED, "expired_or_canceled_card")
    assert await paid.balances() == before
    assert "RefundSucceeded" not in await paid.published()
    assert event_of(await paid.events(), "RefundFailed").failure_code == refund.failure_code


async def test_a_refund_that_the_bank_sends_back_after_days_is_booked_back(paid: Payments) -> None:
    await let_refunds(paid, refunds_fail_after_seconds=HOUR_SECONDS)
    before = await paid.balances()
    await paid.refund()
    await paid.work()
    assert (await refund_of(paid)).state == Refund.SUCCEEDED
    assert await paid.balances() != before

    await paid.pass_time(5 * DAY)
    await pass_time_at_provider(paid, HOUR_SECONDS)
    await paid.pass_time(5 * DAY)
    assert (await refund_of(paid)).state == Refund.FAILED
    assert await paid.balances() == {**before, "refunds": 0}
    published = await paid.published()
    assert published[-2:] == ["RefundSucceeded", "RefundFailed"]
    # The merchant can give it back in another way, and the charge shows that nothing was.
    assert (await paid.charge()).refunded_amount.units == 0
    await let_refunds(paid)
    await paid.refund("again")


async def test_a_refund_is_asked_about_for_a_month_and_then_no_more(paid: Payments) -> None:
    await paid.refund()
    await paid.pass_time(40 * DAY)
    assert (await refund_of(paid)).state == Refund.SUCCEEDED
    assert await paid.rows("SELECT next_try_time FROM refunds") == [(None,)]
    requests = (await paid.sandbox.ask("GET", "/record/requests?part=provider&limit=1000")).body
    asked = [
        each
        for each in requests["data"]
        if (each["method"], each["path"]) == ("GET", "/v1/refunds")
    ]
    assert len(asked) == 5


async def test_an_outage_when_a_refund_is_asked_about_delays_the_answer(paid: Payments) -> None:
    await let_refunds(paid, refunds_fail_after_seconds=HOUR_SECONDS)
    await paid.refund()
    await paid.work()
    await pass_time_at_provider(paid, HOUR_SECONDS)
    await paid.sandbox.ask("PUT", "/outages/provider", json={"on": True})
    await paid.pass_time(2 * DAY)
    assert (await refund_of(paid)).state == Refund.SUCCEEDED
    await paid.sandbox.ask("PUT", "/outages/provider", json={"on": False})
    await paid.pass_time(DAY / 12)
    assert (await refund_of(paid)).state == Refund.FAILED


async def test_a_refund_whose_sender_ended_is_given_once_after_its_key_is_forgotten(
    paid: Payments, monkeypatch: pytest.MonkeyPatch
) -> None:
    await let_refunds(paid, keys_forgotten_after_seconds=24 * HOUR_SECONDS)
    await paid.refund(amount_minor=500)
    act_for_all("payments")
    with monkeypatch.context() as patched:
        patched.setattr(workers, "_REFUND_ANSWERED", Ending())
        with pytest.raises(Crash):
            await paid.process().refund()
    # Nobody works for two days.
    paid.clock.move(2 * DAY)
    await paid.sandbox.advance_to(paid.clock.now())
    await paid.work()
    listed = (await paid.sandbox.provider("GET", "/refunds")).body["data"]
    assert [each["amount"] for each in listed] == [500]
    assert (await refund_of(paid)).state == Refund.SUCCEEDED
