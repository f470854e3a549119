"""Orders: what became of cycles and why, and the customer's confirmation where one waits for it."""

from collections.abc import Sequence
from datetime import datetime

import grpc
from google.protobuf.json_format import MessageToDict
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2

from services.runtime.db.pool import Connection, Database
from services.runtime.errors import not_found, wrong_state
from services.runtime.mutations import Applied, Apply
from services.runtime.rpc.conversions import from_timestamp
from services.scheduler.application import collection
from services.scheduler.application.evaluation.context import Context
from services.scheduler.clients import Clients, is_transient
from services.scheduler.domain.explanation import in_causal_order
from services.scheduler.domain.ids import OrderKey
from services.scheduler.domain.order import Decision, Order, OrderState, awaits_confirmation
from services.scheduler.domain.order_lifecycle import confirmed
from services.scheduler.names import customer_name, order_name
from services.scheduler.store import orders, standing_orders
from services.scheduler.store.order_rows import OrderRow, order_of

EXPLAIN_MAX_NOTICES = 1000


async def existing(connection: Connection, key: OrderKey) -> OrderRow:
    """The row of an order. Raises NOT_FOUND ORDER_NOT_FOUND."""
    row = await orders.get(connection, key)
    if row is None:
        raise not_found("ORDER_NOT_FOUND", order_name(key))
    return row


# --- the customer's confirmation -------------------------------------------------------------------


async def confirm(
    database: Database, clients: Clients, key: OrderKey, now: datetime
) -> Apply[OrderRow]:
    """Let an order go on that is HELD to ask the customer, and show what became of it.

    Raises NOT_FOUND ORDER_NOT_FOUND, FAILED_PRECONDITION ORDER_STATE.
    """
    async with database.read() as connection:
        row = await orders.get(connection, key)
        known = order_of(row) if row else None
        by_key = await standing_orders.by_key(connection, [key.standing_order_key])
    context = Context(database, clients, by_key, now)
    decided = await _decide(context, _agreed(known, key, now))

    async def apply(tx: Connection) -> Applied[OrderRow]:
        order = (await orders.by_key(tx, [key])).get(key)
        agreed = _agreed(order, key, now)
        before = await existing(tx, key)
        # A worker that holds the order finds it changed; the order is free to be checked again.
        await orders.update(tx, [agreed], OrderState.HELD, now)
        # Where it changed meanwhile, it is checked again by itself.
        if order == known:
            of_agreed = [order._replace(version=agreed.version + 1) for order in decided]
            await collection.store(tx, context, of_agreed, OrderState.HELD)
        return Applied(await existing(tx, key), before)

    return apply


def _agreed(order: Order | None, key: OrderKey, now: datetime) -> Order:
    """An order that the customer confirmed; raises why it does not wait for that."""
    if order is None:
        raise not_found("ORDER_NOT_FOUND", order_name(key))
    if not awaits_confirmation(order):
        raise wrong_state("ORDER_STATE", f"{order_name(key)} is not HELD to ask the customer")
    return confirmed(order, now)


async def _decide(context: Context, agreed: Order) -> list[Order]:
    """What becomes of an order now; nothing yet while another service is away."""
    try:
        return await collection.decide(context, [agreed._replace(decisions=())])
    except grpc.aio.AioRpcError as error:
        if not is_transient(error):
            raise
        return []


# --- why it became what it is ----------------------------------------------------------------------


async def explain(
    database: Database, clients: Clients, key: OrderKey
) -> tuple[OrderRow, Sequence[Decision]]:
    """The row of an order and every decision about it, from what all services stored."""
    async with database.read() as connection:
        row = await existing(connection, key)
        history = await orders.history(connection, key)
    customer = customer_name(row.merchant, row.customer)
    charge = f"{customer}/charges/{key.standing_order}-{key.cycle}"
    attempts: list[Decision] = []
    try:
        attempts = charge_decisions(
            await clients.payments.GetCharge(payments_pb2.GetChargeRequest(name=charge))
        )
    except grpc.aio.AioRpcError as error:
        # An order that was never to be paid has no charge.
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
    notices = await clients.notify.ListNotices(
        notify_pb2.ListNoticesRequest(
            parent=customer, subject_resource=order_name(key), page_size=EXPLAIN_MAX_NOTICES
        )
    )
    return row, in_causal_order(history, attempts, notice_decisions(notices.notices))


def charge_decisions(charge: payments_pb2.Charge) -> list[Decision]:
    """What payments did about an order, attempt by attempt."""
    return [
        Decision(
            from_timestamp(attempt.start_time),
            "ATTEMPT",
            f"Attempt {attempt.number} at the provider: "
            f"{payments_pb2.Charge.Attempt.State.Name(attempt.state)}.",
            MessageToDict(attempt, preserving_proto_field_name=True),
        )
        for attempt in charge.attempts
    ]


_HOW_DELIVERED = {
    notify_pb2.Notice.Delivery.DELIVERED: "was delivered",
    notify_pb2.Notice.Delivery.FAILED: "failed",
    notify_pb2.Notice.Delivery.VOIDED: "was not sent",
}


def _notice_summary(notice: notify_pb2.Notice) -> str:
    """What became of a notice on each of its channels."""
    kind = notify_pb2.NoticeKind.Name(notice.kind)
    if not notice.deliveries:
        return f"{kind} was not sent: the customer does not want it."
    return f"{kind} {', '.join(_delivery_summary(delivery) for delivery in notice.deliveries)}."


def _delivery_summary(delivery: notify_pb2.Notice.Delivery) -> str:
    waiting = "was tried and is tried again" if delivery.attempt_count else "is to be sent"
    how = _HOW_DELIVERED.get(delivery.state, waiting)
    why = f" ({delivery.failure_code})" if delivery.failure_code else ""
    return f"by {notify_pb2.Channel.Name(delivery.channel)} {how}{why}"


def notice_decisions(notices: Sequence[notify_pb2.Notice]) -> list[Decision]:
    """The notices about an order, and how they arrived."""
    return [
        Decision(
            from_timestamp(notice.create_time),
            "NOTICE",
            _notice_summary(notice),
            MessageToDict(notice, preserving_proto_field_name=True),
        )
        for notice in notices
    ]
