"""Whatever happens to a customer's orders, and whichever process has them, the provider's own record
shows at most one payment an order, and none that a delivered notice and the mandate did not allow."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recurring.payments.v1 import payments_pb2

from services.payments.application.webhooks import WebhookInbox
from services.payments.clients.providers import Providers
from services.payments.clients.stripe import StripeProvider
from services.payments.clients.stripe_webhooks import read_events
from services.payments.workers import Workers
from services.runtime.auth.call_context import act_for_all
from services.runtime.db.pool import Database, Pool
from services.runtime.http_client import HttpClient
from tests.conftest import KEYRING, ServiceDatabase
from tests.integration.payments.suite import (
    DAY,
    NOW,
    ManualClock,
    Payments,
    Process,
    State,
    charge_name,
    order,
)
from tests.integration.sandbox.process import PROVIDER_API_KEY, Sandbox

HOUR = timedelta(hours=1)
# So far apart are the clocks of two processes, each in another direction.
CLOCK_ERROR = timedelta(minutes=4)
CARDS = [
    "pm_card_visa",
    "pm_sandbox_timeoutAfterCharge",
    "pm_sandbox_timeoutBeforeCharge",
    "pm_card_chargeDeclinedInsufficientFunds",
]
ORDERS = (1, 2)
CEILING_MINOR, LOWER_CEILING_MINOR = 1300, 1100
# Several histories share a database and a provider: each has a customer and notices of its own.
_numbers = itertools.count(1)
# The provider's clock goes on with it, from one history to the next; what happens where they differ by
# minutes is for the processes with clocks of their own.
_clock = ManualClock(NOW)


class Does(StrEnum):
    """What happens, or what a process does."""

    ANNOUNCE = "announce"
    FALL_DUE = "fall due"
    ANNOUNCE_AND_FALL_DUE = "announce, and fall due"
    WITHDRAW = "withdraw"
    LOWER_MANDATE = "lower mandate"
    PAUSE = "pause"
    RESUME = "resume"
    REVOKE = "revoke"
    CHARGE = "charge"
    CHARGE_AT_ONCE = "charge at once"
    LOOK_UP = "look up"
    LOOK_UP_AT_ONCE = "look up at once"
    WEBHOOK = "webhook"
    PASS_TIME = "pass time"


class Step(NamedTuple):
    """One thing, and what it is about where that matters."""

    does: Does
    order: int
    amount_minor: int
    hours: int


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from([*Does, Does.ANNOUNCE_AND_FALL_DUE, Does.CHARGE, Does.CHARGE_AT_ONCE]),
        st.sampled_from(ORDERS),
        st.sampled_from([1000, 1250, 1400]),
        st.sampled_from([0, 0, 1, 25]),
    ),
    min_size=3,
    max_size=14,
)


class Announced(NamedTuple):
    """What the last delivered notice of an order promised."""

    amount_minor: int
    not_before: datetime


class History:
    """What happens to one customer, and what the provider's record may show after each step."""

    def __init__(self, payments: Payments, inbox: WebhookInbox) -> None:
        self.payments = payments
        self.inbox = inbox
        self.customer = f"merchants/acme/customers/c{next(_numbers)}"
        self.mandates = {name: f"{self.customer}/mandates/{name}" for name in ("coffee", "lower")}
        self.announced: dict[int, Announced] = {}
        self.withdrawn: set[int] = set()
        self.lowered: set[int] = set()
        self.stopped: set[str] = set()
        # Payments that took money, by the provider's ids, and those whose webhooks were sent.
        self.captured: dict[str, int] = {}
        self.told = 0

    async def run(self, card: str, history: list[Step]) -> None:
        visa = f"{self.customer}/paymentMethods/visa"
        await self.payments.payment_method(card, visa)
        await self.payments.mandate(self.mandates["coffee"], visa, CEILING_MINOR)
        await self.payments.mandate(self.mandates["lower"], visa, LOWER_CEILING_MINOR)
        for step in history:
            await self.take(step)
            await self.check(step)
        await self.payments.pass_time(2 * DAY)
        await self.check(None)
        await self.nothing_is_forgotten()
        # Nothing of it is left for the next.
        for mandate in self.mandates.values():
            await self.payments.call(payments_pb2.RevokeMandateRequest(name=mandate))
        for number in ORDERS:
            await self.withdraw(number)
        await self.payments.work()

    async def take(self, step: Step) -> None:
        act_for_all("payments")
        await self.happen(step)
        await self.work(step.does)

    async def happen(self, step: Step) -> None:
        """What others do, if the step is theirs."""
        match step.does:
            case Does.ANNOUNCE:
                await self.announce(step)
            case Does.FALL_DUE:
                await self.fall_due(step)
            case Does.ANNOUNCE_AND_FALL_DUE:
                await self.announce(step._replace(hours=0))
                await self.fall_due(step)
            case Does.WITHDRAW:
                await self.withdraw(step.order)
            case Does.LOWER_MANDATE:
                await self.lower_mandate(step.order)
            case Does.PAUSE | Does.RESUME | Does.REVOKE:
                await self.change_mandate(step.does)
            case Does.PASS_TIME:
                await self.payments.move_clocks(timedelta(hours=step.hours, minutes=1))

    async def work(self, does: Does) -> None:
        """What processes of ours do, if the step is theirs."""
        match does:
            case Does.CHARGE:
                await self.payments.due_work.charge()
            case Does.CHARGE_AT_ONCE:
                await asyncio.gather(*(process.charge() for process in self.processes()))
            case Does.LOOK_UP:
                await self.payments.due_work.look_up()
            case Does.LOOK_UP_AT_ONCE:
                await asyncio.gather(*(process.look_up() for process in self.processes()))
            case Does.WEBHOOK:
                await self.tell()

    async def change_mandate(self, does: Does) -> None:
        """Pause, resume or revoke it; a consent that was withdrawn stays so."""
        coffee = self.mandates["coffee"]
        if does is Does.REVOKE:
            await self.payments.call(payments_pb2.RevokeMandateRequest(name=coffee))
            self.stopped.add("revoked")
        elif "revoked" in self.stopped:
            return
        elif does is Does.PAUSE:
            await self.payments.call(payments_pb2.PauseMandateRequest(name=coffee))
            self.stopped.add("paused")
        else:
            await self.payments.call(payments_pb2.ResumeMandateRequest(name=coffee))
            self.stopped.discard("paused")

    async def lower_mandate(self, number: int) -> None:
        event = self.payments.mandate_changed(self.mandates["lower"], order(number))
        event.ref.customer = self.customer  # type: ignore[attr-defined]
        await self.payments.deliver(self.payments.handlers.on_payment_mandate_changed, event)
        self.lowered.add(number)

    async def announce(self, step: Step) -> None:
        not_before = self.payments.clock.now() + timedelta(hours=step.hours)
        name, amount_minor = order(step.order), step.amount_minor
        notice = self.payments.notice(name, amount_minor, not_before, self.customer)
        # Each announcement of an order is a notice of its own, which never says another amount.
        notice.notice += f"-{next(_numbers)}"  # type: ignore[attr-defined]
        await self.payments.announce(notice)
        self.announced[step.order] = Announced(amount_minor, not_before)
        # What was delivered at the same instant may count as the later one.
        await self.payments.move_clocks(timedelta(seconds=1))

    async def fall_due(self, step: Step) -> None:
        await self.payments.fall_due(
            self.payments.due(
                order(step.order), step.amount_minor, self.customer, self.mandates["coffee"]
            )
        )

    async def withdraw(self, number: int) -> None:
        event = self.payments.withdrawn(order(number))
        event.ref.customer = self.customer  # type: ignore[attr-defined]
        await self.payments.withdraw(event)
        self.withdrawn.add(number)

    def processes(self) -> list[Process]:
        """Two that have the same rows, one having outlived its lease, with clocks of their own."""
        database, now = self.payments.database, self.payments.clock.now()
        providers = Providers([self.payments.provider])
        clocks = [ManualClock(now + CLOCK_ERROR), ManualClock(now - CLOCK_ERROR)]
        return [Process(database, clock, Workers(database, clock, providers)) for clock in clocks]

    async def tell(self) -> None:
        """Have the provider's webhooks come, those of before again, the last one first."""
        for intent in reversed(await self.intents()):
            self.told += 1
            body = {
                "id": f"evt_{self.told % 3}_{intent['id']}", "object": "event",
                "type": "payment_intent.succeeded", "data": {"object": intent},
            }  # fmt: skip
            for event in read_events(json.dumps(body).encode()):
                await self.inbox.store(event)
        act_for_all("payments")
        await self.payments.due_work.handle_webhooks()

    async def intents(self) -> list[dict[str, Any]]:
        """The provider's record of this customer."""
        return [
            intent
            for intent in await self.payments.payments_at_provider()
            if intent["metadata"].get("charge", "").startswith(f"{self.customer}/")
        ]

    async def check(self, step: Step | None) -> None:
        """What was captured since the step before was promised by what holds now."""
        for intent in await self.intents():
            if intent["id"] in self.captured or not intent["amount_received"]:
                continue
            number = int(intent["metadata"]["charge"].rpartition("-")[2])
            assert number not in self.captured.values(), (step, "it was paid before")
            self.captured[intent["id"]] = number
            said = self.announced.get(number)
            assert said is not None, (step, "no notice was delivered")
            assert intent["amount_received"] <= said.amount_minor, (step, "above the notice")
            earliest = said.not_before - CLOCK_ERROR
            assert self.payments.clock.now() >= earliest, (step, "earlier than the notice said")
            assert number not in self.withdrawn, (step, "it was withdrawn")
            assert number in self.lowered or not self.stopped, (step, "the mandate allows nothing")
            ceiling_minor = LOWER_CEILING_MINOR if number in self.lowered else CEILING_MINOR
            assert intent["amount_received"] <= ceiling_minor, (step, "above the ceiling")

    async def nothing_is_forgotten(self) -> None:
        """Once the provider has answered, what it took is paid, and nothing else is."""
        request = payments_pb2.ListChargesRequest(parent=self.customer)
        charges = (await self.payments.call(request)).charges
        assert State.IN_FLIGHT not in {charge.state for charge in charges}
        paid = {charge.name for charge in charges if charge.state == State.SUCCEEDED}
        captured = self.captured.values()
        assert paid == {charge_name(number, self.customer) for number in captured}


@asynccontextmanager
async def opened(url: str, sandbox: Sandbox) -> AsyncIterator[tuple[Payments, WebhookInbox]]:
    """Payments for one history, in an event loop of its own."""
    database = Database(Pool(url, application="test", size=4, keyring=KEYRING))
    async with (
        aiohttp.ClientSession() as http,
        HttpClient(connections_max=8, timeout_seconds=10) as client,
    ):
        provider = StripeProvider(client, sandbox.url, PROVIDER_API_KEY)
        payments = Payments(
            database, _clock, replace(sandbox, http=http), provider, has_one_time=True
        )
        yield payments, WebhookInbox(database, _clock)
    await database.close()


# Most of it waits for the provider and the database, which others use too.
@pytest.mark.timeout(300)
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(card=st.sampled_from(CARDS), history=steps)
def test_in_any_history_the_provider_takes_what_was_promised_and_once(
    service_database: ServiceDatabase, sandbox: Sandbox, card: str, history: list[Step]
) -> None:
    url = service_database("payments")

    async def run() -> None:
        async with opened(url, sandbox) as (payments, inbox):
            await History(payments, inbox).run(card, history)

    asyncio.run(run())
