"""What customers owe, by age, and what became of charges that were declined."""

from datetime import date, timedelta
from typing import Any

import pytest
from recurring.payments.v1 import payments_pb2

from services.payments.domain.keys import ChargeId, CustomerId
from services.payments.domain.transitions import ChargeState
from services.payments.store import charges as charge_store
from services.runtime.auth.call_context import act_for_all
from services.runtime.errors import Problem
from services.runtime.rpc.conversions import from_money, to_date, to_timestamp
from tests.integration.payments.suite import AMOUNT_MINOR, DAY, NOW, VISA, Payments
from tests.integration.payments.test_dunning import set_policy, wallet
from tests.integration.payments.test_payment_methods import POOR, fall_due
from tests.unit.payments.strategies import CHARGE

Outcome = payments_pb2.DunningOutcome
BUCKETS = (
    "current_amount", "days_1_to_30_amount", "days_31_to_60_amount", "days_61_to_90_amount",
    "over_90_days_amount",
)  # fmt: skip


async def owe(
    payments: Payments, customer: str, days_ago: float, paid_days_ago: float = -1
) -> None:
    """A charge of 10.00 EUR that was due so many days ago, and was paid then or is open."""
    due_time = NOW - timedelta(days=days_ago)
    is_paid = paid_days_ago >= 0
    charge = CHARGE._replace(
        customer=CustomerId(customer),
        charge=ChargeId(f"due-{days_ago}".replace(".", "-")),
        due_time=due_time,
        create_time=due_time,
        update_time=NOW - timedelta(days=paid_days_ago) if is_paid else due_time,
        state=ChargeState.SUCCEEDED if is_paid else ChargeState.SCHEDULED,
        next_attempt_time=None if is_paid else NOW + DAY,
    )
    act_for_all("payments")
    async with payments.database.begin() as tx:
        await charge_store.insert(tx, [charge])


async def receivables(payments: Payments, **fields: Any) -> dict[str, list[int]]:  # noqa: ANN401
    """By customer, what is owed by age."""
    request = payments_pb2.ListReceivablesRequest(parent="merchants/acme", **fields)
    answer = await payments.call(request)
    owed = {}
    for row in answer.receivables:
        by_age = [from_money(getattr(row, bucket)).amount_minor for bucket in BUCKETS]
        assert sum(by_age) == from_money(row.amount).amount_minor == 1000 * row.charge_count
        owed[row.customer.rpartition("/")[2]] = by_age
    return owed


async def test_what_customers_owe_is_sorted_by_its_age_at_any_instant(payments: Payments) -> None:
    for days_ago in (0, 1, 30, 31, 60, 61, 90, 91):
        await owe(payments, "ann", days_ago)
    await owe(payments, "bob", 40, paid_days_ago=5)
    assert await receivables(payments) == {"ann": [1000, 2000, 2000, 2000, 1000]}
    a_week_ago = {"as_of_time": to_timestamp(NOW - 7 * DAY)}
    assert await receivables(payments, **a_week_ago) == {
        "ann": [0, 2000, 2000, 2000, 0],
        "bob": [0, 0, 1000, 0, 0],
    }


async def test_a_day_begins_in_the_zone_that_is_asked_for(payments: Payments) -> None:
    # It was due at 19:00 UTC of the day before NOW, which is still that day in Honolulu.
    await owe(payments, "ann", 13 / 24)
    for zone, current in (("Europe/Berlin", 0), ("Pacific/Honolulu", 1000)):
        owed = (await receivables(payments, time_zone=zone))["ann"]
        assert owed == [current, 1000 - current, 0, 0, 0]


async def test_an_instant_that_is_none_is_refused(payments: Payments) -> None:
    with pytest.raises(Problem) as refused:
        await receivables(payments, as_of_time={"seconds": -1}, time_zone="Middle/Earth")
    assert [it.field for it in refused.value.violations] == ["as_of_time", "time_zone"]


async def outcomes(payments: Payments, day: date | None = None) -> list[tuple[Any, ...]]:
    """Number, means, and how many were tried, recovered, given up and are open."""
    request = payments_pb2.ListDunningOutcomesRequest(parent="merchants/acme")
    if day is not None:
        request.start_date.CopyFrom(to_date(day))
        request.end_date.CopyFrom(to_date(day))
    rows = (await payments.call(request)).dunning_outcomes
    for row in rows:
        assert from_money(row.amount).amount_minor == row.attempt_count * AMOUNT_MINOR
        assert from_money(row.recovered_amount).amount_minor == row.recovered_count * AMOUNT_MINOR
    return [
        (
            row.attempt_number,
            Outcome.Means.Name(row.means),
            *(row.attempt_count, row.recovered_count, row.given_up_count, row.open_count),
        )
        for row in rows
    ]


async def test_a_charge_is_open_until_its_last_retry_and_given_up_then(payments: Payments) -> None:
    await set_policy(payments, schedule=payments_pb2.DunningPolicy.CUSTOM, retry_days=[2])
    await payments.consent(POOR)
    await fall_due(payments)
    assert await outcomes(payments) == [(1, "FIRST_ATTEMPT", 1, 0, 0, 1)]
    await payments.pass_time(3 * DAY)
    assert await outcomes(payments, NOW.date()) == [
        (1, "FIRST_ATTEMPT", 1, 0, 0, 0),
        (2, "SAME_METHOD", 1, 0, 1, 0),
    ]
    assert await outcomes(payments, NOW.date() + DAY) == []


async def test_what_a_fallback_pays_is_recovered_by_another_method(payments: Payments) -> None:
    await wallet(payments, POOR, "pm_card_visa")
    await fall_due(payments)
    assert await outcomes(payments) == [
        (1, "FIRST_ATTEMPT", 1, 0, 0, 0),
        (2, "OTHER_METHOD", 1, 1, 0, 0),
    ]


async def test_what_a_policy_recovered_stays_beside_it_when_it_is_changed(
    payments: Payments,
) -> None:
    await payments.consent(POOR)
    await fall_due(payments)
    await set_policy(payments, schedule=payments_pb2.DunningPolicy.CUSTOM, retry_days=[2])
    order = "merchants/acme/standingOrders/coffee/orders/2"
    await payments.announce(payments.notice(order))
    await payments.fall_due(payments.due(order))
    await payments.pass_time(30 * DAY)

    request = payments_pb2.ListDunningOutcomesRequest(
        parent="merchants/acme", start_date=to_date(NOW.date()), end_date=to_date(NOW.date())
    )
    report = await payments.call(request)
    assert [(it.policy_version, it.attempt_number) for it in report.dunning_outcomes] == [
        *((0, 1), (0, 2)),
        *((1, 1), (1, 2)),
    ]
    # By the old policy it would have been tried twice more.
    attempts = (await payments.charge()).attempts
    assert [it.policy_version for it in attempts] == [0, 1]
    standard, custom = report.dunning_policies
    assert (standard.version, list(standard.retry_days)) == (0, [1, 3, 5])
    assert (custom.version, list(custom.retry_days)) == (1, [2])
    first = await payments.call(
        request.__class__(
            parent=request.parent,
            page_size=2,
            start_date=request.start_date,
            end_date=request.end_date,
        )
    )
    assert list(first.dunning_policies) == [standard]


async def test_what_a_customer_confirms_in_the_end_is_recovered_by_them(payments: Payments) -> None:
    await set_policy(
        payments, schedule=payments_pb2.DunningPolicy.CUSTOM, retry_days=[], ask_to_pay_days=7
    )
    await payments.consent(POOR)
    await fall_due(payments)
    assert await outcomes(payments) == [(1, "FIRST_ATTEMPT", 1, 0, 0, 1)]
    other = VISA.replace("visa", "another")
    await payments.payment_method("pm_card_visa", other)
    await payments.confirm(payment_method=other)
    await payments.work()
    assert await outcomes(payments) == [
        (1, "FIRST_ATTEMPT", 1, 0, 0, 0),
        (2, "CUSTOMER", 1, 1, 0, 0),
    ]


async def test_credit_that_pays_a_declined_charge_has_recovered_it(payments: Payments) -> None:
    await payments.consent(POOR)
    await fall_due(payments)
    gift = payments_pb2.CreateCreditTransactionRequest(
        parent=VISA.partition("/paymentMethods/")[0], credit_transaction_id="gift"
    )
    gift.credit_transaction.type = payments_pb2.CreditTransaction.GOODWILL
    gift.credit_transaction.amount.currency_code, gift.credit_transaction.amount.units = "EUR", 100
    await payments.call(gift)
    await payments.pass_time(2 * DAY)
    assert (await outcomes(payments, NOW.date()))[1:] == [(2, "CREDIT", 1, 1, 0, 0)]
