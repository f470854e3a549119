"""What becomes of charges, as customers, other services and the provider see it."""

from datetime import timedelta

import pytest
from recurring.payments.v1 import payments_pb2

from services.runtime.rpc.conversions import to_timestamp
from tests.integration.payments.suite import (
    AMOUNT_MINOR,
    CHARGE,
    DAY,
    MANDATE,
    NOW,
    ORDER,
    Abandoned,
    Payments,
    State,
    event_of,
)


async def test_a_due_order_is_charged_once_and_everybody_learns_of_it(payments: Payments) -> None:
    await payments.consent()
    await payments.announce()
    await payments.fall_due()
    await payments.work()

    charge = await payments.charge()
    assert charge.state == State.SUCCEEDED
    assert charge.notice.endswith("/notices/upcoming-1")
    [payment] = await payments.payments_at_provider()
    assert payment["amount_received"] == AMOUNT_MINOR
    assert payment["id"] == charge.attempts[0].provider_payment
    succeeded = event_of(await payments.events(), "PaymentSucceeded")
    assert (succeeded.ref.order, succeeded.ref.charge) == (ORDER, CHARGE)
    assert (succeeded.brand, succeeded.last4, succeeded.attempt_count) == ("visa", "4242", 1)
    assert await payments.balances() == {
        "provider-clearing": AMOUNT_MINOR,
        "receivable": 0,
        "revenue": -AMOUNT_MINOR,
    }


async def test_events_that_come_again_change_nothing(payments: Payments) -> None:
    await payments.consent()
    for _ in range(2):
        await payments.announce()
        await payments.fall_due(payments.due(), payments.due())
        await payments.work()

    assert await payments.published() == ["PaymentSucceeded"]
    assert await payments.charged_minor() == AMOUNT_MINOR


async def test_a_soft_decline_is_tried_again_the_next_day(payments: Payments) -> None:
    await payments.consent("pm_sandbox_declineFirstAttempt")
    await payments.announce()
    await payments.fall_due()
    await payments.work()

    assert (await payments.charge()).next_attempt_time == to_timestamp(NOW + DAY)
    declined = event_of(await payments.events(), "PaymentDeclined")
    assert (declined.attempt, declined.decline_code) == (1, "insufficient_funds")
    assert declined.next_attempt_time == to_timestamp(NOW + DAY)

    await payments.pass_time(DAY)
    charge = await payments.charge()
    assert [attempt.state for attempt in charge.attempts] == [
        payments_pb2.Charge.Attempt.DECLINED,
        payments_pb2.Charge.Attempt.SUCCEEDED,
    ]
    assert await payments.published() == ["PaymentDeclined", "PaymentSucceeded"]


async def test_a_charge_that_is_always_declined_is_abandoned_after_four_attempts(
    payments: Payments,
) -> None:
    await payments.consent("pm_card_chargeDeclinedInsufficientFunds")
    await payments.announce()
    await payments.fall_due()
    await payments.pass_time(20 * DAY)

    charge = await payments.charge()
    assert charge.state == State.ABANDONED
    days = [attempt.start_time.ToDatetime().day for attempt in charge.attempts]
    assert days == [31, 1, 4, 9]
    assert await payments.published() == [*["PaymentDeclined"] * 3, "PaymentAbandoned"]
    abandoned = event_of(await payments.events(), "PaymentAbandoned")
    assert abandoned.reason == Abandoned.DECLINED
    assert abandoned.decline_code == "insufficient_funds"
    assert await payments.balances() == {}


async def test_a_lost_card_is_not_tried_again(payments: Payments) -> None:
    await payments.consent("pm_card_chargeDeclinedLostCard")
    await payments.announce()
    await payments.fall_due()
    await payments.pass_time(20 * DAY)

    assert len((await payments.charge()).attempts) == 1
    assert await payments.published() == ["PaymentAbandoned", "PaymentMethodBlocked"]


async def test_without_a_delivered_notice_nothing_is_charged(payments: Payments) -> None:
    await payments.consent()
    await payments.fall_due()
    await payments.work()
    assert (await payments.charge()).state == State.SCHEDULED

    await payments.pass_time(DAY)
    assert (await payments.charge()).state == State.REFUSED
    refused = event_of(await payments.events(), "PaymentRefused")
    assert refused.reasons == [payments_pb2.NOTICE_NOT_DELIVERED]
    assert await payments.payments_at_provider() == []


async def test_a_charge_goes_on_as_soon_as_its_notice_is_delivered(payments: Payments) -> None:
    await payments.consent()
    await payments.fall_due()
    await payments.pass_time(timedelta(hours=5))
    await payments.announce()
    await payments.work()

    assert (await payments.charge()).state == State.SUCCEEDED


async def test_a_charge_waits_for_the_instant_that_a_late_notice_promised(
    payments: Payments,
) -> None:
    await payments.consent()
    await payments.announce(payments.notice(not_before=NOW + 2 * DAY))
    await payments.fall_due()
    await payments.pass_time(2 * DAY - timedelta(seconds=1))
    assert await payments.charged_minor() == 0

    await payments.pass_time(timedelta(seconds=1))
    assert await payments.charged_minor() == AMOUNT_MINOR


async def test_a_refusal_gives_every_reason(payments: Payments) -> None:
    await payments.consent(ceiling_minor=AMOUNT_MINOR - 1)
    await payments.call(payments_pb2.RevokeMandateRequest(name=MANDATE))
    await payments.announce(payments.notice(amount_minor=AMOUNT_MINOR - 1))
    await payments.fall_due()
    await payments.work()

    charge = await payments.charge()
    assert charge.state == State.REFUSED
    assert charge.refusal_reasons == [
        payments_pb2.ABOVE_NOTIFIED_AMOUNT,
        payments_pb2.MANDATE_REVOKED,
        payments_pb2.ABOVE_CHARGE_CEILING,
    ]
    assert await payments.payments_at_provider() == []


@pytest.mark.parametrize("backwards", [False, True])
async def test_a_notice_that_was_sent_again_counts_from_its_last_delivery(
    payments: Payments, *, backwards: bool
) -> None:
    await payments.consent()
    first = payments.notice()
    payments.clock.move(DAY)
    again = payments.notice(not_before=NOW + 3 * DAY)
    deliveries = (again, first) if backwards else (first, again)
    for delivery in deliveries:
        await payments.announce(delivery)
    await payments.announce(*deliveries)
    await payments.fall_due()
    await payments.work()
    assert await payments.charged_minor() == 0

    payments.clock.move(2 * DAY)
    await payments.work()
    assert await payments.charged_minor() == AMOUNT_MINOR


async def test_another_customers_mandate_allows_nothing(payments: Payments) -> None:
    await payments.consent()
    other = MANDATE.replace("/ann/", "/bob/")
    await payments.announce()
    await payments.fall_due(payments.due(mandate=other))
    await payments.work()

    refused = event_of(await payments.events(), "PaymentRefused")
    assert refused.reasons == [payments_pb2.MANDATE_NOT_FOUND]
