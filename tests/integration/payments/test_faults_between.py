"""What goes wrong between a charge's intent and its record: the provider takes the money once."""

import asyncio
from datetime import timedelta

import pytest

from deploy.embedded.postgres import EmbeddedPostgres
from services.payments import workers
from services.payments.clients.stripe import StripeProvider
from services.payments.domain.attempts import Attempt
from services.payments.domain.outcomes import Outcome
from tests.integration.payments.suite import (
    AMOUNT_MINOR,
    Payments,
    State,
    charge_name,
    order,
)
from tests.integration.payments.test_unknown import Crash, as_provider

HOUR = timedelta(hours=1)
# Those of the provider that answer at once; those that answer late are cards of the sandbox.
OUTAGES = ["unavailable", "throttled", "unauthorized", "conflict", "garbage", "lost_answers"]
POINTS = [
    "_ATTEMPT_COMMITTED", "_ATTEMPT_ANSWERED", "_ATTEMPT_SETTLED", "_LOOKUP_READ",
    "_RESEND_COMMITTED", "_LOOKUP_FOUND",
]  # fmt: skip


async def fall_due(payments: Payments, number: int) -> None:
    now = payments.clock.now()
    await payments.announce(payments.notice(order(number), not_before=now))
    await payments.fall_due(payments.due(order(number)))


async def pass_an_hour(payments: Payments) -> None:
    """Here and at the provider, by steps that let the clocks differ by less than is allowed for."""
    for _ in range(2):
        await payments.pass_time(HOUR / 2)
        await payments.sandbox.advance_to(payments.clock.now())


async def test_whatever_the_provider_answers_in_place_of_an_outcome_it_takes_the_money_once(
    payments: Payments,
) -> None:
    await payments.consent()
    for number, kind in enumerate(OUTAGES, start=1):
        await payments.sandbox.ask("PUT", "/outages/provider", json={"on": True, "kind": kind})
        await fall_due(payments, number)
        await payments.work()
        assert (await payments.charge(charge_name(number))).state == State.IN_FLIGHT, kind

        await payments.sandbox.ask("PUT", "/outages/provider", json={"on": False})
        await pass_an_hour(payments)
        assert (await payments.charge(charge_name(number))).state == State.SUCCEEDED, kind
        assert await payments.charged_minor() == number * AMOUNT_MINOR, kind


class Ending:
    """A crash point that is reached: the process ends."""

    def reached(self) -> None:
        raise Crash


@pytest.mark.parametrize("card", ["pm_card_visa", "pm_sandbox_timeoutBeforeCharge"])
async def test_wherever_a_process_ends_the_next_one_charges_once(
    payments: Payments, monkeypatch: pytest.MonkeyPatch, card: str
) -> None:
    await payments.consent(card)
    for number, point in enumerate(POINTS, start=1):
        await fall_due(payments, number)
        with monkeypatch.context() as patched:
            patched.setattr(workers, point, Ending())
            dying = payments.process()
            for step in (dying.charge, dying.look_up):
                try:
                    await step()
                except Crash:
                    break
                payments.clock.move(timedelta(minutes=1))

        await pass_an_hour(payments)
        assert (await payments.charge(charge_name(number))).state == State.SUCCEEDED, point
        assert await payments.charged_minor() == number * AMOUNT_MINOR, point


class LosingDatabase(StripeProvider):
    """Charges, and then the database is gone before anybody can write it down."""

    postgres: EmbeddedPostgres
    database: str

    async def charge(self, attempt: Attempt, token: str) -> Outcome:
        outcome = await super().charge(attempt, token)
        databases, name = self.postgres.databases, self.database
        await asyncio.to_thread(databases.execute, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await asyncio.to_thread(
            databases.execute,
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",  # noqa: S608
        )
        return outcome


async def test_a_database_that_is_gone_between_the_call_and_the_record_costs_nobody_money(
    payments: Payments, postgres: EmbeddedPostgres
) -> None:
    await payments.consent()
    await fall_due(payments, 1)
    [(name,)] = await payments.rows("SELECT current_database()")
    losing = as_provider(payments, LosingDatabase)
    assert isinstance(losing, LosingDatabase)
    losing.postgres, losing.database = postgres, name
    process = payments.process(losing)
    try:
        with pytest.raises(Exception, match=r".+"):
            await process.charge()
    finally:
        postgres.databases.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert await payments.charged_minor() == AMOUNT_MINOR
    assert (await payments.charge(charge_name(1))).state == State.IN_FLIGHT

    await payments.pass_time(HOUR)
    assert (await payments.charge(charge_name(1))).state == State.SUCCEEDED
    assert await payments.charged_minor() == AMOUNT_MINOR
    assert await payments.published() == ["PaymentSucceeded"]
