"""A customer who mends their card: the next attempt is made under the mandate that is theirs now."""

from datetime import timedelta

from recurring.payments.v1 import payments_pb2

from tests.integration.payments.suite import (
    AMOUNT_MINOR,
    ANN,
    DAY,
    MANDATE,
    Payments,
    State,
    event_of,
)

GOOD = f"{ANN}/paymentMethods/good"
NEW = f"{ANN}/mandates/new"


async def add_new_card(payments: Payments, ceiling_minor: int = 10_000) -> None:
    await payments.payment_method(name=GOOD)
    await payments.mandate(NEW, GOOD, ceiling_minor)


async def decline_the_old_card(payments: Payments) -> None:
    await payments.consent("pm_card_chargeDeclinedInsufficientFunds")
    await payments.announce()
    await payments.fall_due()
    await payments.work()


async def test_a_retry_takes_the_card_that_replaced_the_declined_one(payments: Payments) -> None:
    await decline_the_old_card(payments)
    await add_new_card(payments)
    await payments.change_mandate(NEW)
    assert (await payments.charge()).mandate == NEW
    await payments.call(payments_pb2.RevokeMandateRequest(name=MANDATE))
    await payments.pass_time(DAY)

    assert (await payments.charge()).state == State.SUCCEEDED
    assert await payments.cards_at_provider() == [
        ("pm_card_chargeDeclinedInsufficientFunds", "requires_payment_method"),
        ("pm_card_visa", "succeeded"),
    ]


async def test_the_guard_compares_a_retry_with_the_new_mandate(payments: Payments) -> None:
    await decline_the_old_card(payments)
    await add_new_card(payments, ceiling_minor=AMOUNT_MINOR - 1)
    await payments.change_mandate(NEW)
    await payments.pass_time(DAY)

    refused = event_of(await payments.events(), "PaymentRefused")
    assert refused.reasons == [payments_pb2.ABOVE_CHARGE_CEILING]


async def test_a_change_that_comes_before_the_charge_is_remembered(payments: Payments) -> None:
    await payments.consent("pm_card_chargeDeclinedLostCard")
    await add_new_card(payments)
    await payments.announce()
    await payments.change_mandate(NEW)
    await payments.fall_due()
    await payments.work()

    assert (await payments.charge()).state == State.SUCCEEDED


async def test_an_attempt_lost_in_an_outage_is_made_again_with_the_new_card(
    payments: Payments,
) -> None:
    await payments.consent("pm_card_mastercard")
    await add_new_card(payments)
    await payments.announce()
    await payments.sandbox.ask("PUT", "/outages/provider", json={"on": True})
    await payments.fall_due()
    await payments.pass_time(timedelta(hours=1))
    await payments.change_mandate(NEW)
    await payments.sandbox.ask("PUT", "/outages/provider", json={"on": False})
    await payments.pass_time(timedelta(hours=2))

    assert await payments.cards_at_provider() == [("pm_card_visa", "succeeded")]


async def test_a_payment_keeps_the_mandate_that_it_was_made_under(payments: Payments) -> None:
    await payments.consent("pm_sandbox_timeoutAfterCharge")
    await add_new_card(payments)
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    await payments.change_mandate(NEW)
    await payments.pass_time(timedelta(minutes=1))

    charge = await payments.charge()
    assert (charge.state, charge.mandate) == (State.SUCCEEDED, MANDATE)
    assert await payments.charged_minor() == AMOUNT_MINOR
