"""Customers as a whole: what each service knows of them, erased."""

from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from cli.command import command, group
from cli.connect import Session, new_request_id
from cli.contacts import CustomerArgument
from cli.names import CUSTOMER
from cli.values import format_timestamp

customers = group("Erase customers.")


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
