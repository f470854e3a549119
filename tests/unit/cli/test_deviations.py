"""An outcome as planned has no deviations; others have theirs."""

from dataclasses import replace
from datetime import UTC, datetime

from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from cli.demo import plan
from cli.demo.deviations import deviations
from cli.demo.outcome import Outcome, UnansweredPayment
from cli.demo.participants import Participant
from cli.demo.plan import Expected, Plan
from cli.demo.timeline import timeline
from cli.values import from_minor, to_timestamp

DATES = Plan(datetime(2026, 1, 10, tzinfo=UTC))
ADA = DATES.expected()["Ada"]
CUSTOMER = "merchants/demo/customers/ada-1"
STANDING_ORDER = "merchants/demo/standingOrders/ada-1"


def order(cycle: int, expected: Expected) -> scheduler_pb2.Order:
    return scheduler_pb2.Order(
        name=f"{STANDING_ORDER}/orders/{cycle}",
        cycle=cycle,
        state=expected.state,
        due_time=to_timestamp(expected.due_time),
        pay_time=to_timestamp(expected.due_time),
        amount=from_minor(expected.amount_minor or 0, plan.CURRENCY),
    )


def charge(cycle: int, expected: Expected) -> payments_pb2.Charge:
    attempt = payments_pb2.Charge.Attempt(
        number=1,
        state=payments_pb2.Charge.Attempt.SUCCEEDED,
        start_time=to_timestamp(expected.due_time),
        end_time=to_timestamp(expected.due_time),
    )
    return payments_pb2.Charge(
        name=f"{CUSTOMER}/charges/ada-1-{cycle}",
        order=f"{STANDING_ORDER}/orders/{cycle}",
        amount=from_minor(expected.amount_minor or 0, plan.CURRENCY),
        state=payments_pb2.Charge.SUCCEEDED,
        attempts=[attempt],
    )


AS_PLANNED = Outcome(
    participant=Participant("Ada", 0, "pm_card_visa", "", scheduler_pb2.StandingOrder()),
    standing_order=scheduler_pb2.StandingOrder(state=scheduler_pb2.StandingOrder.COMPLETED),
    orders=tuple(order(cycle, expected) for cycle, expected in enumerate(ADA, 1)),
    charges=tuple(charge(cycle, expected) for cycle, expected in enumerate(ADA, 1)),
    refunds=(
        payments_pb2.Refund(
            amount=from_minor(plan.REFUND_MINOR, plan.CURRENCY),
            state=payments_pb2.Refund.SUCCEEDED,
            create_time=to_timestamp(ADA[0].due_time),
        ),
    ),
    disputes=(),
    documents=(),
    messages=({"created": "2026-01-28T07:45:00Z", "body": "Hi Ada!"},),
    unanswered=(),
)


def sentences(outcome: Outcome) -> list[str]:
    return list(deviations(outcome, ADA))


def first_order_but(**changed: object) -> Outcome:
    first = scheduler_pb2.Order()
    first.CopyFrom(AS_PLANNED.orders[0])
    first.MergeFrom(scheduler_pb2.Order(**changed))  # type: ignore[arg-type]
    return replace(AS_PLANNED, orders=(first, *AS_PLANNED.orders[1:]))


def test_an_outcome_as_planned_has_no_deviation() -> None:
    assert sentences(AS_PLANNED) == []


def test_a_missing_order_is_a_deviation() -> None:
    assert sentences(replace(AS_PLANNED, orders=AS_PLANNED.orders[:-1])) == [
        "Ada has orders of the cycles [1, 2, 3, 4, 5], not of 1 to 6"
    ]


def test_a_date_that_drifted_is_a_deviation() -> None:
    drifted = first_order_but(due_time=to_timestamp(datetime(2026, 2, 1, 8, tzinfo=UTC)))
    assert sentences(drifted) == ["Ada's order 1 was due 2026-02-01 08:00Z, not 2026-01-31 08:00Z"]


def test_an_order_that_lapsed_is_a_deviation() -> None:
    lapsed = first_order_but(state=scheduler_pb2.Order.LAPSED)
    assert sentences(lapsed) == ["Ada's order 1 is LAPSED, not PAID"]


def test_another_price_is_a_deviation() -> None:
    dearer = first_order_but(amount=from_minor(26_50, plan.CURRENCY))
    assert sentences(dearer) == ["Ada's order 1 cost 26.50 EUR, not 22.50 EUR"]


def test_a_second_attempt_is_a_deviation() -> None:
    twice = payments_pb2.Charge()
    twice.CopyFrom(AS_PLANNED.charges[0])
    twice.attempts.append(twice.attempts[0])
    outcome = replace(AS_PLANNED, charges=(twice, *AS_PLANNED.charges[1:]))
    assert sentences(outcome) == [
        "Ada's order 1 was paid by the attempts ['SUCCEEDED', 'SUCCEEDED']"
    ]


def test_a_refund_that_did_not_come_is_a_deviation() -> None:
    assert sentences(replace(AS_PLANNED, refunds=())) == ["Ada got 0.00 EUR back, not 5.00 EUR"]


def test_a_standing_order_that_goes_on_is_a_deviation() -> None:
    active = scheduler_pb2.StandingOrder(state=scheduler_pb2.StandingOrder.ACTIVE)
    outcome = replace(AS_PLANNED, standing_order=active)
    assert sentences(outcome) == ["Ada's standing order ended ACTIVE"]


def test_silence_is_a_deviation() -> None:
    assert sentences(replace(AS_PLANNED, messages=())) == ["Ada got no message"]


def test_a_lost_answer_that_nobody_planned_is_a_deviation() -> None:
    lost = UnansweredPayment("pi_1", ADA[0].due_time)
    outcome = replace(AS_PLANNED, unanswered=(lost,))
    assert sentences(outcome) == ["1 payments of Ada went unanswered, not 0"]


def test_the_time_line_has_everything_in_the_order_of_time() -> None:
    entries = timeline(AS_PLANNED)
    assert [(entry.kind, entry.text) for entry in entries[:4]] == [
        ("SMS", "Hi Ada!"),
        ("card", "order 1, attempt 1 of 22.50 EUR: SUCCEEDED"),
        ("card", "refund of 5.00 EUR (): SUCCEEDED"),
        ("order", "order 1: PAID 22.50 EUR"),
    ]
