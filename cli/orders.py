"""Orders: what the cycles of standing orders produced, and why."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.command import command, group, one_of
from cli.connect import Session, all_pages, new_request_id
from cli.names import CUSTOMER, ORDER, STANDING_ORDER, last_id, short_name
from cli.output import Columns
from cli.values import (
    format_address,
    format_date,
    format_money,
    format_rate,
    format_timestamp,
    parse_moment,
    to_timestamp,
)

orders = group("List, explain and confirm orders, one for each cycle of a standing order.")

ANY_STANDING_ORDER = "-"

OrderArgument = Annotated[
    str, typer.Argument(metavar="ORDER", help="STANDING_ORDER/CYCLE, for example weekly-coffee/2.")
]

ORDER_COLUMNS: Columns[pb.Order] = {
    "order": lambda it: short_name(it.name),
    "customer": lambda it: last_id(it.customer),
    "date": lambda it: format_date(it.local_date),
    "due": lambda it: format_timestamp(it.due_time),
    "state": lambda it: pb.Order.State.Name(it.state),
    "why": lambda it: ", ".join(map(pb.OrderReason.Name, it.reasons)),
    "notified": lambda it: format_money(it.notified_amount),
    "amount": lambda it: format_money(it.amount),
    "announced": lambda it: format_timestamp(it.notice_time),
    "paid": lambda it: format_timestamp(it.pay_time),
}
ORDER_DETAIL_COLUMNS: Columns[pb.Order] = {
    **ORDER_COLUMNS,
    "cycle": lambda it: str(it.cycle),
    "moved from": lambda it: format_date(it.moved_from_date),
    "title": lambda it: it.title,
    "pays": lambda it: pb.BillingMode.Name(it.billing_mode).lower().replace("_", " "),
    "under mandate": lambda it: last_id(it.mandate),
    "can be paid late until": lambda it: format_timestamp(it.late_payment_until_time),
    "charged not before": lambda it: format_timestamp(it.charge_not_before_time),
    "sent to": lambda it: format_address(it.ship_to),
    "region": lambda it: it.region_code,
    "tax id": lambda it: it.tax_id,
    "created": lambda it: format_timestamp(it.create_time),
    "updated": lambda it: format_timestamp(it.update_time),
}


def describe_tax(tax: pb.OrderLineTax) -> str:
    """A tax on a line, such as `1.90 EUR VAT 19 %`, by which rate, and why it is not charged."""
    compound = " on the other taxes, too" if tax.compound else ""
    why = "" if tax.treatment in {"", "CHARGED"} else f" {tax.treatment}"
    rate = f"{tax.title} {format_rate(tax.rate_ppm)}{compound}"
    return f"{format_money(tax.amount)} {rate}{why} ({last_id(tax.tax_rate)})"


def _describe_step(step: pb.OrderLineAdjustment) -> str:
    by = f" ({last_id(step.offer)})" if step.offer else ""
    beaten = f" instead of {last_id(step.beaten_price)}" if step.beaten_price else ""
    return f"{format_money(step.amount)} {step.promotion_title or step.kind}{by}{beaten}"


LINE_COLUMNS: Columns[pb.OrderLine] = {
    "product": lambda it: last_id(it.product),
    "title": lambda it: it.title,
    "in place of": lambda it: ", ".join(
        replaced.title or replaced.product for replaced in it.replaced
    ),
    "quantity": lambda it: str(it.quantity),
    "a unit": lambda it: format_money(it.unit_price),
    "list price": lambda it: format_money(it.list_unit_price),
    "list amount": lambda it: format_money(it.list_amount),
    "made of it": lambda it: "\n".join(map(_describe_step, it.adjustments)),
    "amount": lambda it: format_money(it.amount),
    "before taxes": lambda it: format_money(it.net_amount),
    "of which taxes": lambda it: "\n".join(map(describe_tax, it.taxes)),
    "tax": lambda it: format_money(it.tax_amount),
    "to pay": lambda it: format_money(it.gross_amount),
    "price version": lambda it: short_name(it.price),
    "list price version": lambda it: short_name(it.list_price),
}
DECISION_COLUMNS: Columns[pb.Decision] = {
    "time": lambda it: format_timestamp(it.time),
    "decision": lambda it: it.kind,
    "in words": lambda it: it.summary,
    "data": lambda it: "\n".join(_values(MessageToDict(it.data))),
}


def _values(data: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """The data of a decision, one value a line, nested ones by their paths."""
    for key, value in sorted(data.items()):
        name = f"{path}{key}"
        if isinstance(value, Mapping):
            yield from _values(value, f"{name}.")
        elif isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value):
            for index, entry in enumerate(value):
                yield from _values({f"{name}[{index}]": entry})
        elif isinstance(value, list):
            yield f"{name}={', '.join(map(str, value))}"
        else:
            yield f"{name}={value}"


def register(app: typer.Typer) -> None:
    """Add `recurring explain`, which is used so often that it needs no noun."""
    command(app, "explain")(explain_order)


@command(orders, "list")
async def list_orders(
    session: Session,
    standing_order: Annotated[
        str, typer.Argument(metavar="STANDING_ORDER", help="Id or resource name; `-` for all.")
    ] = ANY_STANDING_ORDER,
    state: Annotated[
        pb.Order.State.ValueType, one_of(pb.Order.State, "Only orders in this state.")
    ] = pb.Order.STATE_UNSPECIFIED,
    customer: Annotated[str, typer.Option(help="Only orders of this customer.")] = "",
    due_from: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_moment, metavar="TIME", help="Only orders that are due then or later."
        ),
    ] = None,
    due_before: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="Only orders that are due before."),
    ] = None,
) -> None:
    """List the orders of a standing order, or of the merchant."""
    request = pb.ListOrdersRequest(
        parent=session.name(STANDING_ORDER, standing_order),
        state=state,
        customer=session.name(CUSTOMER, customer) if customer else "",
        due_from_time=to_timestamp(due_from),
        due_before_time=to_timestamp(due_before),
    )
    listed = await all_pages(session.scheduler.ListOrders, request, "orders")
    session.output.many(listed, ORDER_COLUMNS, "no orders")


@command(orders, "get")
async def get_order(session: Session, order: OrderArgument) -> None:
    """Show an order and its lines."""
    request = pb.GetOrderRequest(name=session.name(ORDER, order))
    message = await session.scheduler.GetOrder(request)
    session.output.one(message, ORDER_DETAIL_COLUMNS)
    if not session.output.as_json:
        session.output.many(message.lines, LINE_COLUMNS, "no lines")


@command(orders, "confirm")
async def confirm_order(session: Session, order: OrderArgument) -> None:
    """Confirm a held order on behalf of the customer."""
    request = pb.ConfirmOrderRequest(name=session.name(ORDER, order), request_id=new_request_id())
    session.output.one(await session.scheduler.ConfirmOrder(request), ORDER_DETAIL_COLUMNS)


@command(orders, "explain")
async def explain_order(session: Session, order: OrderArgument) -> None:
    """Show every decision about an order, and the data that it used."""
    request = pb.ExplainOrderRequest(name=session.name(ORDER, order))
    response = await session.scheduler.ExplainOrder(request)
    if session.output.as_json:
        session.output.one(response, {})
        return
    session.output.one(response.order, ORDER_DETAIL_COLUMNS)
    session.output.many(response.order.lines, LINE_COLUMNS, "no lines")
    session.output.many(response.decisions, DECISION_COLUMNS, "no decisions")
