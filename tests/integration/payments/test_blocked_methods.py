"""A dead card is tried once, whatever orders use it, and no card more often than the networks allow."""

import asyncio
from datetime import timedelta

import pytest
from recurring.payments.v1 import payments_pb2

from services.runtime.errors import Problem
from services.runtime.rpc.conversions import to_money, to_timestamp
from tests.integration.payments.suite import (
    AMOUNT_MINOR,
    DAY,
    MANDATE,
    VISA,
    Payments,
    State,
    charge_name,
    event_of,
    order,
)

EIGHT = range(1, 9)


async def all_due(payments: Payments, numbers: range = EIGHT) -> None:
    await payments.announce(*(payments.notice(order(number)) for number in numbers))
    await payments.fall_due(*(payments.due(order(number)) for number in numbers))


async def test_eight_orders_on_a_dead_card_make_one_attempt_and_one_message(
    payments: Payments,
) -> None:
    await payments.consent("pm_card_chargeDeclinedLostCard")
    await all_due(payments)
    processes = [payments.process() for _ in range(3)]
    await asyncio.gather(*(process.charge() for process in processes))
    await payments.pass_time(16 * DAY)

    assert len(await payments.payments_at_provider()) == 1
    blocked = event_of(await payments.events(), "PaymentMethodBlocked")
    assert (blocked.payment_method, blocked.decline_code) == (VISA, "lost_card")
    published = await payments.published()
    assert (published.count("PaymentAbandoned"), published.count("PaymentRefused")) == (1, 7)
    refused = await payments.charge(charge_name(8))
    assert refused.refusal_reasons == [payments_pb2.PAYMENT_METHOD_BLOCKED]


async def test_a_card_that_dies_between_two_retries_is_not_tried_for_the_other_order(
    payments: Payments,
) -> None:
    await payments.consent("pm_card_chargeDeclinedInsufficientFunds")
    await all_due(payments, range(1, 3))
    await payments.work()
    async with payments.database.begin() as tx:
        await tx.execute(
            "UPDATE payment_methods SET block_time = create_time, decline_code = 'stolen_card'"
        )
    await payments.pass_time(16 * DAY)

    assert len(await payments.payments_at_provider()) == 2


async def test_orders_of_a_good_card_are_all_paid_at_once(payments: Payments) -> None:
    await payments.consent()
    await all_due(payments)
    await payments.work()

    assert await payments.charged_minor() == 8 * AMOUNT_MINOR


async def test_orders_that_wait_for_one_card_are_looked_at_one_after_the_other(
    payments: Payments,
) -> None:
    await payments.consent()
    await all_due(payments, range(1, 41))

    assert [(await payments.due_work.charge()).worked for _ in range(41)] == [40, *[1] * 39, 0]


@pytest.mark.parametrize(
    ("card", "first_day_max", "month_max"),
    [("pm_card_visa", 20, 20), ("pm_card_mastercard", 10, 35), ("pm_sandbox_sepaDebit", 10, 20)],
)
async def test_a_method_is_not_declined_more_often_than_its_network_allows(
    payments: Payments, card: str, first_day_max: int, month_max: int
) -> None:
    await payments.sandbox.ask(
        "PUT", f"/provider/cards/{card}", json={"decline_code": "insufficient_funds"}
    )
    await payments.consent(card)
    await all_due(payments, range(1, 41))
    await payments.work()
    assert len(await payments.payments_at_provider()) == first_day_max
    await payments.pass_time(29 * DAY)

    assert len(await payments.payments_at_provider()) == month_max
    refused = await payments.charge(charge_name(40))
    assert refused.refusal_reasons == [payments_pb2.PAYMENT_METHOD_EXHAUSTED]


async def test_an_outage_with_many_orders_of_a_dead_card_still_makes_one_attempt(
    payments: Payments,
) -> None:
    await payments.consent("pm_card_chargeDeclinedLostCard")
    await payments.sandbox.ask("PUT", "/outages/provider", json={"on": True})
    await all_due(payments)
    await payments.pass_time(timedelta(hours=3))
    await payments.sandbox.ask("PUT", "/outages/provider", json={"on": False})
    await payments.pass_time(DAY)

    assert len(await payments.payments_at_provider()) == 1
    assert (await payments.published()).count("PaymentMethodBlocked") == 1


async def test_a_blocked_card_covers_nothing_and_is_shown_as_blocked(payments: Payments) -> None:
    await payments.consent("pm_card_chargeDeclinedLostCard")
    await all_due(payments, range(1, 2))
    await payments.work()
    check = payments_pb2.MandateCheck(
        standing_order="merchants/acme/standingOrders/coffee",
        mandate=MANDATE,
        amount=to_money(AMOUNT_MINOR, "EUR"),
        charge_time=to_timestamp(payments.clock.now()),
    )
    checked = await payments.call(payments_pb2.BatchCheckMandatesRequest(checks=[check]))
    shown = await payments.call(payments_pb2.GetPaymentMethodRequest(name=VISA))

    assert list(checked.results[0].reasons) == [payments_pb2.PAYMENT_METHOD_BLOCKED]
    assert shown.state == payments_pb2.PaymentMethod.BLOCKED
    assert shown.decline_code == "lost_card"


async def test_a_request_is_not_confirmed_with_a_blocked_card(payments: Payments) -> None:
    await payments.payment_method("pm_card_chargeDeclinedLostCard")
    await payments.fall_due(payments.due_on_notice())
    await payments.confirm()
    await payments.work()
    assert (await payments.charge()).state == State.REQUESTED

    with pytest.raises(Problem) as refused:
        await payments.confirm()
    assert refused.value.reason == "PAYMENT_METHOD_BLOCKED"
