"""A time line for each customer: what was charged and ordered, and the very messages they got."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.demo.outcome import Outcome
from cli.names import last_id
from cli.output import PROSE_WIDTH_COLUMNS
from cli.payments import describe_attempt
from cli.schedules import describe_schedule
from cli.values import format_minor, format_moment, format_money, from_timestamp, to_minor

_STYLES = {"SMS": "green", "card": "magenta", "bank": "cyan", "order": "bold"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened."""

    time: datetime
    # Of things at one moment, the lower comes first: they follow from each other.
    rank: int
    kind: str
    text: str


def timeline(outcome: Outcome) -> list[Entry]:
    """Everything that happened to a customer, the oldest first."""
    entries = [
        *_lost_answers(outcome),
        *_attempts(outcome),
        *_refunds(outcome),
        *_disputes(outcome),
        *_orders(outcome),
        *_messages(outcome),
    ]
    return sorted(entries, key=lambda entry: (entry.time, entry.rank))


def render(outcome: Outcome) -> Panel:
    """A customer's time line for people."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for entry in timeline(outcome):
        kind = Text(entry.kind, style=_STYLES[entry.kind])
        table.add_row(format_moment(entry.time), kind, Text(entry.text))
    standing_order = outcome.standing_order
    about = f"{outcome.participant.about}\n{describe_schedule(standing_order.schedule)}\n"
    state = scheduler_pb2.StandingOrder.State.Name(standing_order.state)
    paid = [to_minor(order.amount) for order in outcome.orders if order.state == order.PAID]
    currency = outcome.orders[0].notified_amount.currency_code if outcome.orders else "EUR"
    end = f"\n{state}, {len(paid)} orders paid, {format_minor(sum(paid), currency)} in all"
    return Panel(
        Group(Text(about, style="italic"), table, Text(end, style="bold")),
        title=outcome.participant.first_name,
        title_align="left",
        width=PROSE_WIDTH_COLUMNS,
    )


def _attempts(outcome: Outcome) -> Iterator[Entry]:
    for charge in outcome.charges:
        for attempt in charge.attempts:
            text = (
                f"order {last_id(charge.order)}, attempt {attempt.number} of"
                f" {format_money(charge.amount)}: {describe_attempt(attempt)}"
            )
            ended = attempt.end_time if attempt.HasField("end_time") else attempt.start_time
            yield Entry(from_timestamp(ended), 1, "card", text)


def _lost_answers(outcome: Outcome) -> Iterator[Entry]:
    for payment in outcome.unanswered:
        yield Entry(
            payment.time, 0, "card", f"charged at the provider ({payment.id}), its answer lost"
        )


def _refunds(outcome: Outcome) -> Iterator[Entry]:
    for refund in outcome.refunds:
        state = payments_pb2.Refund.State.Name(refund.state)
        text = f"refund of {format_money(refund.amount)} ({refund.note}): {state}"
        yield Entry(from_timestamp(refund.create_time), 1, "card", text)


def _disputes(outcome: Outcome) -> Iterator[Entry]:
    for dispute in outcome.disputes:
        amount = format_money(dispute.amount)
        if dispute.late_failure:
            text = f"sent {amount} back by itself: {dispute.reason}"
            yield Entry(from_timestamp(dispute.open_time), 1, "bank", text)
            continue
        text = f"takes {amount} back for its customer: {dispute.reason}"
        yield Entry(from_timestamp(dispute.open_time), 1, "bank", text)
        if dispute.HasField("close_time"):
            state = payments_pb2.Dispute.State.Name(dispute.state)
            yield Entry(from_timestamp(dispute.close_time), 1, "bank", f"dispute {state}")


def _orders(outcome: Outcome) -> Iterator[Entry]:
    for order in outcome.orders:
        state = scheduler_pb2.Order.State.Name(order.state)
        why = ", ".join(map(scheduler_pb2.OrderReason.Name, order.reasons))
        amount = format_money(order.amount) if order.state == order.PAID else ""
        text = " ".join(filter(None, (f"order {order.cycle}:", state, amount, why)))
        ended = order.pay_time if order.state == order.PAID else order.update_time
        yield Entry(from_timestamp(ended), 2, "order", text)


def _messages(outcome: Outcome) -> Iterator[Entry]:
    for message in outcome.messages:
        yield Entry(datetime.fromisoformat(message["created"]), 3, "SMS", message["body"])
