"""What made the amounts of the orders of coffee: from the list price to what was paid, step by step."""

from collections.abc import Iterable, Iterator

from recurring.scheduler.v1 import scheduler_pb2
from rich.panel import Panel

from cli.demo.outcome import Outcome
from cli.output import PROSE_WIDTH_COLUMNS
from cli.price_steps import PriceStep, steps_of_order_line, steps_table
from cli.values import format_date, format_money, to_minor

# Whose orders are explained, and what must have made an amount of them, all in one order.
EXPLAINED = {
    "Ada": {"INCREASE_NOT_YET_NOTIFIED", "PROMOTION"},
    "Dan": {"PRICE_LOCK"},
}


def explain(outcome: Outcome) -> Panel | None:
    """The orders of a customer whose amounts were made in another way than those before."""
    who = outcome.participant.first_name
    if who not in EXPLAINED:
        return None
    titled: list[tuple[str, list[PriceStep]]] = []
    before: list[PriceStep] = []
    for order, line in _paid_lines(outcome):
        steps = steps_of_order_line(line)
        if steps != before:
            when, amount = format_date(order.local_date), format_money(order.amount)
            titled.append((f"order {order.cycle} of {when}, {amount}", steps))
        before = steps
    return Panel(
        steps_table(titled),
        title=f"What made {who}'s amounts",
        title_align="left",
        width=PROSE_WIDTH_COLUMNS,
    )


def unexplained(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """Where the steps do not add up, or one is missing."""
    for outcome in outcomes:
        who = outcome.participant.first_name
        if who not in EXPLAINED:
            continue
        seen: list[set[str]] = []
        for order, line in _paid_lines(outcome):
            what = f"{who}'s order {order.cycle}"
            steps_minor = sum(to_minor(step.amount) for step in line.adjustments)
            if to_minor(line.list_amount) + steps_minor != to_minor(line.amount):
                yield f"the steps of {what} do not add up to its amount"
            if to_minor(line.gross_amount) != to_minor(order.amount) or not line.taxes:
                yield f"the taxes of {what} do not add up to what was paid"
            seen.append({step.kind for step in line.adjustments})
        if not any(kinds >= EXPLAINED[who] for kinds in seen):
            yield f"no order of {who} was made by {', '.join(sorted(EXPLAINED[who]))}"


def _paid_lines(
    outcome: Outcome,
) -> Iterator[tuple[scheduler_pb2.Order, scheduler_pb2.OrderLine]]:
    for order in outcome.orders:
        if order.state == order.PAID:
            yield order, order.lines[0]
