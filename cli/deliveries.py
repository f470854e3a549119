"""Deliveries of suppliers: expected, received, cancelled."""

from typing import Annotated

import typer
from google.type import date_pb2
from recurring.catalog.v1 import catalog_pb2 as pb

from cli.command import command, group
from cli.connect import Session, all_pages, new_request_id
from cli.names import DELIVERY, PRODUCT, short_name
from cli.output import Columns
from cli.products import ProductArgument
from cli.values import format_date, format_timestamp, parse_date

deliveries = group("Manage the deliveries that suppliers have promised.")

DeliveryArgument = Annotated[
    str, typer.Argument(metavar="PRODUCT/DELIVERY", help="Ids or resource name.")
]

DELIVERY_COLUMNS: Columns[pb.Delivery] = {
    "delivery": lambda it: short_name(it.name),
    "units": lambda it: str(it.units),
    "expected": lambda it: format_date(it.expected_date),
    "state": lambda it: pb.Delivery.State.Name(it.state),
    "received": lambda it: str(it.received_units or ""),
    "created": lambda it: format_timestamp(it.create_time),
}


@command(deliveries, "expect")
async def expect_delivery(
    session: Session,
    product: ProductArgument,
    units: Annotated[int, typer.Option(help="How many units will come.")],
    on: Annotated[
        date_pb2.Date,
        typer.Option(parser=parse_date, metavar="DATE", help="From when orders can count on them."),
    ],
    delivery: Annotated[
        str, typer.Option("--id", help="The id of the delivery. Default: generated.")
    ] = "",
) -> None:
    """Remember a delivery that a supplier has promised."""
    request_id = new_request_id()
    request = pb.CreateDeliveryRequest(
        parent=session.name(PRODUCT, product),
        delivery_id=delivery or f"d-{request_id[:8]}",
        delivery=pb.Delivery(units=units, expected_date=on),
        request_id=request_id,
    )
    session.output.one(await session.catalog.CreateDelivery(request), DELIVERY_COLUMNS)


@command(deliveries, "list")
async def list_deliveries(session: Session, product: ProductArgument) -> None:
    """List the deliveries of a product."""
    request = pb.ListDeliveriesRequest(parent=session.name(PRODUCT, product))
    listed = await all_pages(session.catalog.ListDeliveries, request, "deliveries")
    session.output.many(listed, DELIVERY_COLUMNS, "no deliveries")


@command(deliveries, "receive")
async def receive_delivery(
    session: Session,
    delivery: DeliveryArgument,
    units: Annotated[
        int | None, typer.Option(help="How many units came. Default: as many as were expected.")
    ] = None,
) -> None:
    """Count a delivery that arrived among the units on hand."""
    request = pb.ReceiveDeliveryRequest(
        name=session.name(DELIVERY, delivery), received_units=units, request_id=new_request_id()
    )
    session.output.one(await session.catalog.ReceiveDelivery(request), DELIVERY_COLUMNS)


@command(deliveries, "cancel")
async def cancel_delivery(session: Session, delivery: DeliveryArgument) -> None:
    """Take back a delivery that will not come."""
    request = pb.CancelDeliveryRequest(
        name=session.name(DELIVERY, delivery), request_id=new_request_id()
    )
    session.output.one(await session.catalog.CancelDelivery(request), DELIVERY_COLUMNS)
