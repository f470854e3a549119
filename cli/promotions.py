"""Promotions: what standing orders that redeem them are given off."""

from datetime import datetime
from typing import Annotated

import typer
from google.type import money_pb2
from recurring.catalog.v1 import catalog_pb2 as pb

from cli.command import command, group
from cli.connect import Session, all_pages, new_request_id
from cli.names import PRODUCT, PROMOTION, last_id
from cli.output import Columns
from cli.values import (
    format_basis_points,
    format_money,
    format_timestamp,
    parse_basis_points,
    parse_moment,
    parse_money,
    to_timestamp,
)

promotions = group("Manage promotions.")

PromotionArgument = Annotated[str, typer.Argument(metavar="PROMOTION", help="Id or resource name.")]

PROMOTION_COLUMNS: Columns[pb.Promotion] = {
    "promotion": lambda it: last_id(it.name),
    "title": lambda it: it.title,
    "off": lambda it: format_money(it.amount_off) or format_basis_points(it.percent_off_bps),
    "code": lambda it: it.code,
    "cycles": lambda it: str(it.cycle_count) if it.cycle_count else "all",
    "cycles before": lambda it: format_timestamp(it.discount_until_time),
    "products": lambda it: ", ".join(map(last_id, it.products)) or "all",
    "redeemed": lambda it: str(it.redemption_count),
    "at most": lambda it: str(it.redemption_limit) if it.redemption_limit else "",
    "until": lambda it: format_timestamp(it.end_time),
    "state": lambda it: pb.Promotion.State.Name(it.state),
    "created": lambda it: format_timestamp(it.create_time),
}


@command(promotions, "create")
async def create_promotion(
    session: Session,
    promotion: Annotated[str, typer.Argument(metavar="ID", help="The id of the new promotion.")],
    title: Annotated[str, typer.Option(help="The title in messages to customers.")],
    percent_off: Annotated[
        int,
        typer.Option(
            parser=parse_basis_points,
            metavar="PERCENT",
            help="The share of each line that is taken off, for example 7.5.",
            show_default=False,
        ),
    ] = 0,
    amount_off: Annotated[
        money_pb2.Money | None,
        typer.Option(parser=parse_money, metavar="AMOUNT", help="What is taken off each order."),
    ] = None,
    code: Annotated[
        str,
        typer.Option(
            help="What customers enter. Default: everybody who signs up without a code has it."
        ),
    ] = "",
    cycles: Annotated[int, typer.Option(min=0, help="For so many cycles. Default: all.")] = 0,
    cycles_before: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="For cycles due before."),
    ] = None,
    products: Annotated[
        list[str] | None,
        typer.Option("--product", metavar="PRODUCT", help="For this product only. Repeatable."),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, help="So many may redeem it. Default: as many as want.")
    ] = 0,
    until: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="When nobody redeems it any more."),
    ] = None,
) -> None:
    """Create a promotion. Its terms never change."""
    made = pb.Promotion(
        title=title,
        amount_off=amount_off,
        code=code.upper(),
        cycle_count=cycles,
        discount_until_time=to_timestamp(cycles_before),
        products=[session.name(PRODUCT, product) for product in products or ()],
        redemption_limit=limit,
        end_time=to_timestamp(until),
    )
    if percent_off:
        if amount_off is not None:
            raise typer.BadParameter("goes without --amount-off", param_hint="--percent-off")
        made.percent_off_bps = percent_off
    request = pb.CreatePromotionRequest(
        parent=session.parent, promotion_id=promotion, promotion=made, request_id=new_request_id()
    )
    session.output.one(await session.catalog.CreatePromotion(request), PROMOTION_COLUMNS)


@command(promotions, "list")
async def list_promotions(session: Session) -> None:
    """List the promotions."""
    request = pb.ListPromotionsRequest(parent=session.parent)
    listed = await all_pages(session.catalog.ListPromotions, request, "promotions")
    session.output.many(listed, PROMOTION_COLUMNS, "no promotions")


@command(promotions, "get")
async def get_promotion(session: Session, promotion: PromotionArgument) -> None:
    """Show a promotion, and how many have redeemed it."""
    request = pb.GetPromotionRequest(name=session.name(PROMOTION, promotion))
    session.output.one(await session.catalog.GetPromotion(request), PROMOTION_COLUMNS)


@command(promotions, "end")
async def end_promotion(session: Session, promotion: PromotionArgument) -> None:
    """End a promotion. Who has redeemed it keeps it."""
    request = pb.EndPromotionRequest(
        name=session.name(PROMOTION, promotion), request_id=new_request_id()
    )
    session.output.one(await session.catalog.EndPromotion(request), PROMOTION_COLUMNS)
