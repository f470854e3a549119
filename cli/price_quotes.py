"""What a cart costs, explained line by line."""

from datetime import datetime
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToDict
from recurring.catalog.v1 import catalog_pb2 as pb

from cli.command import command
from cli.connect import Session
from cli.names import PRODUCT, STANDING_ORDER, last_id
from cli.price_steps import steps_of_quote_line, steps_table
from cli.standing_orders import parse_item
from cli.values import format_money, parse_moment, to_timestamp


def register(prices: typer.Typer) -> None:
    """Add `recurring prices quote`."""
    command(prices, "quote")(quote)


async def quote(
    session: Session,
    items: Annotated[list[str], typer.Argument(metavar="PRODUCT[=QUANTITY]…", help="The cart.")],
    region: Annotated[
        str, typer.Option(metavar="CODE", help="Where it goes, such as DE or US-CA: for taxes.")
    ] = "",
    currency: Annotated[
        str, typer.Option(metavar="CODE", help="Default: the one that all products have.")
    ] = "",
    promotion: Annotated[
        str, typer.Option(metavar="CODE", help="The code that the customer signs up with.")
    ] = "",
    tax_id: Annotated[str, typer.Option(help="The customer's, such as DE123456789.")] = "",
    standing_order: Annotated[
        str,
        typer.Option(
            metavar="STANDING_ORDER", help="Whose protection applies. Default: a new one's."
        ),
    ] = "",
    cycle: Annotated[int, typer.Option(min=1, help="Which cycle of it.")] = 1,
    at: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="When. Default: now."),
    ] = None,
) -> None:
    """Explain what a cart costs: list price, tiers, protection, promotion and taxes."""
    request = pb.PreviewQuoteRequest(
        parent=session.parent,
        standing_order=session.name(STANDING_ORDER, standing_order) if standing_order else "",
        cycle=cycle,
        price_time=to_timestamp(at),
        region_code=region,
        currency=currency,
        promotion_code=promotion,
        tax_id=tax_id,
    )
    for product, quantity in map(parse_item, items):
        request.items.add(product=session.name(PRODUCT, product), quantity=quantity)
    response = await session.catalog.PreviewQuote(request)
    if session.output.as_json:
        session.output.data(MessageToDict(response))
        return
    if response.promotion_problem:
        session.output.say(pb.PromotionProblem.Name(response.promotion_problem))
    for problem in response.problems:
        reason = pb.ItemProblem.Reason.Name(problem.reason)
        session.output.say(f"{last_id(problem.product)}: {reason}")
    if response.problems:
        return
    rates = response.applied_tax_rates
    session.output.table(
        steps_table(
            [
                (f"{line.title} ({last_id(line.product)})", steps_of_quote_line(line, rates))
                for line in response.lines
            ]
        )
    )
    total, saved = format_money(response.total), format_money(response.saved_amount)
    session.output.say(f"\n{total} to pay, {saved} saved against the list prices")
