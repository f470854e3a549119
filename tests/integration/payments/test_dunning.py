"""What follows a decline, by the policy of the merchant; the provider's own record is the witness."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from recurring.payments.v1 import payments_pb2

from services.runtime.errors import Problem
from services.runtime.rpc.conversions import from_timestamp
from tests.integration.payments.suite import ANN, DAY, MANDATE, NOW, VISA, Payments, State
from tests.integration.payments.test_payment_methods import (
    LOST,
    POOR,
    fall_due,
    replace,
    set_fallback,
)

Policy = payments_pb2.DunningPolicy
NAME = "merchants/acme/dunningPolicy"
SPARE = f"{ANN}/paymentMethods/spare"


async def set_policy(payments: Payments, **fields: Any) -> Any:  # noqa: ANN401
    given = {"schedule": Policy.STANDARD, "uses_fallbacks": True, **fields}
    return await payments.call(
        payments_pb2.UpdateDunningPolicyRequest(dunning_policy=Policy(name=NAME, **given))
    )


async def attempt_times(payments: Payments) -> list[datetime]:
    """When the charge was tried, as often as the provider's own record has it."""
    attempts = (await payments.charge()).attempts
    assert len(attempts) == len(await payments.payments_at_provider())
    return [from_timestamp(attempt.start_time) for attempt in attempts]


async def declines(payments: Payments) -> list[Any]:
    events = await payments.events()
    return [event for event in events if event.DESCRIPTOR.name == "PaymentDeclined"]


async def wallet(payments: Payments, first: str, second: str) -> None:
    """A default and a fallback, and a mandate for both."""
    await payments.payment_method(first)
    await payments.payment_method(second, SPARE)
    await set_fallback(payments, SPARE, 1)
    await payments.mandate(payment_method="")


@pytest.mark.parametrize(
    ("schedule", "days"),
    [(Policy.STANDARD, [1, 4, 9]), (Policy.KILL_BILL, [8, 16, 24]), (Policy.PAYFORIT, [7, 14, 21])],
)
async def test_a_published_schedule_is_kept_to_the_day(
    payments: Payments,
    schedule: payments_pb2.DunningPolicy.Schedule.ValueType,
    days: list[int],
) -> None:
    await set_policy(payments, schedule=schedule)
    await payments.consent(POOR)
    await fall_due(payments)
    await payments.pass_time(90 * DAY)
    assert await attempt_times(payments) == [NOW, *(NOW + day * DAY for day in days)]
    assert (await payments.charge()).state == State.ABANDONED


async def test_a_retry_comes_at_the_hour_and_weekday_of_the_policy_in_the_customers_zone(
    payments: Payments,
) -> None:
    # NOW is a Saturday in winter; the order's zone is Berlin.
    await set_policy(
        payments, schedule=Policy.CUSTOM, retry_days=[1, 2], retry_hour=18, weekdays=[1, 4]
    )
    await payments.consent(POOR)
    await fall_due(payments)
    await payments.pass_time(30 * DAY)
    assert await attempt_times(payments) == [
        NOW,
        datetime(2026, 2, 2, 17, tzinfo=UTC),
        datetime(2026, 2, 5, 17, tzinfo=UTC),
    ]


async def test_a_fallback_is_charged_at_once_and_each_step_is_told(payments: Payments) -> None:
    await wallet(payments, POOR, "pm_card_mastercard")
    await fall_due(payments)
    await payments.work()
    assert await payments.cards_at_provider() == [
        (POOR, "requires_payment_method"),
        ("pm_card_mastercard", "succeeded"),
    ]
    assert await payments.published() == ["PaymentDeclined", "PaymentSucceeded"]


async def test_a_card_that_is_lost_gives_way_to_the_fallback(payments: Payments) -> None:
    await wallet(payments, LOST, "pm_card_mastercard")
    await fall_due(payments)
    await payments.work()
    assert (await payments.charge()).state == State.SUCCEEDED


async def test_each_fallback_is_tried_once_and_the_retries_go_on_after_them(
    payments: Payments,
) -> None:
    poor_too = "pm_sandbox_declines_insufficient_funds"
    await wallet(payments, POOR, poor_too)
    await fall_due(payments)
    await payments.pass_time(30 * DAY)
    tried = [card for card, _ in await payments.cards_at_provider()]
    assert tried == [POOR, poor_too, POOR, POOR, POOR]


async def test_no_fallback_is_charged_where_the_policy_or_the_mandate_has_none(
    payments: Payments,
) -> None:
    await set_policy(payments, uses_fallbacks=False)
    await wallet(payments, POOR, "pm_card_mastercard")
    await fall_due(payments)
    await payments.pass_time(30 * DAY)
    assert {card for card, _ in await payments.cards_at_provider()} == {POOR}


async def test_a_patient_policy_charges_the_card_that_takes_the_lost_ones_place(
    payments: Payments,
) -> None:
    await set_policy(payments, awaits_new_method=True)
    await payments.consent(LOST)
    await fall_due(payments)
    await payments.pass_time(2 * DAY)
    assert len(await payments.payments_at_provider()) == 1
    await replace(payments, VISA, "next", "pm_card_visa")
    await payments.pass_time(7 * DAY)

    assert (await payments.charge()).state == State.SUCCEEDED
    assert await attempt_times(payments) == [NOW, NOW + 4 * DAY]
    # The decline itself, and the retry that found no other card.
    assert [from_timestamp(event.next_attempt_time) for event in await declines(payments)] == [
        NOW + DAY,
        NOW + 4 * DAY,
    ]


async def test_a_patient_policy_ends_with_its_last_retry(payments: Payments) -> None:
    await set_policy(payments, awaits_new_method=True)
    await payments.consent(LOST)
    await fall_due(payments)
    await payments.pass_time(30 * DAY)
    assert len(await payments.payments_at_provider()) == 1
    assert (await payments.charge()).state == State.ABANDONED
    assert (await payments.published())[-1] == "PaymentAbandoned"


async def test_nothing_is_tried_after_the_mandate_was_revoked(payments: Payments) -> None:
    await set_policy(payments, awaits_new_method=True)
    await payments.consent(POOR)
    await fall_due(payments)
    await payments.call(payments_pb2.RevokeMandateRequest(name=MANDATE))
    await payments.sandbox.ask("PUT", f"/provider/cards/{POOR}", json={"decline_code": None})
    await payments.pass_time(30 * DAY)
    assert await payments.charged_minor() == 0
    assert len(await payments.payments_at_provider()) == 1


async def test_nothing_is_tried_after_the_order_was_withdrawn(payments: Payments) -> None:
    await wallet(payments, POOR, "pm_sandbox_declines_insufficient_funds")
    await fall_due(payments)
    await payments.withdraw()
    before = len(await payments.payments_at_provider())
    await payments.pass_time(30 * DAY)
    assert len(await payments.payments_at_provider()) == before


async def test_a_permission_that_was_ended_at_the_bank_ends_it_for_all_methods(
    payments: Payments,
) -> None:
    revoked = "pm_sandbox_declines_revocation_of_all_authorizations"
    await set_policy(payments, awaits_new_method=True)
    await wallet(payments, revoked, "pm_card_mastercard")
    await fall_due(payments)
    await payments.pass_time(30 * DAY)
    assert [card for card, _ in await payments.cards_at_provider()] == [revoked]


async def test_a_policy_is_shown_as_it_was_set_and_counts_for_its_merchant(
    payments: Payments,
) -> None:
    standard = await payments.call(payments_pb2.GetDunningPolicyRequest(name=NAME))
    assert (list(standard.retry_days), standard.uses_fallbacks) == ([1, 3, 5], True)
    made = await set_policy(payments, schedule=Policy.KILL_BILL, weekdays=[5, 1], retry_hour=0)
    assert list(made.retry_days) == [8, 8, 8]
    assert (list(made.weekdays), made.HasField("retry_hour")) == ([1, 5], True)
    assert await payments.call(payments_pb2.GetDunningPolicyRequest(name=NAME)) == made
    other = payments_pb2.GetDunningPolicyRequest(name="merchants/other/dunningPolicy")
    assert list((await payments.call(other, merchant="other")).retry_days) == [1, 3, 5]


@pytest.mark.parametrize(
    "fields",
    [
        {"schedule": Policy.KILL_BILL, "retry_days": [1]},
        {"schedule": 0},
        {"schedule": Policy.CUSTOM, "retry_days": [0]},
        {"schedule": Policy.CUSTOM, "retry_days": [1] * 11},
        {"retry_hour": 24},
        {"weekdays": [0]},
        {"weekdays": [1, 1]},
    ],
)
async def test_a_policy_that_means_nothing_is_refused(
    payments: Payments, fields: dict[str, Any]
) -> None:
    with pytest.raises(Problem) as refused:
        await set_policy(payments, **fields)
    assert refused.value.reason == "FIELD_INVALID"


async def test_a_changed_policy_counts_from_the_next_decline(payments: Payments) -> None:
    await payments.consent(POOR)
    await fall_due(payments)
    await set_policy(payments, schedule=Policy.CUSTOM, retry_days=[1, 10])
    await payments.pass_time(timedelta(days=40))
    assert await attempt_times(payments) == [NOW, NOW + DAY, NOW + 11 * DAY]


async def test_an_attempt_has_one_key_whatever_it_is_made_with(payments: Payments) -> None:
    await wallet(payments, POOR, "pm_card_mastercard")
    await fall_due(payments)
    await payments.work()
    rows = await payments.rows(
        "SELECT number, payment_method, idempotency_key FROM attempts ORDER BY number"
    )
    assert [(number, method) for number, method, _ in rows] == [(1, "visa"), (2, "spare")]
    assert len({key for _, _, key in rows}) == 2


async def test_a_simulation_replays_the_declines_of_the_merchant(payments: Payments) -> None:
    await payments.consent(POOR)
    await fall_due(payments)
    await payments.pass_time(10 * DAY)
    assert (await payments.charge()).state == State.ABANDONED

    async def simulated(schedule: payments_pb2.DunningPolicy.Schedule.ValueType) -> Any:  # noqa: ANN401
        policy = Policy(name=NAME, schedule=schedule)
        return await payments.call(payments_pb2.SimulateDunningPolicyRequest(dunning_policy=policy))

    as_it_was = await simulated(Policy.STANDARD)
    assert (as_it_was.declined.charge_count, as_it_was.recovered.charge_count) == (1, 0)
    assert [retry.declined_count for retry in as_it_was.retries] == [1, 1, 1]
    assert [(each.delay_days, each.retry_count) for each in as_it_was.history] == [
        (1, 1), (4, 1), (9, 1),
    ]  # fmt: skip
    longer = await simulated(Policy.KILL_BILL)
    assert longer.unknown.amounts == as_it_was.declined.amounts
