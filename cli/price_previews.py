"""Whom a change of a price would touch, before anybody is notified."""

from typing import Annotated

import typer
from google.protobuf.json_format import MessageToDict
from google.type import date_pb2, money_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.command import command
from cli.connect import Session
from cli.forecast import FORECAST_TIMEOUT_SECONDS
from cli.names import PRICE, PRODUCT
from cli.prices import PriceOptions
from cli.values import (
    format_date,
    format_money,
    parse_date,
    parse_money,
)

# Of one group, in one table.
FIRST_CYCLES_SHOWN_MAX = 5
TIMINGS = {
    pb.PriceChangeGroup.AT_ONCE: "at once",
    pb.PriceChangeGroup.AFTER_NOTICE: "after their notice",
    pb.PriceChangeGroup.AFTER_LOCK: "after their lock",
    pb.PriceChangeGroup.UP_TO_CAP: "up to their cap",
    pb.PriceChangeGroup.NEVER: "never",
}


def register(prices: typer.Typer) -> None:
    """Add `recurring prices preview-change`."""
    command(prices, "preview-change")(preview_change)


async def preview_change(
    session: Session,
    price: Annotated[
        str,
        typer.Argument(
            metavar="PRODUCT[/PRICE]",
            help="Ids or resource name: a price that is scheduled, or a product and an AMOUNT.",
        ),
    ],
    options: PriceOptions,
    unit_price: Annotated[
        money_pb2.Money | None,
        typer.Argument(metavar="[AMOUNT]", parser=parse_money, help='For example "12.50 EUR".'),
    ] = None,
    start: Annotated[
        date_pb2.Date | None,
        typer.Option(
            "--start",
            parser=parse_date,
            metavar="DATE",
            help="The first day of the revenue. Default: when the price takes effect.",
        ),
    ] = None,
    end: Annotated[
        date_pb2.Date | None,
        typer.Option(
            "--to", parser=parse_date, metavar="DATE", help="The last day. Default: 30 days later."
        ),
    ] = None,
) -> None:
    """Show whom a price would touch, from when on, and what it brings. Nothing is stored."""
    request = pb.PreviewPriceChangeRequest(start_date=start, end_date=end)
    if unit_price is None:
        request.price = session.name(PRICE, price)
    else:
        draft = options.price_of(unit_price)
        product = session.name(PRODUCT, price)
        request.draft.CopyFrom(catalog_pb2.DraftPrice(product=product, price=draft))
    response = await session.scheduler.PreviewPriceChange(request, timeout=FORECAST_TIMEOUT_SECONDS)
    _show(session, response)


def _show(session: Session, response: pb.PreviewPriceChangeResponse) -> None:
    if session.output.as_json:
        session.output.data(MessageToDict(response))
        return
    rows = [
        [
            TIMINGS[group.timing],
            str(group.customer_count),
            str(group.standing_order_count),
            _first_cycles(group),
            str(group.cycle_count),
            format_money(group.previous_gross_revenue),
            format_money(group.gross_revenue),
        ]
        for group in response.groups
    ]
    rows.append(
        [
            "who pays another amount",
            str(response.customer_count),
            str(response.standing_order_count),
            "",
            str(response.cycle_count),
            format_money(response.previous_gross_revenue),
            format_money(response.gross_revenue),
        ]
    )
    headers = ["new amount", "customers", "standing orders", "first cycles", "cycles"]
    headers += ["would pay", "will pay"]
    session.output.rows(headers, rows if response.groups else [], "no standing order has it")


def _first_cycles(group: pb.PriceChangeGroup) -> str:
    """When the first cycles with another amount are, the first of them."""
    shown = [
        f"{format_date(it.date)}: {it.standing_order_count}"
        for it in group.first_cycles[:FIRST_CYCLES_SHOWN_MAX]
    ]
    left_out = len(group.first_cycles) - len(shown)
    return "\n".join([*shown, *([f"and {left_out} more dates"] if left_out else [])])
