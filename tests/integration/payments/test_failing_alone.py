"""What cannot be worked on keeps nothing else of its batch waiting."""

from datetime import timedelta

from recurring.payments.v1 import payments_pb2

from tests.integration.payments.suite import (
    BOB,
    DAY,
    Payments,
    State,
    charge_name,
    order,
)
from tests.integration.payments.test_dunning import set_policy
from tests.integration.payments.test_revenue import END, START, LedgerSettings, choose

CHARGE_OF_BOB = charge_name(2, BOB)
# A reason of a later release.
UNREADABLE = "UPDATE charges SET refusal_reasons = '{LATER}'"
INSUFFICIENT_FUNDS = "pm_card_chargeDeclinedInsufficientFunds"


async def consent(payments: Payments, card_of_ann: str = "pm_card_visa") -> None:
    """Payment methods and mandates of ann and bob."""
    await payments.consent(card_of_ann)
    visa = f"{BOB}/paymentMethods/visa"
    await payments.payment_method(name=visa)
    await payments.mandate(f"{BOB}/mandates/coffee", visa)


async def fall_due(payments: Payments, time_zone_of_ann: str = "Europe/Berlin") -> None:
    """One charge of ann's and one of bob's, both announced."""
    await payments.announce(payments.notice(), payments.notice(order(2), customer=BOB))
    due = payments.due()
    due.ref.time_zone = time_zone_of_ann
    mandate = f"{BOB}/mandates/coffee"
    await payments.fall_due(due, payments.due(order(2), customer=BOB, mandate=mandate))


async def spoil(payments: Payments, statement: str) -> None:
    """Change rows of ann's behind the back of payments."""
    async with payments.database.begin() as tx:
        assert await tx.execute(f"{statement} WHERE customer = 'ann'") == 1


async def states(payments: Payments) -> tuple[State.ValueType, State.ValueType]:
    """Of the charges of ann and bob."""
    return (await payments.charge()).state, (await payments.charge(CHARGE_OF_BOB)).state


async def test_a_charge_is_made_beside_one_that_cannot_be_decided(payments: Payments) -> None:
    await consent(payments)
    await fall_due(payments)
    # As a later release writes them.
    await spoil(payments, """UPDATE charges SET charge_rules = '[["", [{"of": "later"}]]]'""")
    await payments.work()
    assert await states(payments) == (State.SCHEDULED, State.SUCCEEDED)

    await spoil(payments, "UPDATE charges SET charge_rules = '[]'")
    # Another process has not seen it fail.
    payments.due_work = payments.process()
    await payments.work()
    assert await states(payments) == (State.SUCCEEDED, State.SUCCEEDED)


async def test_an_outcome_is_written_beside_one_that_cannot_be(payments: Payments) -> None:
    await consent(payments, INSUFFICIENT_FUNDS)
    await set_policy(payments, retry_hour=9)
    await fall_due(payments, "Europe/Atlantis")
    await payments.work()
    assert await states(payments) == (State.IN_FLIGHT, State.SUCCEEDED)

    await spoil(payments, "UPDATE charges SET time_zone = 'Europe/Berlin'")
    payments.due_work = payments.process()
    await payments.pass_time(timedelta(minutes=5))
    assert await states(payments) == (State.SCHEDULED, State.SUCCEEDED)


async def test_an_outcome_is_found_beside_one_that_cannot_be_written(payments: Payments) -> None:
    await consent(payments, INSUFFICIENT_FUNDS)
    await set_policy(payments, retry_hour=9)
    await fall_due(payments, "Europe/Atlantis")
    outage = {"on": True, "kind": "lost_answers"}
    await payments.sandbox.ask("PUT", "/outages/provider", json=outage)
    await payments.work()
    await payments.sandbox.ask("PUT", "/outages/provider", json={"on": False})
    await payments.pass_time(timedelta(minutes=5))
    assert await states(payments) == (State.IN_FLIGHT, State.SUCCEEDED)


async def test_a_request_is_reminded_of_and_ends_beside_one_that_cannot(
    payments: Payments,
) -> None:
    of_bob = payments.due_on_notice(2 * DAY)
    of_bob.ref.order, of_bob.ref.customer = order(2), BOB
    await payments.fall_due(payments.due_on_notice(2 * DAY), of_bob)
    await spoil(payments, UNREADABLE)
    await payments.pass_time(DAY)
    assert (await payments.published()).count("PaymentRequestReminder") == 1
    await payments.pass_time(DAY)
    async with payments.database.read() as connection:
        rows = await connection.fetch("SELECT customer, state FROM charges ORDER BY customer")
    assert [tuple(row) for row in rows] == [("ann", "REQUESTED"), ("bob", "ABANDONED")]


async def test_a_refund_is_made_beside_one_that_cannot_be_booked(payments: Payments) -> None:
    await consent(payments)
    await fall_due(payments)
    await payments.work()
    await payments.refund()
    await payments.call(payments_pb2.CreateRefundRequest(parent=CHARGE_OF_BOB, refund_id="spilt"))
    await spoil(payments, UNREADABLE)
    await payments.work()
    rows = await payments.rows("SELECT customer, state FROM refunds ORDER BY customer")
    assert rows == [("ann", "PENDING"), ("bob", "SUCCEEDED")]


async def test_revenue_is_recognized_beside_what_cannot_be(payments: Payments) -> None:
    await choose(payments, LedgerSettings.OVER_PERIOD)
    await consent(payments)
    await payments.announce(payments.notice(), payments.notice(order(2), customer=BOB))
    mandate = f"{BOB}/mandates/coffee"
    await payments.fall_due(
        payments.due(period=(START, END)),
        payments.due(order(2), customer=BOB, mandate=mandate, period=(START, END)),
    )
    await payments.work()
    # After the last day that there is.
    await spoil(payments, "UPDATE revenue_deferrals SET through_date = '9999-12-31'")
    await payments.pass_time(40 * DAY)
    rows = await payments.rows(
        "SELECT customer, deferred_minor = 0 FROM revenue_deferrals ORDER BY customer"
    )
    assert rows == [("ann", False), ("bob", True)]
