"""What the provider answers is believed only if it matches the request."""

import argparse
from datetime import timedelta
from typing import cast

import pytest

from services.payments.api.commands import COMMANDS
from services.payments.store.gauges import GAUGE_QUERIES
from services.runtime.app.commands import CommandContext
from services.runtime.app.gauge_collector import GaugeCollector
from tests.integration.payments.suite import CHARGE, Payments, State

CARDS = [
    "pm_sandbox_answersWrongAmount",
    "pm_sandbox_answersWrongCurrency",
    "pm_sandbox_answersForeignPayment",
]


async def mismatched(payments: Payments) -> float:
    collector = GaugeCollector(payments.database, payments.clock, GAUGE_QUERIES)
    shown = {gauge.name: value for gauge, _, value in await collector.read()}
    return shown["recurring.charges.mismatched"]


@pytest.mark.parametrize("card", CARDS)
async def test_a_payment_that_is_not_the_one_asked_for_is_not_believed(
    payments: Payments, card: str
) -> None:
    await payments.consent(card)
    await payments.announce()
    await payments.fall_due()
    await payments.pass_time(timedelta(hours=30))

    assert (await payments.charge()).state == State.IN_FLIGHT
    assert await payments.published() == []
    assert await payments.balances() == {}
    assert len(await payments.payments_at_provider()) == 1
    assert await mismatched(payments) == 1


async def test_an_operator_sees_what_was_answered(payments: Payments) -> None:
    await payments.consent("pm_sandbox_answersWrongAmount")
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    context = cast(
        "CommandContext", argparse.Namespace(database=payments.database, clock=payments.clock)
    )
    options = argparse.Namespace(older_than=0, look_up=False)
    [line] = [line async for line in COMMANDS["unknown"].work(context, options)]

    assert line["charge"] == CHARGE
    assert "is over 1251 eur" in str(line["mismatch"])


async def test_a_refund_over_another_amount_is_not_believed(payments: Payments) -> None:
    await payments.consent("pm_sandbox_refundsWrongAmount")
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    await payments.refund(amount_minor=100)
    await payments.work()

    assert "RefundSucceeded" not in await payments.published()
    assert await mismatched(payments) == 1
