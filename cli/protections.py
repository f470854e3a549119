"""Price protections that stand: whom prices are kept for, until when, and what it has saved."""

from datetime import datetime
from typing import Annotated

import typer
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.command import command, group
from cli.connect import Session, all_pages
from cli.names import CUSTOMER, PRODUCT, STANDING_ORDER, last_id
from cli.output import Columns
from cli.terms import describe_protection
from cli.values import format_money, format_timestamp, parse_moment, to_timestamp

protections = group("Show which prices are protected.")

PROTECTION_COLUMNS: Columns[pb.StandingPriceProtection] = {
    "standing order": lambda it: last_id(it.standing_order),
    "customer": lambda it: last_id(it.customer),
    "protection": lambda it: describe_protection(it.price_protection),
    "prices": lambda it: ", ".join("/".join(name.split("/")[3::2]) for name in it.prices),
    "agreed": lambda it: format_timestamp(it.agree_time),
    "from cycle": lambda it: str(it.first_cycle),
    "used": lambda it: str(it.used_cycle_count),
    "left": lambda it: str(it.remaining_cycle_count or ""),
    "ends": lambda it: format_timestamp(it.end_time),
    "saved": lambda it: format_money(it.saved_amount),
}


@command(protections, "list")
async def list_protections(
    session: Session,
    customer: Annotated[str, typer.Option(help="Only those of this customer.")] = "",
    standing_order: Annotated[str, typer.Option(help="Only that of this standing order.")] = "",
    product: Annotated[str, typer.Option(help="Only those of this product's price.")] = "",
    ending_before: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="Only those that end before."),
    ] = None,
) -> None:
    """List the protections that stand, with the prices that they keep and what they have saved."""
    request = pb.ListPriceProtectionsRequest(
        parent=session.parent,
        customer=session.name(CUSTOMER, customer) if customer else "",
        standing_order=session.name(STANDING_ORDER, standing_order) if standing_order else "",
        product=session.name(PRODUCT, product) if product else "",
        end_before_time=to_timestamp(ending_before),
    )
    method = session.scheduler.ListPriceProtections
    listed = await all_pages(method, request, "price_protections")
    session.output.many(listed, PROTECTION_COLUMNS, "no protections")
