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

purchases = group("Record purchases that customers make elsewhere.")
settings = group("Show and change settings of the merchant's standing orders.")

RECORDED_COLUMNS: Columns[pb.RecordPurchaseResponse] = {
    "counts for": lambda it: ", ".join(map(last_id, it.standing_orders)) or "no standing order",
}
SETTINGS_COLUMNS: Columns[pb.SchedulerSettings] = {
    "while an order is unpaid": lambda it: pb.SchedulerSettings.UnpaidPolicy.Name(it.unpaid_policy),
    "can be paid late": lambda it: f"{it.late_payment_days} days" if it.late_payment_days else "no",
    "customers act at": lambda it: it.action_page_uri or "no page",
}


@command(purchases, "record")
async def record_purchase(
    session: Session,
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="Id or resource name.")],
    products: Annotated[
        list[str], typer.Argument(metavar="PRODUCT...", help="Ids or resource names.")
    ],
    at: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_moment, metavar="TIME", help="When they were bought. Default: now."
        ),
    ] = None,
) -> None:
    """Record that a customer bought products elsewhere, which may skip the next cycle.

    Standing orders with a repurchase window count it; the command shows which.
    """
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
    session.output.one(await _settings(session), SETTINGS_COLUMNS)


@command(settings, "set")
async def set_settings(
    session: Session,
    unpaid: Annotated[
        pb.SchedulerSettings.UnpaidPolicy.ValueType,
        one_of(
            pb.SchedulerSettings.UnpaidPolicy,
            "Order it anyway, hold it, or pause or cancel the standing order.",
        ),
    ] = pb.SchedulerSettings.UNPAID_POLICY_UNSPECIFIED,
    late_payment_days: Annotated[
        int | None,
        typer.Option(
            min=0, max=60, help="For how many days a lapsed order can still be paid; 0: not at all."
        ),
    ] = None,
    action_page: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where the links of notices lead, with {token} in it; empty: no links.",
        ),
    ] = None,
) -> None:
    """Set what happens while an order is unpaid, how long it can be paid after it lapsed, and where
    customers act on notices. What is not given stays as it is.
    """
    changed = await _settings(session)
    changed.unpaid_policy = unpaid or changed.unpaid_policy
    if late_payment_days is not None:
        changed.late_payment_days = late_payment_days
    if action_page is not None:
        changed.action_page_uri = action_page
    request = pb.UpdateSchedulerSettingsRequest(
        scheduler_settings=changed, request_id=new_request_id()
    )
    session.output.one(await session.scheduler.UpdateSchedulerSettings(request), SETTINGS_COLUMNS)


async def _settings(session: Session) -> pb.SchedulerSettings:
    request = pb.GetSchedulerSettingsRequest(name=f"{session.parent}/schedulerSettings")
    found: pb.SchedulerSettings = await session.scheduler.GetSchedulerSettings(request)
    return found
