"""What was not paid in time can be paid late, as long as the order says so."""

import asyncio
from datetime import timedelta

import pytest

from services.payments.names import CHARGE as CHARGE_NAME
from services.payments.store import charges as charge_store
from services.runtime.auth.call_context import act_for_all
from services.runtime.errors import Problem
from services.runtime.rpc.conversions import to_timestamp
from tests.integration.payments.suite import (
    AMOUNT_MINOR,
    ANN,
    CHARGE,
    DAY,
    NOW,
    Abandoned,
    Payments,
    State,
    event_of,
)
from tests.integration.payments.test_payment_methods import LOST, POOR
from tests.locks import wait_for_locks

GOOD = f"{ANN}/paymentMethods/good"
LATE_DAYS = 5


async def overdue(payments: Payments) -> None:
    """A request of a day that nobody confirmed."""
    await payments.payment_method(name=GOOD)
    await payments.fall_due(payments.due_on_notice(late_payment_days=LATE_DAYS))
    await payments.pass_time(DAY)


async def test_a_request_that_ended_can_be_paid_late(payments: Payments) -> None:
    await overdue(payments)
    event = event_of(await payments.events(), "PaymentOverdue")
    assert event.reason == Abandoned.REQUEST_EXPIRED
    assert event.expire_time == to_timestamp(NOW + (1 + LATE_DAYS) * DAY)
    charge = await payments.charge()
    assert (charge.state, charge.overdue_time) == (State.REQUESTED, to_timestamp(NOW + DAY))

    await payments.pass_time(2 * DAY)
    await payments.confirm(payment_method=GOOD)
    await payments.work()
    assert (await payments.charge()).state == State.SUCCEEDED
    assert await payments.charged_minor() == AMOUNT_MINOR


async def test_it_is_over_once_the_time_to_pay_late_has_passed(payments: Payments) -> None:
    await overdue(payments)
    await payments.pass_time(LATE_DAYS * DAY)
    assert (await payments.published()).count("PaymentOverdue") == 1
    assert (await payments.published())[-1] == "PaymentAbandoned"
    with pytest.raises(Problem, match="expired"):
        await payments.confirm(payment_method=GOOD)
    assert await payments.charged_minor() == 0


async def test_its_customer_is_reminded_before_that(payments: Payments) -> None:
    await overdue(payments)
    before = (await payments.published()).count("PaymentRequestReminder")
    await payments.pass_time((LATE_DAYS - 1) * DAY)
    assert (await payments.published()).count("PaymentRequestReminder") == before + 1


@pytest.mark.parametrize(
    ("card", "after"), [(LOST, timedelta()), (POOR, 9 * DAY)], ids=["for good", "each time"]
)
async def test_what_was_declined_can_be_paid_late_with_another_card(
    payments: Payments, card: str, after: timedelta
) -> None:
    await payments.consent(card)
    await payments.payment_method(name=GOOD)
    await payments.announce()
    await payments.fall_due(payments.due(late_payment_days=LATE_DAYS))
    await payments.pass_time(after)
    event = event_of(await payments.events(), "PaymentOverdue")
    assert (event.reason, bool(event.decline_code)) == (Abandoned.DECLINED, True)
    assert (await payments.charge()).mandate == ""

    await payments.confirm(payment_method=GOOD)
    await payments.work()
    assert (await payments.charge()).state == State.SUCCEEDED


async def test_a_late_payment_that_is_declined_leaves_time_for_another_card(
    payments: Payments,
) -> None:
    await overdue(payments)
    await payments.payment_method(LOST)
    await payments.confirm()
    await payments.work()
    charge = await payments.charge()
    assert charge.state == State.REQUESTED
    assert charge.expire_time == to_timestamp(NOW + (1 + LATE_DAYS) * DAY)


async def test_what_is_not_wanted_any_more_cannot_be_paid_late(payments: Payments) -> None:
    await overdue(payments)
    await payments.withdraw()
    assert (await payments.charge()).state == State.ABANDONED
    assert event_of(await payments.events(), "PaymentAbandoned").reason == Abandoned.WITHDRAWN


async def test_nobody_is_asked_late_whose_bank_ended_the_permission(payments: Payments) -> None:
    await payments.consent("pm_sandbox_declines_revocation_of_authorization")
    await payments.announce()
    await payments.fall_due(payments.due(late_payment_days=LATE_DAYS))
    await payments.work()
    assert (await payments.charge()).state == State.ABANDONED


async def test_two_processes_that_end_a_request_leave_the_time_to_pay_it_late(
    payments: Payments,
) -> None:
    await payments.payment_method(name=GOOD)
    await payments.fall_due(payments.due_on_notice(late_payment_days=LATE_DAYS))
    payments.clock.move(DAY)
    act_for_all("payments")
    async with payments.database.begin() as tx:
        await charge_store.locked(tx, [CHARGE_NAME.key(CHARGE)])
        # Both have read that it has ended, and wait for its lock.
        twins = [asyncio.create_task(payments.process().expire_requests()) for _ in range(2)]
        await wait_for_locks(payments.database, 2)
    await asyncio.gather(*twins)
    assert (await payments.charge()).state == State.REQUESTED
    await payments.confirm(payment_method=GOOD)
    await payments.work()
    assert (await payments.charge()).state == State.SUCCEEDED


async def test_nobody_is_reminded_of_a_request_that_has_ended_meanwhile(
    payments: Payments,
) -> None:
    await payments.fall_due(payments.due_on_notice(lasts=2 * DAY))
    # Nothing worked for as long as the request lasted.
    payments.clock.move(2 * DAY)
    act_for_all("payments")
    await payments.due_work.remind()
    await payments.work()
    assert await payments.published() == ["PaymentRequested", "PaymentAbandoned"]
