"""Payments that a bank wants its customer to confirm; the provider's own record is the witness."""

from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from recurring.payments.v1 import payments_pb2

from services.payments.clients.stripe import StripeProvider
from services.runtime.http_client import HttpClient
from services.runtime.rpc.conversions import to_timestamp
from tests.integration.payments.suite import (
    AMOUNT_MINOR,
    ANN,
    DAY,
    MANDATE,
    NOW,
    Abandoned,
    Payments,
    State,
    event_of,
    order,
)
from tests.integration.sandbox.process import PROVIDER_API_KEY

ASKS = "pm_card_authenticationRequired"
SPARE = f"{ANN}/paymentMethods/spare"
AttemptState = payments_pb2.Charge.Attempt.State
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture
async def shop(payments: Payments) -> Any:  # noqa: ANN401
    """Payments with a page to which customers come back from their bank."""
    async with HttpClient(connections_max=20, timeout_seconds=10) as http:
        provider = StripeProvider(
            http, payments.sandbox.url, PROVIDER_API_KEY, return_url="https://pay.test/{merchant}"
        )
        yield Payments(payments.database, payments.clock, payments.sandbox, provider)


async def asked(shop: Payments) -> Any:  # noqa: ANN401
    """An automatic charge that the bank wants to be confirmed; returns the event."""
    await shop.consent(ASKS)
    await shop.announce()
    await shop.fall_due()
    await shop.work()
    return event_of(await shop.events(), "PaymentActionRequired")


async def at_bank(shop: Payments, uri: str, *, succeeds: bool) -> int:
    """What a customer does on the page of their bank; returns the status of its answer."""
    path = uri.removeprefix(shop.sandbox.url)
    return (await shop.sandbox.ask("POST", path, json={"succeeds": succeeds})).status


async def statuses(shop: Payments) -> list[str]:
    return [payment["status"] for payment in await shop.payments_at_provider()]


async def test_the_customer_is_asked_once_and_the_charge_waits(shop: Payments) -> None:
    event = await asked(shop)
    assert event.expire_time == to_timestamp(NOW + DAY)
    await shop.pass_time(5 * HOUR)

    charge = await shop.charge()
    [attempt] = charge.attempts
    assert (charge.state, attempt.state) == (State.IN_FLIGHT, AttemptState.REQUIRES_ACTION)
    assert attempt.action_uri == event.action_uri
    assert await shop.published() == ["PaymentActionRequired"]
    assert await statuses(shop) == ["requires_action"]


async def test_the_charge_goes_on_when_they_confirm(shop: Payments) -> None:
    event = await asked(shop)
    assert await at_bank(shop, event.action_uri, succeeds=True) == 200
    await shop.pass_time(HOUR)

    charge = await shop.charge()
    assert charge.state == State.SUCCEEDED
    assert charge.attempts[0].action_uri == ""
    assert await shop.charged_minor() == AMOUNT_MINOR
    assert await shop.published() == ["PaymentActionRequired", "PaymentSucceeded"]


async def test_a_refusal_is_a_decline_that_asks_for_the_customer(shop: Payments) -> None:
    event = await asked(shop)
    await at_bank(shop, event.action_uri, succeeds=False)
    await shop.pass_time(HOUR)

    abandoned = event_of(await shop.events(), "PaymentAbandoned")
    assert abandoned.reason == Abandoned.DECLINED
    assert abandoned.decline_code == "payment_intent_authentication_failure"
    assert await shop.charged_minor() == 0


async def test_a_fallback_is_charged_when_nobody_confirms_in_time(shop: Payments) -> None:
    await shop.payment_method(ASKS)
    await shop.payment_method("pm_card_mastercard", SPARE)
    await shop.call(
        payments_pb2.UpdatePaymentMethodRequest(
            payment_method=payments_pb2.PaymentMethod(name=SPARE, fallback_order=1),
            update_mask=FieldMask(paths=["fallback_order"]),
        )
    )
    await shop.mandate(payment_method="")
    await shop.announce()
    await shop.fall_due()
    await shop.pass_time(DAY)

    assert (await shop.charge()).state == State.SUCCEEDED
    assert await statuses(shop) == ["canceled", "succeeded"]
    assert await shop.charged_minor() == AMOUNT_MINOR


async def test_nobody_can_confirm_what_was_given_up(shop: Payments) -> None:
    event = await asked(shop)
    await shop.pass_time(DAY)

    assert await statuses(shop) == ["canceled"]
    assert await at_bank(shop, event.action_uri, succeeds=True) == 400
    abandoned = event_of(await shop.events(), "PaymentAbandoned")
    assert abandoned.decline_code == "authentication_required"


async def test_who_confirms_at_the_last_moment_has_paid(shop: Payments) -> None:
    event = await asked(shop)
    await shop.pass_time(DAY - MINUTE)
    await at_bank(shop, event.action_uri, succeeds=True)
    shop.clock.move(2 * MINUTE)
    await shop.work()

    assert (await shop.charge()).state == State.SUCCEEDED
    assert await shop.charged_minor() == AMOUNT_MINOR


async def test_a_revoked_mandate_ends_the_payment_at_the_provider(shop: Payments) -> None:
    event = await asked(shop)
    await shop.call(payments_pb2.RevokeMandateRequest(name=MANDATE))
    await shop.work()

    assert await statuses(shop) == ["canceled"]
    assert await at_bank(shop, event.action_uri, succeeds=True) == 400
    assert (await shop.charge()).state == State.ABANDONED


async def test_a_withdrawn_order_ends_the_payment_at_the_provider(shop: Payments) -> None:
    await asked(shop)
    await shop.withdraw()
    await shop.work()

    assert await statuses(shop) == ["canceled"]
    abandoned = event_of(await shop.events(), "PaymentAbandoned")
    assert abandoned.reason == Abandoned.WITHDRAWN


async def test_other_orders_on_the_card_do_not_wait_for_the_customer(shop: Payments) -> None:
    await asked(shop)
    await shop.announce(shop.notice(order(2)))
    await shop.fall_due(shop.due(order(2)))
    await shop.work()
    assert await shop.published() == ["PaymentActionRequired", "PaymentActionRequired"]


async def test_a_customer_who_confirmed_a_request_is_sent_to_their_bank(shop: Payments) -> None:
    await shop.payment_method(ASKS)
    await shop.fall_due(shop.due_on_notice(lasts=2 * HOUR))
    await shop.confirm()
    await shop.work()
    event = event_of(await shop.events(), "PaymentActionRequired")
    # Not beyond the end of the request.
    assert event.expire_time == to_timestamp(NOW + 2 * HOUR)

    await at_bank(shop, event.action_uri, succeeds=True)
    await shop.pass_time(HOUR)
    assert await shop.charged_minor() == AMOUNT_MINOR


async def test_without_a_page_to_come_back_to_it_is_a_decline(payments: Payments) -> None:
    await payments.consent(ASKS)
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    assert await payments.published() == ["PaymentAbandoned"]
