"""The deviations of the demo's outcome from its plan, each a sentence."""

from collections.abc import Iterator, Sequence

from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from cli.demo import plan
from cli.demo.outcome import Outcome
from cli.demo.plan import Expected
from cli.values import format_minor, format_moment, from_timestamp, to_minor

_ATTEMPT = payments_pb2.Charge.Attempt
# What each customer's card does with every charge.
_ATTEMPTS_OF_A_PAYMENT = {
    "Ada": [_ATTEMPT.SUCCEEDED],
    "Ben": [_ATTEMPT.SUCCEEDED],
    "Cleo": [_ATTEMPT.DECLINED, _ATTEMPT.SUCCEEDED],
    "Dan": [_ATTEMPT.SUCCEEDED],
    "Eve": [_ATTEMPT.SUCCEEDED],
}
# Whose first payment was another, until they mended their card.
_ATTEMPTS_OF_THE_FIRST = {"Eve": [_ATTEMPT.DECLINED, _ATTEMPT.SUCCEEDED]}
# What their banks took back: why, whether by themselves, and what became of it.
_DISPUTES = {
    "Eve": [
        ("insufficient_funds", True, payments_pb2.Dispute.LOST),
        ("unrecognized", False, payments_pb2.Dispute.WON),
    ]
}
_STATES_AT_THE_END = {
    "Ada": scheduler_pb2.StandingOrder.COMPLETED,
    "Ben": scheduler_pb2.StandingOrder.CANCELLED,
    "Cleo": scheduler_pb2.StandingOrder.COMPLETED,
    "Dan": scheduler_pb2.StandingOrder.CANCELLED,
    "Eve": scheduler_pb2.StandingOrder.COMPLETED,
}


def deviations(outcome: Outcome, expected: Sequence[Expected]) -> Iterator[str]:
    """Where a customer's half year differs from the plan."""
    who = outcome.participant.first_name
    yield from _cycles(who, outcome.orders, expected)
    yield from _attempts(who, outcome)
    if outcome.standing_order.state != _STATES_AT_THE_END[who]:
        state = scheduler_pb2.StandingOrder.State.Name(outcome.standing_order.state)
        yield f"{who}'s standing order ended {state}"
    refunded = sum(
        to_minor(refund.amount) for refund in outcome.refunds if refund.state == refund.SUCCEEDED
    )
    wanted = plan.REFUND_MINOR if who == "Ada" else 0
    if refunded != wanted:
        yield f"{who} got {_money(refunded)} back, not {_money(wanted)}"
    paid = sum(order.state == order.PAID for order in outcome.orders)
    unanswered = paid if who == "Dan" else 0
    if len(outcome.unanswered) != unanswered:
        yield f"{len(outcome.unanswered)} payments of {who} went unanswered, not {unanswered}"
    disputes = [(it.reason, it.late_failure, it.state) for it in outcome.disputes]
    if disputes != _DISPUTES.get(who, []):
        names = [
            f"{it.reason} {payments_pb2.Dispute.State.Name(it.state)}" for it in outcome.disputes
        ]
        yield f"what the bank of {who} took back is {names}"
    if not outcome.messages:
        yield f"{who} got no message"


def _cycles(
    who: str, orders: Sequence[scheduler_pb2.Order], expected: Sequence[Expected]
) -> Iterator[str]:
    numbers = [order.cycle for order in orders]
    if numbers != list(range(1, len(expected) + 1)):
        yield f"{who} has orders of the cycles {numbers}, not of 1 to {len(expected)}"
        return
    for order, wanted in zip(orders, expected, strict=True):
        what = f"{who}'s order {order.cycle}"
        if from_timestamp(order.due_time) != wanted.due_time:
            was = format_moment(from_timestamp(order.due_time))
            yield f"{what} was due {was}, not {format_moment(wanted.due_time)}"
        if order.state != wanted.state:
            names = [scheduler_pb2.Order.State.Name(state) for state in (order.state, wanted.state)]
            yield f"{what} is {names[0]}, not {names[1]}"
        elif wanted.reason is not None and list(order.reasons) != [wanted.reason]:
            names = [scheduler_pb2.OrderReason.Name(reason) for reason in order.reasons]
            yield f"{what} has the reasons {names}"
        elif wanted.amount_minor is not None and to_minor(order.amount) != wanted.amount_minor:
            yield f"{what} cost {_money(to_minor(order.amount))}, not {_money(wanted.amount_minor)}"


def _attempts(who: str, outcome: Outcome) -> Iterator[str]:
    for order in outcome.orders:
        if order.state != order.PAID:
            continue
        charge = outcome.charge_of(order)
        states = [attempt.state for attempt in charge.attempts] if charge else []
        first = _ATTEMPTS_OF_THE_FIRST.get(who) if order.cycle == 1 else None
        if states != (first or _ATTEMPTS_OF_A_PAYMENT[who]):
            names = [_ATTEMPT.State.Name(state) for state in states]
            yield f"{who}'s order {order.cycle} was paid by the attempts {names}"


def _money(amount_minor: int) -> str:
    return format_minor(amount_minor, plan.CURRENCY)
