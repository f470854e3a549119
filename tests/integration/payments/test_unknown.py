"""Answers that never came, outages and crashes: the customer is charged once all the same."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest

from services.payments import workers
from services.payments.clients import batches
from services.payments.clients.request_limits import RequestLimits
from services.payments.clients.stripe import StripeProvider
from services.payments.domain.attempts import Attempt
from services.payments.domain.outcomes import Outcome
from services.payments.domain.refunds import Refund
from services.runtime.db import leases
from services.runtime.rpc.conversions import to_money
from tests.integration.payments.suite import (
    AMOUNT_MINOR,
    BOB,
    Payments,
    State,
    ceiling,
    charge_name,
    order,
)
from tests.integration.sandbox.process import PROVIDER_API_KEY

MINUTE = timedelta(minutes=1)


class Crash(Exception):
    """The process ends."""


class CrashingBeforeSending(StripeProvider):
    async def charge(self, attempt: Attempt, token: str) -> Outcome:  # noqa: ARG002
        raise Crash(attempt.charge_key.name)


class CrashingAfterSending(StripeProvider):
    async def charge(self, attempt: Attempt, token: str) -> Outcome:
        await super().charge(attempt, token)
        raise Crash(attempt.charge_key.name)


@pytest.mark.parametrize(
    "card", ["pm_sandbox_timeoutAfterCharge", "pm_sandbox_timeoutBeforeCharge"]
)
async def test_a_lost_answer_is_looked_up_and_the_customer_charged_once(
    payments: Payments, card: str
) -> None:
    await payments.consent(card)
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    assert (await payments.charge()).state == State.IN_FLIGHT
    assert await payments.published() == []

    await payments.pass_time(MINUTE)
    charge = await payments.charge()
    assert charge.state == State.SUCCEEDED
    assert len(charge.attempts) == 1
    assert await payments.charged_minor() == AMOUNT_MINOR
    assert (await payments.balances())["provider-clearing"] == AMOUNT_MINOR
    assert await payments.published() == ["PaymentSucceeded"]


async def test_a_token_that_does_not_open_waits_for_its_key_and_holds_up_no_other(
    payments: Payments,
) -> None:
    await payments.consent()
    bobs_card, bobs_mandate = f"{BOB}/paymentMethods/visa", f"{BOB}/mandates/coffee"
    await payments.payment_method(name=bobs_card)
    await payments.mandate(bobs_mandate, bobs_card)
    theirs: dict[str, Any] = {"order": order(2), "customer": BOB}
    await payments.announce(payments.notice(), payments.notice(**theirs))
    await payments.fall_due(payments.due(), payments.due(**theirs, mandate=bobs_mandate))
    await exchange_keys(payments, "test-1:", "gone-1:")
    await payments.work()
    assert (await payments.charge()).state == State.IN_FLIGHT
    assert (await payments.charge(charge_name(2, BOB))).state == State.SUCCEEDED

    await exchange_keys(payments, "gone-1:", "test-1:")
    await payments.pass_time(MINUTE)
    assert (await payments.charge()).state == State.SUCCEEDED
    assert len((await payments.charge()).attempts) == 1
    assert await payments.charged_minor() == 2 * AMOUNT_MINOR


async def exchange_keys(payments: Payments, old: str, new: str) -> None:
    """Have Ann's token name another key."""
    async with payments.database.begin() as tx:
        await tx.execute(
            """
                UPDATE payment_methods
                SET provider_token = CAST($1 AS bytea) || substr(provider_token, $2 + 1)
                WHERE customer = 'ann' AND starts_with(encode(provider_token, 'escape'), $3)
            """,
            new.encode(),
            len(old),
            old,
        )


@pytest.mark.parametrize("provider_type", [CrashingBeforeSending, CrashingAfterSending])
async def test_a_process_that_dies_around_the_call_leaves_the_charge_to_the_lookup(
    payments: Payments, provider_type: type[StripeProvider]
) -> None:
    await payments.consent()
    await payments.announce()
    await payments.fall_due()
    dying = as_provider(payments, provider_type)
    with pytest.raises(Crash):
        await payments.process(dying).charge()

    await payments.pass_time(MINUTE)
    assert (await payments.charge()).state == State.SUCCEEDED
    assert await payments.charged_minor() == AMOUNT_MINOR


class Hanging(StripeProvider):
    """Answers nothing."""

    async def charge(self, attempt: Attempt, token: str) -> Outcome:  # noqa: ARG002
        return await asyncio.Future()

    async def find(self, attempt: Attempt) -> Outcome | None:  # noqa: ARG002
        return await asyncio.Future()

    async def refund(self, refund: Refund) -> Outcome:  # noqa: ARG002
        return await asyncio.Future()


class Slow(Hanging):
    """Says at last that it does not have an attempt, and nothing more."""

    async def find(self, attempt: Attempt) -> Outcome | None:  # noqa: ARG002
        await asyncio.sleep(1.6)
        return None


def as_provider(
    payments: Payments, provider_type: type[StripeProvider], limits: RequestLimits | None = None
) -> StripeProvider:
    real = payments.provider
    assert isinstance(real, StripeProvider)
    return provider_type(real._api._http, payments.sandbox.url, PROVIDER_API_KEY, limits)


async def cut_off(step: Awaitable[object]) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await step


async def test_what_a_step_had_in_hand_is_taken_up_at_once_when_it_is_cut_off(
    payments: Payments,
) -> None:
    await payments.consent()
    await payments.announce()
    await payments.fall_due()
    hanging = payments.process(as_provider(payments, Hanging))
    await cut_off(hanging.charge())
    payments.clock.move(MINUTE)
    await cut_off(hanging.look_up())
    await payments.work()
    assert (await payments.charge()).state == State.SUCCEEDED

    await payments.refund()
    await cut_off(hanging.refund())
    await payments.work()
    assert (await payments.charge()).refunded_amount == to_money(AMOUNT_MINOR, "EUR")


async def test_a_provider_that_is_slow_at_each_question_does_not_cut_a_step_off(
    payments: Payments, monkeypatch: pytest.MonkeyPatch
) -> None:
    await payments.consent("pm_sandbox_timeoutBeforeCharge")
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    payments.clock.move(MINUTE)
    monkeypatch.setattr(batches, "STORE_SECONDS", leases.OUTSIDE.step_deadline_seconds - 2.0)

    async with asyncio.timeout(3):
        step = await payments.process(as_provider(payments, Slow)).look_up()
    assert step.worked == 1
    assert (await payments.charge()).state == State.IN_FLIGHT


async def test_an_outage_of_the_provider_delays_the_charge_and_no_more(payments: Payments) -> None:
    await payments.consent()
    await payments.announce()
    await payments.sandbox.ask("PUT", "/outages/provider", json={"on": True})
    await payments.fall_due()
    await payments.pass_time(timedelta(hours=6))
    assert (await payments.charge()).state == State.IN_FLIGHT

    await payments.sandbox.ask("PUT", "/outages/provider", json={"on": False})
    await payments.pass_time(timedelta(hours=1))
    charge = await payments.charge()
    assert charge.state == State.SUCCEEDED
    assert len(charge.attempts) == 1
    assert await payments.charged_minor() == AMOUNT_MINOR


async def test_a_step_leaves_due_what_the_rate_of_its_provider_does_not_allow(
    payments: Payments,
) -> None:
    await payments.consent()
    orders = [order(number) for number in range(1, 11)]
    await payments.announce(*(payments.notice(name) for name in orders))
    await payments.fall_due(*(payments.due(name) for name in orders))
    # Two a second, and so eight in the four seconds that a step takes rows for.
    provider = as_provider(payments, StripeProvider, RequestLimits(payments.clock, 2))
    assert (await payments.process(provider).charge()).worked == 8


async def test_two_processes_make_one_attempt_of_each_charge(payments: Payments) -> None:
    await payments.consent()
    count = 40
    orders = [order(number) for number in range(1, count + 1)]
    await payments.announce(*(payments.notice(name) for name in orders))
    await payments.fall_due(*(payments.due(name) for name in orders))
    twins = [payments.process() for _ in range(2)]

    await asyncio.gather(*(twin.charge() for twin in twins))
    await payments.work()

    attempts = await payments.rows("SELECT state, number FROM attempts")
    assert attempts == [("SUCCEEDED", 1)] * count
    assert len(await payments.payments_at_provider()) == count
    assert sorted(await payments.published()) == ["PaymentSucceeded"] * count


async def test_processes_that_charge_one_mandate_at_once_keep_to_its_month(
    payments: Payments, monkeypatch: pytest.MonkeyPatch
) -> None:
    ceiling_minor = 3 * AMOUNT_MINOR
    await payments.consent(period_ceiling=ceiling(ceiling_minor))
    orders = [order(number) for number in range(1, 7)]
    await payments.announce(*(payments.notice(name) for name in orders))
    await payments.fall_due(*(payments.due(name) for name in orders))
    # One charge a batch, so that each process has another charge of the mandate.
    monkeypatch.setattr(workers, "BATCH_ROWS", 1)
    processes = [payments.process() for _ in orders]

    # There is one attempt of a payment method at a time; what waits for it is woken when it is over.
    for _ in orders:
        await asyncio.gather(*(process.charge() for process in processes))

    assert await payments.charged_minor() == ceiling_minor
