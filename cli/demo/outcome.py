"""The outcome of the demo: every order, charge and message of each customer, by the contracts."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from cli.connect import Session, all_pages
from cli.demo.participants import Participant, Participants
from cli.values import from_timestamp


@dataclass(frozen=True, slots=True)
class UnansweredPayment:
    """A payment that the provider made, and whose answer never reached us."""

    id: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """One customer's half year."""

    participant: Participant
    standing_order: scheduler_pb2.StandingOrder
    orders: tuple[scheduler_pb2.Order, ...]
    charges: tuple[payments_pb2.Charge, ...]
    refunds: tuple[payments_pb2.Refund, ...]
    # The oldest first.
    disputes: tuple[payments_pb2.Dispute, ...]
    # As the sandbox's phone holds them: `created` and `body`.
    messages: tuple[dict[str, Any], ...]
    # The latest first.
    documents: tuple[payments_pb2.Document, ...]
    unanswered: tuple[UnansweredPayment, ...]

    def charge_of(self, order: scheduler_pb2.Order) -> payments_pb2.Charge | None:
        """The charge of an order, if it came to one."""
        return next((charge for charge in self.charges if charge.order == order.name), None)


async def read_outcome(
    session: Session, participants: Participants, participant: Participant, start: datetime
) -> Outcome:
    """Read the services, and the messages on the customer's phone since the start."""
    name = participants.standing_order(participant)
    orders = await all_pages(
        session.scheduler.ListOrders, scheduler_pb2.ListOrdersRequest(parent=name), "orders"
    )
    charges = await all_pages(
        session.payments.ListCharges,
        payments_pb2.ListChargesRequest(parent=participants.customer(participant)),
        "charges",
    )
    refunds = [
        refund
        for charge in charges
        for refund in await all_pages(
            session.payments.ListRefunds,
            payments_pb2.ListRefundsRequest(parent=charge.name),
            "refunds",
        )
    ]
    disputes = [
        dispute
        for charge in charges
        for dispute in await all_pages(
            session.payments.ListDisputes,
            payments_pb2.ListDisputesRequest(parent=session.parent, charge=charge.name),
            "disputes",
        )
    ]
    documents = await all_pages(
        session.payments.ListDocuments,
        payments_pb2.ListDocumentsRequest(
            parent=session.parent, customer=participants.customer(participant)
        ),
        "documents",
    )
    inbox = await session.sandbox.inbox(participants.phone(participant))
    return Outcome(
        participant=participant,
        standing_order=await session.scheduler.GetStandingOrder(
            scheduler_pb2.GetStandingOrderRequest(name=name)
        ),
        orders=tuple(orders),
        charges=tuple(charges),
        refunds=tuple(refunds),
        disputes=tuple(sorted(disputes, key=lambda dispute: from_timestamp(dispute.open_time))),
        messages=tuple(
            message for message in inbox if datetime.fromisoformat(message["created"]) >= start
        ),
        documents=tuple(documents),
        unanswered=tuple(await _unanswered(session, {charge.name for charge in charges})),
    )


async def _unanswered(session: Session, charges: set[str]) -> list[UnansweredPayment]:
    """Payments of these charges that the sandbox made and then hung up on, the oldest first."""
    requests = session.sandbox.listed(
        "/record/requests", {"part": "provider"}, cursor=("after", "seq")
    )
    dropped = {
        request["key"] async for request in requests if request["outcome"].endswith(" dropped")
    }
    intents = session.sandbox.listed(
        "/v1/payment_intents",
        {},
        cursor=("starting_after", "id"),
        api_key=session.stack.provider_api_key,
    )
    unanswered = [
        UnansweredPayment(intent["id"], datetime.fromtimestamp(intent["created"], UTC))
        async for intent in intents
        if intent["metadata"].get("charge") in charges and intent["metadata"]["attempt"] in dropped
    ]
    return sorted(unanswered, key=lambda payment: payment.time)
