"""What customers buy elsewhere, and how a merchant's standing orders behave."""

from datetime import datetime
from typing import Annotated

import typer
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.command import command, group, one_of
from cli.connect import Session, new_request_id
from cli.names import CUSTOMER, PRODUCT, last_id
from cli.output import Columns
from cli.values import parse_moment, to_timestamp

purchases = group("What customers buy elsewhere, once.")
settings = group("How the merchant's standing orders behave.")

RECORDED_COLUMNS: Columns[pb.RecordPurchaseResponse] = {
    "counts for": lambda it: ", ".join(map(last_id, it.standing_orders)) or "no standing order",
}
SETTINGS_COLUMNS: Columns[pb.SchedulerSettings] = {
    "while an order is unpaid": lambda it: pb.SchedulerSettings.UnpaidPolicy.Name(it.unpaid_policy),
}


@command(purchases, "record")
async def record_purchase(
    session: Session,
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="Their id or name.")],
    products: Annotated[list[str], typer.Argument(metavar="PRODUCT...", help="Ids or names.")],
    at: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="When; default: now."),
    ] = None,
) -> None:
    """Report that a customer bought products elsewhere; shows the standing orders that count it."""
    request = pb.RecordPurchaseRequest(
        customer=session.name(CUSTOMER, customer),
        products=[session.name(PRODUCT, product) for product in products],
        purchase_time=to_timestamp(at),
        request_id=new_request_id(),
    )
    session.output.one(await session.scheduler.RecordPurchase(request), RECORDED_COLUMNS)


@command(settings, "get")
async def get_settings(session: Session) -> None:
    """Show the merchant's settings."""
    request = pb.GetSchedulerSettingsRequest(name=f"{session.parent}/schedulerSettings")
    session.output.one(await session.scheduler.GetSchedulerSettings(request), SETTINGS_COLUMNS)


@command(settings, "set")
async def set_settings(
    session: Session,
    unpaid: Annotated[
        pb.SchedulerSettings.UnpaidPolicy.ValueType, one_of(pb.SchedulerSettings.UnpaidPolicy)
    ],
) -> None:
    """Say what the next cycle does while an order is unpaid: go on, wait, or be paused."""
    request = pb.UpdateSchedulerSettingsRequest(
        scheduler_settings=pb.SchedulerSettings(
            name=f"{session.parent}/schedulerSettings", unpaid_policy=unpaid
        ),
        request_id=new_request_id(),
    )
    session.output.one(await session.scheduler.UpdateSchedulerSettings(request), SETTINGS_COLUMNS)
