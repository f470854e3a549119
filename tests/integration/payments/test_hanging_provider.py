"""A provider that answers nothing delays what it is asked, and nothing of another one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from recurring.payments.v1 import payments_pb2

from services.payments.clients.bank_debit import BankDebitProvider
from services.payments.clients.bank_debit_api import BANK_DEBIT
from services.payments.clients.stripe import StripeProvider
from services.runtime.auth.call_context import act_for_all
from services.runtime.db.due_work import DueWorkers
from services.runtime.db.pool import Database, Pool
from services.runtime.http_client import HttpClient
from tests.conftest import KEYRING, ServiceDatabase
from tests.due_work import EveryBucket
from tests.integration.payments.suite import (
    ANN,
    BOB,
    NOW,
    ManualClock,
    Payments,
    State,
    charge_name,
    order,
)
from tests.integration.sandbox.process import PROVIDER_API_KEY, Sandbox

BANK_TOKEN = "access_token_of_the_bank"
# Longer than the test takes.
HANGING_SECONDS = 60
MINUTE = timedelta(minutes=1)
POLL_SECONDS = 0.02
AT_BANK, AT_STRIPE = charge_name(1, ANN), charge_name(2, BOB)


@pytest.fixture
async def payments(service_database: ServiceDatabase, tmp_path: Path) -> AsyncIterator[Payments]:
    """Payments with two providers, whose customers are ann and bob."""
    database = Database(
        Pool(service_database("payments"), application="test", size=6, keyring=KEYRING)
    )
    async with (
        aiohttp.ClientSession() as http,
        HttpClient(connections_max=5, timeout_seconds=HANGING_SECONDS) as of_bank,
        HttpClient(connections_max=5, timeout_seconds=HANGING_SECONDS) as of_stripe,
    ):
        sandbox = Sandbox(
            tmp_path / "record.sqlite3",
            http,
            environment={
                "SANDBOX_EXPECTED_SERVICES": ",",
                "SANDBOX_START": NOW.isoformat(),
                "SANDBOX_BANK_API_KEY": BANK_TOKEN,
            },
        )
        await sandbox.start()
        payments = Payments(
            database,
            ManualClock(NOW),
            sandbox,
            StripeProvider(of_stripe, sandbox.url, PROVIDER_API_KEY),
            others=[BankDebitProvider(of_bank, f"{sandbox.url}/bank", BANK_TOKEN)],
        )
        await payments.payment_method("MD_sandbox_sepa", f"{ANN}/paymentMethods/own", BANK_DEBIT)
        await payments.payment_method("pm_card_visa", f"{BOB}/paymentMethods/own")
        for customer in (ANN, BOB):
            await payments.mandate(f"{customer}/mandates/own", f"{customer}/paymentMethods/own")
        yield payments
        await sandbox.close()
    await database.close()


@asynccontextmanager
async def working(payments: Payments) -> AsyncIterator[DueWorkers]:
    """All the workers of a process."""
    act_for_all("payments")
    database = payments.database
    due_work = payments.due_work.workers.due_work()
    workers = DueWorkers(database, payments.clock, EveryBucket(database), due_work)
    database.on_commit(workers.wake)
    running = asyncio.create_task(workers.run())
    try:
        yield workers
    finally:
        running.cancel()
        await asyncio.wait([running])


async def hang(payments: Payments) -> None:
    outage = {"on": True, "kind": "queued", "seconds": HANGING_SECONDS}
    await payments.sandbox.ask("PUT", "/outages/bank", json=outage)


async def fall_due(payments: Payments, number: int, customer: str) -> None:
    name = order(number)
    await payments.announce(payments.notice(name, customer=customer))
    mandate = f"{customer}/mandates/own"
    await payments.fall_due(payments.due(name, customer=customer, mandate=mandate))
    act_for_all("payments")


async def until_at(payments: Payments, charge: str, state: State.ValueType) -> None:
    while (await payments.charge(charge)).state != state:  # noqa: ASYNC110 - workers publish no event
        await asyncio.sleep(POLL_SECONDS)
    act_for_all("payments")


async def lookups_at_bank(payments: Payments) -> int:
    [(count,)] = await payments.rows(
        "SELECT lookup_count FROM attempts WHERE provider = 'bank-debit'"
    )
    return int(count)


async def test_charges_go_on_while_another_provider_hangs(payments: Payments) -> None:
    await hang(payments)
    async with working(payments):
        await fall_due(payments, 1, ANN)
        await until_at(payments, AT_BANK, State.IN_FLIGHT)
        await fall_due(payments, 2, BOB)
        await until_at(payments, AT_STRIPE, State.SUCCEEDED)
        # The bank has not been given up meanwhile.
        assert await lookups_at_bank(payments) == 0


async def test_lookups_go_on_while_another_provider_hangs(payments: Payments) -> None:
    await fall_due(payments, 1, ANN)
    await fall_due(payments, 2, BOB)
    for part in ("bank", "provider"):
        await payments.sandbox.ask("PUT", f"/outages/{part}", json={"on": True})
    await payments.work()
    await payments.sandbox.ask("PUT", "/outages/provider", json={"on": False})
    await hang(payments)
    payments.clock.move(MINUTE)
    async with working(payments) as workers:
        workers.wake()
        await until_at(payments, AT_STRIPE, State.SUCCEEDED)
        assert await lookups_at_bank(payments) == 1


async def test_a_charge_whose_customer_has_another_provider_now_is_made_there(
    payments: Payments,
) -> None:
    await payments.announce(payments.notice(order(2), customer=BOB))
    mandate = f"{BOB}/mandates/own"
    await payments.fall_due(payments.due(order(2), customer=BOB, mandate=mandate))
    replaced = payments_pb2.ReplacePaymentMethodRequest(
        name=f"{BOB}/paymentMethods/own",
        payment_method_id="account",
        payment_method=payments_pb2.PaymentMethod(
            provider_token="MD_sandbox_sepa", provider=BANK_DEBIT
        ),
    )
    await payments.call(replaced)
    await payments.work()

    [attempt] = (await payments.charge(AT_STRIPE)).attempts
    assert attempt.payment_method == f"{BOB}/paymentMethods/account"
    assert attempt.state == payments_pb2.Charge.Attempt.PENDING
