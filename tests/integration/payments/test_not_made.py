"""Attempts that the provider does not have: sent once more only if they still may be made."""

import sqlite3
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import pytest
from recurring.payments.v1 import payments_pb2

from services.payments.clients.stripe import STRIPE, StripeProvider
from services.payments.domain.idempotent_retries import KEY_RELIED_ON
from services.payments.domain.outcomes import Outcome, Unknown
from services.payments.domain.refunds import Refund
from services.payments.store import attempts as attempt_store
from services.runtime.db.leases import BUCKETS
from services.runtime.rpc.conversions import to_money
from tests.integration.payments.suite import (
    AMOUNT_MINOR,
    DAY,
    MANDATE,
    NOW,
    Abandoned,
    Payments,
    State,
    ceiling,
    charge_name,
    event_of,
    order,
)
from tests.integration.sandbox.process import PROVIDER_API_KEY

HOUR = timedelta(hours=1)
AttemptState = payments_pb2.Charge.Attempt.State
OUTAGES = [HOUR, 30 * HOUR]


async def switch_outage(payments: Payments, *, on: bool) -> None:
    await payments.sandbox.ask("PUT", "/outages/provider", json={"on": on})


async def let_search_lag(payments: Payments) -> None:
    """Have no payment found by a search from here on."""
    lag = {"search_lag_seconds": 10**6}
    await payments.sandbox.ask("PUT", "/provider/behavior", json=lag)


def forget_keys(payments: Payments) -> None:
    """As the provider does after a day."""
    with sqlite3.connect(payments.sandbox.record_file) as db:
        db.execute("DELETE FROM idempotency")


async def fall_due_in_an_outage(payments: Payments) -> None:
    await payments.consent()
    await payments.announce()
    await switch_outage(payments, on=True)
    await payments.fall_due()
    await payments.work()
    assert (await payments.charge()).state == State.IN_FLIGHT


async def end_the_outage_after(payments: Payments, time: timedelta) -> None:
    await payments.pass_time(time)
    assert (await payments.charge()).state == State.IN_FLIGHT
    await switch_outage(payments, on=False)
    await payments.pass_time(2 * HOUR)


async def states_of_attempts(payments: Payments) -> list[str]:
    return [AttemptState.Name(attempt.state) for attempt in (await payments.charge()).attempts]


@pytest.mark.parametrize("outage", OUTAGES)
async def test_a_payment_cancelled_during_an_outage_is_not_made_after_it(
    payments: Payments, outage: timedelta
) -> None:
    await fall_due_in_an_outage(payments)
    await payments.withdraw()
    await end_the_outage_after(payments, outage)

    assert await payments.payments_at_provider() == []
    abandoned = event_of(await payments.events(), "PaymentAbandoned")
    assert abandoned.reason == Abandoned.WITHDRAWN
    assert await states_of_attempts(payments) == ["NOT_MADE"]


@pytest.mark.parametrize("outage", OUTAGES)
async def test_a_mandate_revoked_during_an_outage_allows_nothing_after_it(
    payments: Payments, outage: timedelta
) -> None:
    await fall_due_in_an_outage(payments)
    await payments.call(payments_pb2.RevokeMandateRequest(name=MANDATE))
    await end_the_outage_after(payments, outage)

    assert await payments.payments_at_provider() == []
    refused = event_of(await payments.events(), "PaymentRefused")
    assert refused.reasons == [payments_pb2.MANDATE_REVOKED]


async def test_a_lower_price_announced_during_an_outage_binds_the_payment_after_it(
    payments: Payments,
) -> None:
    await fall_due_in_an_outage(payments)
    later = payments.notice(amount_minor=AMOUNT_MINOR - 1)
    later.notice += "-again"  # type: ignore[attr-defined]
    payments.clock.move(timedelta(minutes=1))
    later.deliver_time.FromDatetime(payments.clock.now())  # type: ignore[attr-defined]
    await payments.announce(later)
    await end_the_outage_after(payments, HOUR)

    assert await payments.payments_at_provider() == []
    refused = event_of(await payments.events(), "PaymentRefused")
    assert refused.reasons == [payments_pb2.ABOVE_NOTIFIED_AMOUNT]


@pytest.mark.parametrize("outage", OUTAGES)
async def test_what_is_still_wanted_after_an_outage_is_paid_once(
    payments: Payments, outage: timedelta
) -> None:
    await fall_due_in_an_outage(payments)
    await end_the_outage_after(payments, outage)

    assert (await payments.charge()).state == State.SUCCEEDED
    assert await payments.charged_minor() == AMOUNT_MINOR
    # The same attempt while its key is relied on, a new one after that.
    made = ["SUCCEEDED"] if outage < KEY_RELIED_ON else ["NOT_MADE", "SUCCEEDED"]
    assert await states_of_attempts(payments) == made


@pytest.mark.parametrize("outage", OUTAGES)
async def test_a_payment_is_found_though_the_provider_has_another_time_and_forgot_the_key(
    payments: Payments, outage: timedelta
) -> None:
    ahead = {"seconds": 20 * 60}
    async with payments.sandbox.http.post(
        f"{payments.sandbox.url}/clock/advance", json=ahead
    ) as done:
        assert done.status == HTTPStatus.OK, await done.text()
    await payments.consent("pm_sandbox_timeoutAfterCharge")
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    await switch_outage(payments, on=True)
    if outage > KEY_RELIED_ON:
        forget_keys(payments)
    await end_the_outage_after(payments, outage)

    assert await payments.charged_minor() == AMOUNT_MINOR
    assert (await payments.charge()).state == State.SUCCEEDED
    assert await states_of_attempts(payments) == ["SUCCEEDED"]


async def test_two_payments_delayed_into_a_month_stay_within_its_ceiling(
    payments: Payments,
) -> None:
    await payments.consent(period_ceiling=ceiling(AMOUNT_MINOR))
    await payments.announce(payments.notice(), payments.notice(order(2)))
    await switch_outage(payments, on=True)
    await payments.fall_due(payments.due(), payments.due(order(2)))
    await payments.pass_time(datetime(2026, 2, 1, tzinfo=UTC) - NOW)
    await switch_outage(payments, on=False)
    await payments.pass_time(2 * HOUR)

    assert await payments.charged_minor() == AMOUNT_MINOR
    assert (await payments.charge()).state == State.SUCCEEDED
    other = await payments.charge(charge_name(2))
    assert other.refusal_reasons == [payments_pb2.ABOVE_PERIOD_CEILING]


async def test_what_was_sent_once_more_leaves_no_room_in_its_new_month(payments: Payments) -> None:
    await payments.consent(period_ceiling=ceiling(AMOUNT_MINOR))
    await payments.announce(payments.notice(), payments.notice(order(2)))
    await switch_outage(payments, on=True)
    await payments.fall_due()
    await payments.pass_time(datetime(2026, 2, 1, tzinfo=UTC) - NOW)
    await switch_outage(payments, on=False)
    await payments.pass_time(2 * HOUR)
    assert (await payments.charge()).state == State.SUCCEEDED

    await payments.fall_due(payments.due(order(2)))
    await payments.work()
    assert (await payments.charge(charge_name(2))).state == State.REFUSED


@pytest.mark.parametrize("withdrawn", [False, True])
async def test_a_payment_that_the_search_does_not_show_yet_is_believed_and_not_repeated(
    payments: Payments,
    withdrawn: bool,  # noqa: FBT001 - one of two cases
) -> None:
    await let_search_lag(payments)
    await payments.consent("pm_sandbox_timeoutAfterCharge")
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    if withdrawn:
        await payments.withdraw()
    await payments.pass_time(timedelta(minutes=5))

    # The money had moved before the withdrawal.
    assert await payments.published() == ["PaymentSucceeded"]
    assert await payments.charged_minor() == AMOUNT_MINOR


async def test_a_payment_is_found_though_search_and_keys_have_forgotten_it(
    payments: Payments,
) -> None:
    await let_search_lag(payments)
    await payments.consent("pm_sandbox_timeoutAfterCharge")
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    await switch_outage(payments, on=True)
    forget_keys(payments)
    await end_the_outage_after(payments, 30 * HOUR)

    assert await payments.published() == ["PaymentSucceeded"]
    assert await payments.charged_minor() == AMOUNT_MINOR


async def test_a_request_that_comes_after_its_key_was_closed_moves_no_money(
    payments: Payments,
) -> None:
    await fall_due_in_an_outage(payments)
    async with payments.database.begin() as tx:
        [attempt] = await attempt_store.due(tx, STRIPE, range(BUCKETS), NOW + HOUR, 1, ())
    await switch_outage(payments, on=False)
    await payments.withdraw()
    await payments.provider.close(attempt, "", NOW + HOUR)
    # From a process that was paused before it sent.
    late: Outcome = await payments.provider.charge(attempt, "pm_card_visa")

    assert isinstance(late, Unknown)
    assert await payments.payments_at_provider() == []


async def test_a_confirmed_request_that_an_outage_outlasts_is_not_made_after_its_end(
    payments: Payments,
) -> None:
    await payments.payment_method()
    await payments.fall_due(payments.due_on_notice(lasts=DAY))
    await switch_outage(payments, on=True)
    await payments.confirm()
    await end_the_outage_after(payments, DAY + HOUR)

    assert await payments.payments_at_provider() == []
    abandoned = event_of(await payments.events(), "PaymentAbandoned")
    assert abandoned.reason == Abandoned.NOT_MADE


async def test_attempts_that_were_not_made_use_up_no_retry(payments: Payments) -> None:
    await payments.consent("pm_card_chargeDeclinedInsufficientFunds")
    await payments.announce()
    await switch_outage(payments, on=True)
    await payments.fall_due()
    await end_the_outage_after(payments, 30 * HOUR)
    await payments.pass_time(20 * DAY)

    assert await states_of_attempts(payments) == ["NOT_MADE", *["DECLINED"] * 4]


class LosingAnswers(StripeProvider):
    async def refund(self, refund: Refund) -> Outcome:
        await super().refund(refund)
        return Unknown("the answer was lost")


async def test_a_refund_whose_answer_was_lost_is_given_once_though_its_key_is_forgotten(
    payments: Payments,
) -> None:
    await payments.consent()
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    await payments.refund(amount_minor=100)
    real = payments.provider
    assert isinstance(real, StripeProvider)
    losing = LosingAnswers(real._api._http, payments.sandbox.url, PROVIDER_API_KEY)
    await payments.process(losing).refund()
    forget_keys(payments)
    await payments.pass_time(30 * HOUR)

    assert (await payments.charge()).refunded_amount == to_money(100, "EUR")
    refunds = (await payments.sandbox.provider("GET", "/refunds")).body["data"]
    assert [refund["amount"] for refund in refunds] == [100]
