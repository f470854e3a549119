"""A line of a quote or an order, explained step by step: from the list price to what is paid."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from google.type import money_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.scheduler.v1 import scheduler_pb2
from rich.table import Table
from rich.text import Text

from cli.names import last_id
from cli.values import format_money, format_rate

# What the steps are called, by their kind.
KINDS = {
    "QUANTITY_TIER": "quantity tier",
    "SUBSCRIBER_DISCOUNT": "discount for standing orders",
    "INCREASE_NOT_YET_NOTIFIED": "increase held back for its notice",
    "PRICE_LOCK": "price lock: the price at sign-up",
    "PRICE_CAP": "price cap: the price at sign-up, and so much more",
    "PROMOTION": "promotion",
}
TREATMENTS = {"REVERSE_CHARGE": ", owed by the customer", "EXEMPT": ", exempt"}


class PriceStep(NamedTuple):
    """One step, what it comes to, and by what it is."""

    text: str
    amount: money_pb2.Money
    by: str = ""


# Orders name the kinds of steps, quotes number them.
_Adjustments = Sequence[
    tuple[str, catalog_pb2.PriceAdjustment] | tuple[str, scheduler_pb2.OrderLineAdjustment]
]


class _Tax(NamedTuple):
    title: str
    rate_ppm: int
    treatment: str
    amount: money_pb2.Money
    tax_rate: str


def steps_of_order_line(line: scheduler_pb2.OrderLine) -> list[PriceStep]:
    """How an order's line came to its amount."""
    adjustments = [(step.kind, step) for step in line.adjustments]
    taxes = [
        _Tax(tax.title, tax.rate_ppm, tax.treatment, tax.amount, tax.tax_rate) for tax in line.taxes
    ]
    return list(_steps(line, adjustments, taxes))


def steps_of_quote_line(
    line: catalog_pb2.QuoteLine, rates: Sequence[catalog_pb2.AppliedTaxRate]
) -> list[PriceStep]:
    """How a quote's line came to its amount."""
    adjustments = [
        (catalog_pb2.PriceAdjustment.Kind.Name(step.kind), step) for step in line.adjustments
    ]
    taxes = []
    for tax in line.taxes:
        rate = rates[tax.applied_tax_rate_index]
        treatment = catalog_pb2.TaxRate.TaxIdTreatment.Name(rate.treatment)
        taxes.append(_Tax(rate.title, rate.rate_ppm, treatment, tax.amount, rate.tax_rate))
    return list(_steps(line, adjustments, taxes))


def steps_table(titled: Sequence[tuple[str, Sequence[PriceStep]]]) -> Table:
    """Lines with their steps, below each other."""
    table = Table.grid(padding=(0, 2))
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim", overflow="fold")
    for title, steps in titled:
        table.add_row(Text(title, style="bold"))
        for step in steps:
            table.add_row(Text(f"  {step.text}"), format_money(step.amount), Text(step.by))
    return table


def _steps(
    line: catalog_pb2.QuoteLine | scheduler_pb2.OrderLine,
    adjustments: _Adjustments,
    taxes: Sequence[_Tax],
) -> Iterator[PriceStep]:
    each = f"{line.quantity} x {format_money(line.list_unit_price)}"
    yield PriceStep(f"list price, {each}", line.list_amount, f"price {last_id(line.list_price)}")
    for kind, step in adjustments:
        by = f"price {last_id(step.price)}" if step.price else ""
        if step.promotion:
            by = f"{step.promotion_title} ({last_id(step.promotion)})"
        elif "/rulePacks/" in step.rule:
            by += f", asked for by {last_id(step.rule)}"
        elif step.rule:
            by += ", asked for by the product"
        elif step.beaten_price:
            by += f" instead of {last_id(step.beaten_price)}"
            by += f", promised by {last_id(step.offer)}" if step.offer else ""
        yield PriceStep(KINDS.get(kind, kind), step.amount, by)
    if taxes:
        yield PriceStep("before taxes", line.net_amount)
    for tax in taxes:
        text = f"{tax.title} {format_rate(tax.rate_ppm)}{TREATMENTS.get(tax.treatment, '')}"
        yield PriceStep(text, tax.amount, f"tax rate {last_id(tax.tax_rate)}")
    yield PriceStep("to pay", line.gross_amount)
