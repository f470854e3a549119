"""A provider whose clock differs from ours by hours: nothing is charged until they agree again."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from services.payments.clients.provider_clock import ProviderClock, timed_client
from services.payments.clients.providers import Providers
from services.payments.clients.stripe import STRIPE, StripeProvider
from services.payments.workers import Workers
from services.runtime.auth.call_context import act_for_all
from tests.integration.payments.suite import AMOUNT_MINOR, NOW, Payments, Process, State
from tests.integration.sandbox.process import PROVIDER_API_KEY

HOUR = timedelta(hours=1)
LOST = "pm_sandbox_timeoutBeforeCharge"


class Timed:
    """Payments whose worker knows the clock that the provider shows."""

    def __init__(self, payments: Payments, clock: ProviderClock) -> None:
        self.payments = payments
        self.provider_clock = clock
        providers = Providers([payments.provider])
        workers = Workers(payments.database, payments.clock, providers, clocks=[clock])
        payments.due_work = Process(payments.database, payments.clock, workers)

    async def fall_due(self, card: str = "pm_card_visa") -> None:
        """A charge that nothing speaks against but the clocks."""
        await self.payments.consent(card)
        await self.payments.announce()
        await self.payments.fall_due()
        act_for_all("payments")


@pytest.fixture
async def timed(payments: Payments) -> AsyncIterator[Timed]:
    client = timed_client(
        STRIPE, payments.sandbox.url, payments.clock, connections_max=5, timeout_seconds=10
    )
    async with client as (http, clock):
        payments.provider = StripeProvider(http, payments.sandbox.url, PROVIDER_API_KEY)
        yield Timed(
            Payments(payments.database, payments.clock, payments.sandbox, payments.provider), clock
        )


async def test_an_answer_shows_how_far_the_provider_is_ahead(timed: Timed) -> None:
    assert timed.provider_clock.ahead is None
    await timed.payments.sandbox.advance_to(NOW + 7 * HOUR)
    await timed.payments.payment_method()
    assert timed.provider_clock.ahead == 7 * HOUR


@pytest.mark.parametrize("ahead", [2 * HOUR, -2 * HOUR])
async def test_nothing_is_charged_until_the_clocks_agree_again(
    timed: Timed, ahead: timedelta
) -> None:
    payments = timed.payments
    payments.clock.move(timedelta() if ahead > timedelta() else -ahead)
    await payments.sandbox.advance_to(payments.clock.now() + ahead)
    await timed.fall_due()
    for _ in range(2):
        await payments.due_work.charge()
    assert (await payments.charge()).state == State.SCHEDULED
    assert await payments.payments_at_provider() == []

    if ahead > timedelta():
        payments.clock.move(ahead)
    else:
        await payments.sandbox.advance_to(payments.clock.now())
    act_for_all("payments")
    await payments.due_work.charge()
    assert (await payments.charge()).state == State.SUCCEEDED
    assert await payments.charged_minor() == AMOUNT_MINOR


async def test_what_was_lost_is_not_sent_again_while_the_clocks_differ(timed: Timed) -> None:
    payments = timed.payments
    await timed.fall_due(LOST)
    await payments.due_work.charge()
    payments.clock.move(2 * HOUR)
    await payments.due_work.look_up()
    assert await payments.payments_at_provider() == []
    assert (await payments.charge()).state == State.IN_FLIGHT

    await payments.sandbox.advance_to(payments.clock.now())
    await payments.pass_time(2 * HOUR)
    assert await payments.charged_minor() == AMOUNT_MINOR


async def test_clocks_an_hour_apart_hinder_nothing(timed: Timed) -> None:
    payments = timed.payments
    payments.clock.move(HOUR)
    await timed.fall_due()
    await payments.due_work.charge()
    assert (await payments.charge()).state == State.SUCCEEDED
