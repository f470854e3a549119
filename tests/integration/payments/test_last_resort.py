"""What becomes of an automatic charge after its last retry, and what is taken of a request to pay."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from recurring.payments.v1 import payments_pb2

from services.runtime.errors import Problem
from services.runtime.rpc.conversions import to_money, to_timestamp
from tests.integration.payments.suite import (
    AMOUNT_MINOR,
    ANN,
    CHARGE,
    DAY,
    MANDATE,
    NOW,
    Abandoned,
    Payments,
    State,
    event_of,
)
from tests.integration.payments.test_dunning import set_policy
from tests.integration.payments.test_payment_methods import LOST, POOR, fall_due

GOOD = f"{ANN}/paymentMethods/good"


async def asked_to_pay(payments: Payments, card: str = LOST) -> Any:  # noqa: ANN401
    """A charge whose last resort has come; returns the event."""
    await set_policy(payments, ask_to_pay_days=7)
    await payments.consent(card)
    await fall_due(payments)
    await payments.work()
    return event_of(await payments.events(), "PaymentRequested")


async def confirm(payments: Payments, amount_minor: int, currency: str = "EUR") -> Any:  # noqa: ANN401
    request = payments_pb2.ConfirmPaymentRequestRequest(
        name=CHARGE, payment_method=GOOD, amount=to_money(amount_minor, currency)
    )
    return await payments.call(request)


async def test_the_customer_is_asked_to_pay_what_was_declined_for_good(payments: Payments) -> None:
    requested = await asked_to_pay(payments)
    assert requested.expire_time == to_timestamp(NOW + 7 * DAY)
    assert await payments.published() == [
        "PaymentDeclined", "PaymentRequested", "PaymentMethodBlocked",
    ]  # fmt: skip

    await payments.payment_method(name=GOOD)
    await payments.confirm(payment_method=GOOD)
    await payments.work()
    charge = await payments.charge()
    assert (charge.state, charge.mandate) == (State.SUCCEEDED, "")
    assert await payments.charged_minor() == AMOUNT_MINOR


async def test_they_are_asked_after_the_last_retry_and_not_before(payments: Payments) -> None:
    await set_policy(payments, ask_to_pay_days=7)
    await payments.consent(POOR)
    await fall_due(payments)
    await payments.pass_time(9 * DAY - timedelta(minutes=1))
    assert "PaymentRequested" not in await payments.published()

    await payments.pass_time(timedelta(minutes=1))
    assert (await payments.charge()).state == State.REQUESTED
    assert len(await payments.payments_at_provider()) == 4


async def test_a_request_that_nobody_pays_ends_as_declined(payments: Payments) -> None:
    await asked_to_pay(payments)
    await payments.pass_time(7 * DAY)
    assert event_of(await payments.events(), "PaymentAbandoned").reason == Abandoned.DECLINED
    assert len(await payments.payments_at_provider()) == 1


async def test_it_can_be_paid_after_the_mandate_was_revoked(payments: Payments) -> None:
    await asked_to_pay(payments)
    await payments.call(payments_pb2.RevokeMandateRequest(name=MANDATE))
    await payments.payment_method(name=GOOD)
    await payments.confirm(payment_method=GOOD)
    await payments.work()
    assert (await payments.charge()).state == State.SUCCEEDED


async def test_nobody_is_asked_whose_bank_ended_the_permission(payments: Payments) -> None:
    await set_policy(payments, ask_to_pay_days=7)
    await payments.consent("pm_sandbox_declines_revocation_of_authorization")
    await fall_due(payments)
    await payments.work()
    assert (await payments.charge()).state == State.ABANDONED


@pytest.mark.parametrize(
    ("amount_minor", "currency", "reason"),
    [
        (AMOUNT_MINOR - 1, "EUR", "PARTIAL_PAYMENT"),
        (AMOUNT_MINOR + 1, "EUR", "OVER_PAYMENT"),
        (AMOUNT_MINOR, "USD", "CURRENCY_MISMATCH"),
    ],
)
async def test_neither_less_nor_more_than_the_request_is_taken(
    payments: Payments, amount_minor: int, currency: str, reason: str
) -> None:
    await asked_to_pay(payments)
    await payments.payment_method(name=GOOD)
    with pytest.raises(Problem) as refused:
        await confirm(payments, amount_minor, currency)
    assert refused.value.reason == reason
    assert (await payments.charge()).state == State.REQUESTED

    await confirm(payments, AMOUNT_MINOR)
    await payments.work()
    assert await payments.charged_minor() == AMOUNT_MINOR


async def test_who_pays_twice_at_the_same_instant_has_paid_once(payments: Payments) -> None:
    await asked_to_pay(payments)
    await payments.payment_method(name=GOOD)
    answers = await asyncio.gather(
        *(confirm(payments, AMOUNT_MINOR) for _ in range(5)), return_exceptions=True
    )
    refused = [answer.reason for answer in answers if isinstance(answer, Problem)]
    assert refused == ["PAYMENT_REQUEST_STATE"] * 4
    await payments.work()
    assert await payments.charged_minor() == AMOUNT_MINOR
