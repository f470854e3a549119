"""Payments that the customer confirms, and payments that are not wanted any more."""

from datetime import timedelta

import pytest
from recurring.payments.v1 import payments_pb2

from services.runtime.errors import Problem
from services.runtime.rpc.conversions import to_timestamp
from tests.integration.payments.suite import (
    AMOUNT_MINOR,
    ANN,
    CHARGE,
    DAY,
    NOW,
    Abandoned,
    Payments,
    State,
    event_of,
)

LOST = f"{ANN}/paymentMethods/lost"


async def test_a_request_is_charged_when_the_customer_confirms(payments: Payments) -> None:
    await payments.payment_method()
    await payments.fall_due(payments.due_on_notice())
    await payments.work()
    requested = event_of(await payments.events(), "PaymentRequested")
    assert requested.expire_time == to_timestamp(NOW + DAY)
    assert await payments.payments_at_provider() == []

    await payments.confirm()
    await payments.work()
    assert (await payments.charge()).state == State.SUCCEEDED
    assert await payments.charged_minor() == AMOUNT_MINOR


async def test_a_request_that_nobody_confirms_ends(payments: Payments) -> None:
    await payments.fall_due(payments.due_on_notice())
    await payments.pass_time(DAY)

    abandoned = event_of(await payments.events(), "PaymentAbandoned")
    assert abandoned.reason == Abandoned.REQUEST_EXPIRED


async def test_a_decline_after_confirming_in_time_leaves_a_day_for_another_card(
    payments: Payments,
) -> None:
    await payments.payment_method()
    await payments.payment_method("pm_card_chargeDeclinedLostCard", LOST)
    await payments.fall_due(payments.due_on_notice())
    await payments.pass_time(DAY - timedelta(minutes=1))
    await payments.confirm(payment_method=LOST)
    await payments.work()
    declined = event_of(await payments.events(), "PaymentDeclined")
    assert declined.expire_time == to_timestamp(payments.clock.now() + DAY)

    await payments.pass_time(DAY - timedelta(minutes=1))
    await payments.confirm()
    await payments.work()
    assert (await payments.charge()).state == State.SUCCEEDED


async def test_a_declined_request_can_be_confirmed_with_another_card(payments: Payments) -> None:
    await payments.payment_method()
    await payments.payment_method("pm_card_chargeDeclinedLostCard", LOST)
    await payments.fall_due(payments.due_on_notice())
    await payments.confirm(payment_method=LOST)
    await payments.work()
    assert (await payments.charge()).state == State.REQUESTED
    declined = event_of(await payments.events(), "PaymentDeclined")
    assert not declined.HasField("next_attempt_time")

    await payments.confirm()
    await payments.work()
    assert (await payments.charge()).state == State.SUCCEEDED


async def test_a_confirmed_request_that_stays_declined_ends_as_declined(payments: Payments) -> None:
    await payments.payment_method("pm_card_chargeDeclinedInsufficientFunds", LOST)
    await payments.fall_due(payments.due_on_notice())
    await payments.confirm(payment_method=LOST)
    await payments.pass_time(DAY)

    abandoned = event_of(await payments.events(), "PaymentAbandoned")
    assert abandoned.reason == Abandoned.DECLINED
    assert abandoned.decline_code == "insufficient_funds"


async def test_a_request_that_is_being_charged_can_not_be_confirmed_again(
    payments: Payments,
) -> None:
    await payments.payment_method("pm_sandbox_timeoutAfterCharge")
    await payments.fall_due(payments.due_on_notice())
    await payments.confirm()
    await payments.work()

    with pytest.raises(Problem) as refused:
        await payments.confirm()
    assert refused.value.reason == "PAYMENT_REQUEST_STATE"


async def test_an_automatic_charge_is_no_request(payments: Payments) -> None:
    await payments.consent()
    await payments.fall_due()
    with pytest.raises(Problem) as refused:
        await payments.confirm()
    assert refused.value.reason == "PAYMENT_REQUEST_STATE"


async def test_another_customers_card_can_not_be_confirmed_with(payments: Payments) -> None:
    await payments.fall_due(payments.due_on_notice())
    with pytest.raises(Problem) as refused:
        await payments.confirm(payment_method=LOST.replace("/ann/", "/bob/"))
    [violation] = refused.value.violations
    assert violation.field == "payment_method"


async def test_a_withdrawn_charge_is_abandoned(payments: Payments) -> None:
    await payments.consent("pm_sandbox_declineFirstAttempt")
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    await payments.withdraw()
    await payments.pass_time(3 * DAY)

    assert await payments.published() == ["PaymentDeclined", "PaymentAbandoned"]
    abandoned = event_of(await payments.events(), "PaymentAbandoned")
    assert abandoned.reason == Abandoned.WITHDRAWN
    assert await payments.charged_minor() == 0


async def test_a_withdrawal_that_comes_first_is_remembered(payments: Payments) -> None:
    await payments.consent()
    await payments.announce()
    await payments.withdraw()
    assert await payments.published() == []
    await payments.fall_due()
    await payments.work()

    assert await payments.published() == ["PaymentAbandoned"]
    assert await payments.payments_at_provider() == []


async def test_nobody_is_asked_to_confirm_what_was_withdrawn_before(payments: Payments) -> None:
    await payments.withdraw()
    await payments.fall_due(payments.due_on_notice())

    assert await payments.published() == ["PaymentAbandoned"]


async def test_a_payment_under_way_decides_what_a_withdrawal_comes_to(payments: Payments) -> None:
    await payments.consent("pm_sandbox_timeoutAfterCharge")
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    await payments.withdraw()
    assert await payments.published() == []

    await payments.pass_time(timedelta(minutes=1))
    assert await payments.published() == ["PaymentSucceeded"]


async def test_withdrawing_a_paid_charge_changes_nothing(payments: Payments) -> None:
    await payments.consent()
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    await payments.withdraw()

    assert (await payments.charge()).state == State.SUCCEEDED
    assert await payments.published() == ["PaymentSucceeded"]


async def test_a_withdrawn_request_can_not_be_confirmed(payments: Payments) -> None:
    await payments.payment_method()
    await payments.fall_due(payments.due_on_notice())
    await payments.withdraw()
    request = payments_pb2.ConfirmPaymentRequestRequest(
        name=CHARGE, payment_method=f"{ANN}/paymentMethods/visa"
    )
    with pytest.raises(Problem) as refused:
        await payments.call(request)
    assert refused.value.reason == "PAYMENT_REQUEST_STATE"
