"""The stock of products, and what is held of it for orders."""

from typing import Annotated

import typer
from google.type import date_pb2
from recurring.catalog.v1 import catalog_pb2 as pb
from recurring.scheduler.v1 import scheduler_pb2

from cli.capacity import capacity
from cli.command import command, group
from cli.connect import Session, new_request_id
from cli.forecast import FORECAST_TIMEOUT_SECONDS
from cli.names import ORDER, PRODUCT, last_id, short_name
from cli.output import Columns
from cli.products import ProductArgument
from cli.values import format_date, format_timestamp, parse_date

stock = group("Show and adjust the stock of products, and what is held of it.")

stock.add_typer(capacity, name="capacity")

OrderArgument = Annotated[
    str, typer.Argument(metavar="STANDING_ORDER/CYCLE", help="Ids or resource name of an order.")
]

STOCK_COLUMNS: Columns[pb.Stock] = {
    "product": lambda it: last_id(it.product),
    "on hand": lambda it: str(it.on_hand_units),
    "held": lambda it: str(it.held_units),
    "available": lambda it: str(it.available_units),
    "committed": lambda it: str(it.committed_units),
}
COVERAGE_COLUMNS: Columns[scheduler_pb2.StockCoverage] = {
    "product": lambda it: last_id(it.product),
    "title": lambda it: it.title,
    "available": lambda it: str(it.available_units),
    "expected": lambda it: str(it.expected_units),
    "wanted": lambda it: str(it.demand_units),
    "short": lambda it: str(it.short_units or ""),
    "cycles short": lambda it: str(it.short_cycle_count or ""),
    "from": lambda it: format_date(it.first_short_date),
    "first": lambda it: ", ".join(short_name(cycle.order) for cycle in it.short_cycles[:3]),
}
HOLD_COLUMNS: Columns[pb.StockHold] = {
    "order": lambda it: short_name(it.order),
    "state": lambda it: pb.StockHold.State.Name(it.state) if it.state else "",
    "items": lambda it: ", ".join(
        f"{item.quantity} x {last_id(item.product)}" for item in it.items
    ),
    "until": lambda it: format_timestamp(it.expire_time),
    "due": lambda it: format_timestamp(it.due_time),
    "slots": lambda it: ", ".join(
        f"{item.quantity} x {last_id(item.product)}" for item in it.booking.items
    ),
    "slots on": lambda it: format_date(it.booking.date),
    "slots are": lambda it: pb.StockHold.State.Name(it.booking.state) if it.booking.state else "",
}


@command(stock, "get")
async def get_stock(session: Session, product: ProductArgument) -> None:
    """Show the stock of a product."""
    request = pb.GetStockRequest(product=session.name(PRODUCT, product))
    session.output.one(await session.catalog.GetStock(request), STOCK_COLUMNS)


@command(stock, "adjust")
async def adjust_stock(
    session: Session,
    product: ProductArgument,
    by: Annotated[int, typer.Option(help="Units to add; a negative number removes units.")],
) -> None:
    """Add units to the stock, or remove some."""
    request = pb.AdjustStockRequest(
        product=session.name(PRODUCT, product), delta_units=by, request_id=new_request_id()
    )
    session.output.one(await session.catalog.AdjustStock(request), STOCK_COLUMNS)


@command(stock, "coverage")
async def show_coverage(
    session: Session,
    end: Annotated[
        date_pb2.Date | None,
        typer.Option(
            "--to", parser=parse_date, metavar="DATE", help="The last day. Default: in 30 days."
        ),
    ] = None,
) -> None:
    """Show which products run short for the coming cycles, and when."""
    request = scheduler_pb2.GetStockCoverageRequest(parent=session.parent, end_date=end)
    response = await session.scheduler.GetStockCoverage(request, timeout=FORECAST_TIMEOUT_SECONDS)
    session.output.many(response.coverages, COVERAGE_COLUMNS, "no counted product is wanted")


@command(stock, "hold")
async def get_hold(session: Session, order: OrderArgument) -> None:
    """Show what is held of the stock for an order."""
    request = pb.GetStockHoldRequest(order=session.name(ORDER, order))
    session.output.one(await session.catalog.GetStockHold(request), HOLD_COLUMNS)


@command(stock, "release")
async def release_hold(session: Session, order: OrderArgument) -> None:
    """Make the units available that are held for an order which nobody will settle."""
    request = pb.ReleaseStockHoldRequest(
        order=session.name(ORDER, order), request_id=new_request_id()
    )
    session.output.one(await session.catalog.ReleaseStockHold(request), HOLD_COLUMNS)
