"""Bank debits: submitted, decided by a bank over days, sent back late, cancelled in time."""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from recurring.payments.v1 import payments_pb2

from deploy.embedded.ports import HOST
from services.payments.api.webhooks import HTTP_LIMITS, PATHS, WebhookReceiver
from services.payments.application import disputes
from services.payments.application.webhooks import WebhookInbox
from services.payments.clients.bank_debit import BankDebitProvider
from services.payments.clients.bank_debit_api import BANK_DEBIT
from services.runtime.auth.call_context import act_for_all
from services.runtime.db.pool import Database, Pool
from services.runtime.errors import Problem
from services.runtime.http_client import HttpClient
from services.runtime.http_server import HttpServer
from services.runtime.rpc.conversions import to_money, to_timestamp
from tests.conftest import KEYRING, ServiceDatabase
from tests.integration.payments.suite import (
    AMOUNT_MINOR,
    CHARGE,
    DAY,
    MANDATE,
    NOW,
    VISA,
    ManualClock,
    Payments,
    State,
    charge_name,
    event_of,
    order,
)
from tests.integration.payments.test_credit import give
from tests.integration.payments.test_dunning import SPARE
from tests.integration.payments.test_gauges import seen
from tests.integration.payments.test_payment_methods import set_fallback
from tests.integration.payments.test_rules import sepa
from tests.integration.sandbox.process import Sandbox, held_port

TOKEN = "access_token_of_the_bank"
SECRET = "secret_of_the_bank"
SEPA, POOR_AT_FIRST = "MD_sandbox_sepa", "MD_sandbox_poorAtFirst"
REPLACED_TOMORROW = f"MD_sandbox_replaced{NOW + DAY:%Y%m}"
BACS = "MD_sandbox_bacs"
Attempt = payments_pb2.Charge.Attempt
Dispute = payments_pb2.Dispute


@pytest.fixture
async def payments(service_database: ServiceDatabase, tmp_path: Path) -> AsyncIterator[Payments]:
    """Payments with a provider of bank debits, whose webhooks come."""
    held = held_port()
    address = f"{HOST}:{held.getsockname()[1]}"
    clock = ManualClock(NOW)
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        sandbox = Sandbox(
            tmp_path / "record.sqlite3",
            http,
            environment={
                "SANDBOX_EXPECTED_SERVICES": ",",
                "SANDBOX_START": NOW.isoformat(),
                "SANDBOX_BANK_API_KEY": TOKEN,
                "SANDBOX_BANK_WEBHOOK_URL": f"http://{address}{PATHS}{BANK_DEBIT}",
                "SANDBOX_BANK_WEBHOOK_SECRET": SECRET,
            },
        )
        await sandbox.start()
        stack.push_async_callback(sandbox.close)
        database = Database(
            Pool(service_database("payments"), application="test", size=6, keyring=KEYRING)
        )
        stack.push_async_callback(database.close)
        inbox = WebhookInbox(database, clock)
        server = HttpServer(
            WebhookReceiver(inbox, {BANK_DEBIT: [SECRET.encode()]}, clock).answer, HTTP_LIMITS
        )
        await server.start(address)
        stack.push_async_callback(server.stop, 1)
        client = await stack.enter_async_context(HttpClient(connections_max=20, timeout_seconds=10))
        provider = BankDebitProvider(client, f"{sandbox.url}/bank", TOKEN)
        payments = Payments(database, clock, sandbox, provider)
        payments.webhook_url = f"http://{address}{PATHS}{BANK_DEBIT}"
        yield payments
    held.close()


async def begin(payments: Payments, mandate: str = SEPA) -> None:
    await payments.consent(mandate)
    await payments.announce()
    await payments.fall_due()
    await payments.work()


async def pass_days(payments: Payments, days: int, part: timedelta = DAY) -> None:
    """At the bank, which tells what it decided, and here."""
    sandbox = payments.sandbox
    for _ in range(days):
        seconds = int(part.total_seconds())
        async with sandbox.http.post(
            f"{sandbox.url}/clock/advance", json={"seconds": seconds}
        ) as done:
            await done.read()
        payments.clock.move(part)
        await payments.work()


async def at_bank(payments: Payments, path: str = "/payments") -> list[dict[str, Any]]:
    headers = {"Authorization": f"Bearer {TOKEN}", "GoCardless-Version": "2015-07-06"}
    async with payments.sandbox.http.get(
        f"{payments.sandbox.url}/bank{path}", headers=headers
    ) as answer:
        listed: list[dict[str, Any]] = (await answer.json())[path.strip("/")]
        return listed


async def switch_outage(payments: Payments, kind: str = "lost_answers", *, on: bool) -> None:
    await payments.sandbox.ask("PUT", "/outages/bank", json={"on": on, "kind": kind})


async def test_a_mandate_at_the_bank_is_shown_as_an_account_that_is_debited(
    payments: Payments,
) -> None:
    method = await payments.payment_method(SEPA)
    assert (method.kind, method.provider) == (payments_pb2.PaymentMethod.BANK_DEBIT, BANK_DEBIT)
    assert (method.brand, method.last4) == ("sepa_core", "00")


async def test_a_mandate_that_was_cancelled_at_the_bank_is_no_payment_method(
    payments: Payments,
) -> None:
    with pytest.raises(Problem) as problem:
        await payments.payment_method("MD_sandbox_cancelled")
    assert problem.value.reason == "PROVIDER_TOKEN_UNKNOWN"


async def test_a_bank_debit_is_pending_until_the_bank_confirms_it(payments: Payments) -> None:
    await begin(payments)
    charge = await payments.charge()
    assert charge.state == State.IN_FLIGHT
    assert [attempt.state for attempt in charge.attempts] == [Attempt.PENDING]
    assert await payments.published() == []
    await pass_days(payments, 4)
    assert (await payments.charge()).state == State.IN_FLIGHT
    await pass_days(payments, 1)
    assert (await payments.charge()).state == State.SUCCEEDED
    assert await payments.published() == ["PaymentSucceeded"]
    assert (await payments.balances())["provider-clearing"] == AMOUNT_MINOR


async def test_a_debit_that_the_bank_sends_back_is_tried_again(payments: Payments) -> None:
    await begin(payments, POOR_AT_FIRST)
    await pass_days(payments, 5)
    charge = await payments.charge()
    assert (charge.state, charge.attempts[0].decline_code) == (
        State.SCHEDULED,
        "insufficient_funds",
    )
    assert event_of(await payments.events(), "PaymentDeclined").decline_code == "insufficient_funds"
    await pass_days(payments, 6)
    assert (await payments.charge()).state == State.SUCCEEDED
    assert [payment["status"] for payment in await at_bank(payments)] == ["confirmed", "failed"]


async def test_a_debit_of_a_closed_account_ends_the_use_of_it(payments: Payments) -> None:
    await begin(payments, "MD_sandbox_fails_bank_account_closed")
    await pass_days(payments, 5)
    charge = await payments.charge()
    assert charge.state == State.ABANDONED
    assert "PaymentMethodBlocked" in await payments.published()


async def test_a_debit_under_a_mandate_that_the_provider_has_replaced_is_made_under_the_new_one(
    payments: Payments,
) -> None:
    await payments.consent(REPLACED_TOMORROW)
    await pass_days(payments, 1)
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    [payment] = await at_bank(payments)
    assert payment["links"]["mandate"] == SEPA
    await pass_days(payments, 5)
    assert (await payments.charge()).state == State.SUCCEEDED


async def test_a_debit_is_found_without_any_webhook(payments: Payments) -> None:
    await payments.sandbox.ask(
        "PUT", "/provider/behavior", json={"webhooks_late_seconds": 90 * 86_400}
    )
    await begin(payments)
    await pass_days(payments, 6)
    assert (await payments.charge()).state == State.SUCCEEDED


async def test_a_debit_whose_answer_was_lost_is_made_once(payments: Payments) -> None:
    await switch_outage(payments, on=False)
    await payments.consent(SEPA)
    await payments.announce()
    await payments.fall_due()
    await switch_outage(payments, on=True)
    await payments.due_work.charge()
    await switch_outage(payments, on=False)
    assert (await payments.charge()).attempts[0].state == Attempt.UNKNOWN
    await pass_days(payments, 1, timedelta(minutes=1))
    assert [each.state for each in (await payments.charge()).attempts] == [Attempt.PENDING]
    assert len(await at_bank(payments)) == 1


@pytest.mark.parametrize("mandate", [SEPA, REPLACED_TOMORROW])
async def test_a_debit_that_never_arrived_and_is_not_wanted_any_more_never_will(
    payments: Payments, mandate: str
) -> None:
    await payments.consent(mandate)
    await payments.announce()
    await payments.fall_due()
    await switch_outage(payments, "unavailable", on=True)
    await payments.due_work.charge()
    await payments.withdraw()
    await pass_days(payments, 1)
    await switch_outage(payments, on=False)
    await pass_days(payments, 1, timedelta(hours=1))
    charge = await payments.charge()
    assert [each.state for each in charge.attempts] == [Attempt.NOT_MADE]
    # What took the key is small, far away and cancelled.
    [taken] = await at_bank(payments)
    assert (taken["status"], taken["amount"]) == ("cancelled", 100)


async def test_a_debit_is_cancelled_at_the_bank_when_its_order_is_withdrawn(
    payments: Payments,
) -> None:
    await begin(payments)
    await payments.withdraw()
    await payments.work()
    charge = await payments.charge()
    assert (charge.state, charge.attempts[0].decline_code) == (State.ABANDONED, "cancelled")
    assert [payment["status"] for payment in await at_bank(payments)] == ["cancelled"]


async def test_a_debit_is_cancelled_at_the_bank_when_its_mandate_is_revoked(
    payments: Payments,
) -> None:
    await begin(payments)
    await payments.call(payments_pb2.RevokeMandateRequest(name=MANDATE))
    await payments.work()
    await pass_days(payments, 2)
    charge = await payments.charge()
    assert charge.state == State.REFUSED
    assert [*charge.refusal_reasons] == [payments_pb2.MANDATE_REVOKED]
    assert [payment["status"] for payment in await at_bank(payments)] == ["cancelled"]


async def test_a_debit_that_began_under_a_valid_mandate_is_paid_though_that_has_expired(
    payments: Payments,
) -> None:
    await payments.consent(SEPA, valid_until_time=to_timestamp(NOW + timedelta(seconds=30)))
    await payments.announce()
    await payments.fall_due()
    await switch_outage(payments, on=True)
    await payments.due_work.charge()
    await switch_outage(payments, on=False)
    await pass_days(payments, 1, timedelta(minutes=1))
    [debit] = await at_bank(payments)
    assert debit["status"] == "pending_submission"
    await pass_days(payments, 6)
    assert (await payments.charge()).state == State.SUCCEEDED
    mandate = await payments.call(payments_pb2.GetMandateRequest(name=MANDATE))
    assert mandate.state == payments_pb2.Mandate.EXPIRED
    assert (await payments.balances())["provider-clearing"] == AMOUNT_MINOR


async def test_a_mandate_does_not_lapse_while_a_bank_decides_a_debit_under_it(
    payments: Payments,
) -> None:
    rules = sepa(mandate_lapse_months=1)
    await payments.consent(SEPA)
    await pass_days(payments, 27)
    await payments.announce()
    await payments.fall_due(payments.due(rules=rules))
    await payments.work()
    # A month after it was agreed to, while the first debit under it is pending.
    await pass_days(payments, 2)
    await payments.announce(payments.notice(order(2)))
    await payments.fall_due(payments.due(order(2), rules=rules))
    await payments.work()
    await pass_days(payments, 12)
    states = [(await payments.charge(charge_name(number))).state for number in (1, 2)]
    assert states == [State.SUCCEEDED, State.SUCCEEDED]
    mandate = await payments.call(payments_pb2.GetMandateRequest(name=MANDATE))
    assert mandate.state == payments_pb2.Mandate.ACTIVE


async def test_a_debit_under_a_paused_mandate_is_cancelled_though_that_has_expired_since(
    payments: Payments,
) -> None:
    await payments.consent(SEPA, valid_until_time=to_timestamp(NOW + timedelta(seconds=30)))
    await payments.announce()
    await payments.fall_due()
    await switch_outage(payments, on=True)
    await payments.due_work.charge()
    await payments.call(payments_pb2.PauseMandateRequest(name=MANDATE))
    await switch_outage(payments, on=False)
    await pass_days(payments, 1, timedelta(minutes=1))
    assert [payment["status"] for payment in await at_bank(payments)] == ["cancelled"]


async def test_a_debit_that_the_bank_has_already_is_paid_though_its_order_is_withdrawn(
    payments: Payments,
) -> None:
    await begin(payments)
    await pass_days(payments, 2)
    await payments.withdraw()
    await pass_days(payments, 4)
    assert (await payments.charge()).state == State.SUCCEEDED


@pytest.mark.parametrize("payment_method", [VISA, ""])
async def test_nobody_consents_to_debits_in_a_currency_that_their_scheme_does_not_move(
    payments: Payments, payment_method: str
) -> None:
    with pytest.raises(Problem) as refused:
        await payments.consent("MD_sandbox_bacs", payment_method=payment_method)
    assert refused.value.reason == "CURRENCY_NOT_CHARGEABLE"


async def test_a_debit_in_a_currency_that_its_scheme_does_not_move_is_refused(
    payments: Payments,
) -> None:
    await payments.consent(SEPA)
    await payments.call(
        payments_pb2.ReplacePaymentMethodRequest(
            name=VISA,
            payment_method_id="british",
            payment_method=payments_pb2.PaymentMethod(provider_token="MD_sandbox_bacs"),
        )
    )
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    charge = await payments.charge()
    assert charge.state == State.REFUSED
    assert [*charge.refusal_reasons] == [payments_pb2.CURRENCY_NOT_CHARGEABLE]


async def two_accounts(payments: Payments, default: str, fallback: str) -> None:
    """A default and a fallback of ann's, and a mandate for both."""
    await payments.payment_method(default)
    await payments.payment_method(fallback, SPARE)
    await set_fallback(payments, SPARE, 1)
    await payments.mandate(payment_method="")
    await payments.announce()


async def test_a_default_of_another_scheme_gives_way_to_the_fallback_that_is_debited(
    payments: Payments,
) -> None:
    await two_accounts(payments, BACS, SEPA)
    await payments.fall_due()
    await payments.work()
    charge = await payments.charge()
    assert (charge.state, charge.attempts[0].payment_method) == (State.IN_FLIGHT, SPARE)
    check = payments_pb2.MandateCheck(
        standing_order="merchants/acme/standingOrders/coffee",
        mandate=MANDATE,
        amount=to_money(AMOUNT_MINOR, "EUR"),
        charge_time=to_timestamp(NOW),
    )
    answer = await payments.call(payments_pb2.BatchCheckMandatesRequest(checks=[check]))
    assert [*answer.results[0].reasons] == []


async def test_a_fallback_of_another_scheme_is_passed_over_after_a_decline(
    payments: Payments,
) -> None:
    await two_accounts(payments, POOR_AT_FIRST, BACS)
    await payments.fall_due()
    await payments.work()
    await pass_days(payments, 5)
    assert (await payments.charge()).state == State.SCHEDULED
    await pass_days(payments, 6)
    charge = await payments.charge()
    assert charge.state == State.SUCCEEDED
    assert [attempt.payment_method for attempt in charge.attempts] == [VISA, VISA]


async def test_a_debit_of_less_than_its_scheme_moves_is_refused(payments: Payments) -> None:
    await payments.consent(SEPA)
    await payments.announce(payments.notice(amount_minor=99))
    await payments.fall_due(payments.due(amount_minor=99))
    await payments.work()
    charge = await payments.charge()
    assert charge.state == State.REFUSED
    assert [*charge.refusal_reasons] == [payments_pb2.AMOUNT_NOT_CHARGEABLE]


async def test_a_mandate_does_not_cover_less_than_its_scheme_moves_unless_credit_pays_it(
    payments: Payments,
) -> None:
    await payments.consent(SEPA)

    async def reasons(amounts: list[int]) -> list[list[payments_pb2.RefusalReason.ValueType]]:
        checks = [
            payments_pb2.MandateCheck(
                standing_order="merchants/acme/standingOrders/coffee",
                mandate=MANDATE,
                amount=to_money(amount_minor, "EUR"),
                charge_time=to_timestamp(NOW),
            )
            for amount_minor in amounts
        ]
        request = payments_pb2.BatchCheckMandatesRequest(checks=checks, in_turn=True)
        return [[*result.reasons] for result in (await payments.call(request)).results]

    too_little = [payments_pb2.AMOUNT_NOT_CHARGEABLE]
    assert await reasons([99, 100]) == [too_little, []]
    await give(payments, 140)
    # What the first takes of the credit is not there for the second.
    assert await reasons([99, 99, 100]) == [[], too_little, []]


async def test_a_debit_that_is_given_back_is_refunded_once(payments: Payments) -> None:
    await begin(payments)
    await pass_days(payments, 5)
    await payments.refund(amount_minor=100)
    await payments.work()
    await pass_days(payments, 3)
    assert (await payments.charge()).refunded_amount.units == 1
    assert [refund["amount"] for refund in await at_bank(payments, "/refunds")] == [100]


async def find_disputes(payments: Payments) -> None:
    """What each process does at an interval, since a webhook may never come."""
    act_for_all("payments")
    await disputes.list_new(payments.database, payments.clock, payments.provider)
    await payments.work()


async def disputes_of(payments: Payments) -> list[payments_pb2.Dispute]:
    request = payments_pb2.ListDisputesRequest(parent="merchants/acme")
    return list((await payments.call(request)).disputes)


async def silence_webhooks(payments: Payments) -> None:
    late = {"webhooks_late_seconds": 90 * 86_400}
    await payments.sandbox.ask("PUT", "/provider/behavior", json=late)


@pytest.mark.parametrize("found", ["by webhook", "by the list"])
async def test_a_debit_that_is_charged_back_is_a_dispute_that_is_lost_at_once(
    payments: Payments, found: str
) -> None:
    if found == "by the list":
        await silence_webhooks(payments)
    await begin(payments, "MD_sandbox_chargedBack")
    await pass_days(payments, 14)
    if found == "by the list":
        await find_disputes(payments)
        await find_disputes(payments)
    [dispute] = await disputes_of(payments)
    assert (dispute.state, dispute.reason) == (Dispute.LOST, "refund_requested")
    assert (dispute.charge, dispute.mandate, dispute.late_failure) == (CHARGE, MANDATE, False)
    assert dispute.amount == (await payments.charge()).amount
    balances = await payments.balances()
    assert (balances["provider-clearing"], balances["disputes"]) == (0, AMOUNT_MINOR)
    assert (await payments.published())[1:] == ["DisputeOpened", "DisputeClosed"]
    mandate = await payments.call(payments_pb2.GetMandateRequest(name=MANDATE))
    assert mandate.state == payments_pb2.Mandate.PAUSED
    assert event_of(await payments.events(), "DisputeClosed").mandate_paused


async def test_a_debit_that_fails_after_it_was_confirmed_leaves_its_mandate_as_it_is(
    payments: Payments,
) -> None:
    await begin(payments, "MD_sandbox_failsAfterConfirmation")
    await pass_days(payments, 12)
    [dispute] = await disputes_of(payments)
    assert (dispute.state, dispute.reason) == (Dispute.LOST, "insufficient_funds")
    assert dispute.late_failure
    assert (await payments.balances())["provider-clearing"] == 0
    mandate = await payments.call(payments_pb2.GetMandateRequest(name=MANDATE))
    assert mandate.state == payments_pb2.Mandate.ACTIVE


@pytest.mark.parametrize("found", ["by webhook", "by the list"])
async def test_a_chargeback_that_the_payer_takes_back_is_won(
    payments: Payments, found: str
) -> None:
    if found == "by the list":
        await silence_webhooks(payments)
    await begin(payments, "MD_sandbox_chargebackCancelled")
    await pass_days(payments, 14)
    await find_disputes(payments)
    assert [dispute.state for dispute in await disputes_of(payments)] == [Dispute.LOST]
    await pass_days(payments, 5)
    await find_disputes(payments)
    assert [dispute.state for dispute in await disputes_of(payments)] == [Dispute.WON]
    balances = await payments.balances()
    assert (balances["provider-clearing"], balances["disputes"]) == (AMOUNT_MINOR, 0)
    mandate = await payments.call(payments_pb2.GetMandateRequest(name=MANDATE))
    assert mandate.state == payments_pb2.Mandate.ACTIVE


async def test_a_debit_that_failed_before_it_was_confirmed_is_no_dispute(
    payments: Payments,
) -> None:
    await begin(payments, POOR_AT_FIRST)
    await pass_days(payments, 6)
    await find_disputes(payments)
    assert await disputes_of(payments) == []
    act_for_all("payments")
    looked_up = await payments.rows("SELECT finding, next_lookup_time FROM dispute_lookups")
    assert looked_up == [("", None)]


async def test_a_chargeback_waits_for_the_outcome_of_its_debit(payments: Payments) -> None:
    await silence_webhooks(payments)
    await begin(payments, "MD_sandbox_chargedBack")
    async with payments.sandbox.http.post(
        f"{payments.sandbox.url}/clock/advance", json={"seconds": 14 * 86_400}
    ) as done:
        await done.read()
    # The provider's list comes before anything is known of the debit.
    await find_disputes(payments)
    assert await disputes_of(payments) == []
    await payments.pass_time(2 * DAY)
    assert [dispute.state for dispute in await disputes_of(payments)] == [Dispute.LOST]


async def test_a_webhook_that_another_has_signed_is_refused(payments: Payments) -> None:
    async with payments.sandbox.http.post(
        payments.webhook_url, data=b'{"events": []}', headers={"Webhook-Signature": "0" * 64}
    ) as answer:
        assert answer.status == 400


async def test_what_a_bank_has_not_decided_within_the_days_of_its_scheme_is_counted(
    payments: Payments,
) -> None:
    await begin(payments)
    payments.clock.move(10 * DAY - timedelta(minutes=1))
    assert (await seen(payments))["recurring.charges.pending.overdue"] == 0
    payments.clock.move(timedelta(minutes=1))
    assert (await seen(payments))["recurring.charges.pending.overdue"] == 1
