"""Customers as a whole: what each service knows of them, erased."""

from typing import Annotated

import typer
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from cli.command import command, group
from cli.connect import Session, new_request_id
from cli.contacts import CustomerArgument
from cli.names import CUSTOMER
from cli.output import Columns
from cli.values import format_timestamp

customers = group("Say who customers are on documents, and erase them.")

BILLING_COLUMNS: Columns[payments_pb2.BillingDetails] = {
    "customer": lambda it: "".join(it.name.split("/")[3:4]),
    "name": lambda it: it.display_name,
    "address": lambda it: ", ".join(it.address_lines),
    "country": lambda it: it.region_code,
    "tax number": lambda it: it.tax_id,
}


@command(customers, "billing")
async def billing(
    session: Session,
    customer: CustomerArgument,
    name: Annotated[str, typer.Option(help="The buyer's name.")] = "",
    address: Annotated[
        list[str] | None, typer.Option(metavar="LINE", help="A line of the address; repeatable.")
    ] = None,
    country: Annotated[str, typer.Option(metavar="CODE", help="Such as DE.")] = "",
    tax_id: Annotated[str, typer.Option(help="The buyer's tax number.")] = "",
) -> None:
    """Show who buys, as documents say it, or change what is named."""
    resource = f"{session.name(CUSTOMER, customer)}/billingDetails"
    request = payments_pb2.GetBillingDetailsRequest(name=resource)
    details = await session.payments.GetBillingDetails(request)
    before = details.SerializeToString(deterministic=True)
    details.display_name = name or details.display_name
    details.address_lines[:] = address or details.address_lines
    details.region_code = country or details.region_code
    details.tax_id = tax_id or details.tax_id
    if details.SerializeToString(deterministic=True) != before:
        change = payments_pb2.UpdateBillingDetailsRequest(
            billing_details=details, request_id=new_request_id()
        )
        details = await session.payments.UpdateBillingDetails(change)
    session.output.one(details, BILLING_COLUMNS)


@command(customers, "erase")
async def erase(session: Session, customer: CustomerArgument) -> None:
    """Erase the personal data of a customer who has no active or paused standing order."""
    name = session.name(CUSTOMER, customer)
    # The scheduler first: it alone knows whether the others are still needed.
    await session.scheduler.EraseCustomer(
        scheduler_pb2.EraseCustomerRequest(name=name, request_id=new_request_id())
    )
    paid = await session.payments.EraseCustomer(
        payments_pb2.EraseCustomerRequest(name=name, request_id=new_request_id())
    )
    await session.notify.EraseCustomer(
        notify_pb2.EraseCustomerRequest(name=name, request_id=new_request_id())
    )
    session.output.say("erased")
    if paid.HasField("evidence_until_time"):
        until = format_timestamp(paid.evidence_until_time)
        session.output.say(
            f"evidence of consent to charges is kept until {until}; erase again then"
        )
    if paid.HasField("documents_until_time"):
        until = format_timestamp(paid.documents_until_time)
        session.output.say(f"documents name the buyer until {until}; erase again then")
