"""The events of notify and payments that the scheduler reads, and what each means for an order."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from recurring.notify.v1 import events_pb2 as notify_events_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import events_pb2 as payments_events_pb2
from recurring.payments.v1 import payments_pb2

from services.runtime.db.pool import Connection
from services.runtime.messaging.events import Event, Subscription, Subscriptions
from services.runtime.rpc.conversions import from_timestamp
from services.runtime.workers.clock import Clock
from services.scheduler.application.order_updates import (
    OrderUpdate,
    apply_updates,
    awaits_notice,
    awaits_payment,
)
from services.scheduler.domain.order import PAYMENT_METHOD_BLOCKED, Order, OrderReason, Stage
from services.scheduler.domain.order_lifecycle import (
    cancelled,
    held,
    notice_delivered,
    paid,
    payment_declined,
    unpaid,
)
from services.scheduler.names import parse_order

Events = Sequence[Event[Any]]
# What an event makes of the order that it is about.
Change = Callable[[Event[Any], Order], Order]

_ABANDONED = {
    "DECLINED": OrderReason.PAYMENT_DECLINED,
    "REQUEST_EXPIRED": OrderReason.PAYMENT_REQUEST_EXPIRED,
    "NOT_MADE": OrderReason.PAYMENT_NOT_MADE,
}


async def on_notice_delivered(tx: Connection, events: Events) -> None:
    """The customer has heard what an order will cost: it can be collected from when was promised."""
    await apply_updates(tx, _notice_updates(events, _notice_delivered))


def _notice_delivered(event: Event[notify_events_pb2.NoticeDelivered], order: Order) -> Order:
    message = event.message
    delivered = from_timestamp(message.deliver_time)
    not_before = from_timestamp(message.charge_promise.charge_not_before_time)
    return notice_delivered(order, message.notice, delivered, not_before, event.occur_time)


async def on_notice_failed(tx: Connection, events: Events) -> None:
    """The customer could not be told: nothing is charged, and it is tried again later."""
    await apply_updates(tx, _notice_updates(events, _notice_failed))


def _notice_failed(event: Event[notify_events_pb2.NoticeFailed], order: Order) -> Order:
    return held(order, (OrderReason.NOTICE_UNDELIVERABLE,), Stage.PREPARE, event.occur_time)


async def on_payment_succeeded(tx: Connection, events: Events) -> None:
    """Paid: the order is confirmed."""
    await apply_updates(tx, _payment_updates(events, _payment_succeeded))


def _payment_succeeded(event: Event[payments_events_pb2.PaymentSucceeded], order: Order) -> Order:
    message = event.message
    data = {"charge": message.ref.charge, "attempts": message.attempt_count}
    return paid(order, from_timestamp(message.pay_time), data, event.occur_time)


async def on_payment_declined(tx: Connection, events: Events) -> None:
    """An attempt was declined: noted, since payments goes on trying."""
    await apply_updates(tx, _payment_updates(events, _payment_declined))


def _payment_declined(event: Event[payments_events_pb2.PaymentDeclined], order: Order) -> Order:
    message = event.message
    data = {"attempt": message.attempt, "decline_code": message.decline_code}
    return payment_declined(order, data, event.occur_time)


async def on_payment_refused(tx: Connection, events: Events) -> None:
    """The guard did not allow the charge: the order lapses."""
    await apply_updates(tx, _payment_updates(events, _payment_refused))


def _payment_refused(event: Event[payments_events_pb2.PaymentRefused], order: Order) -> Order:
    reasons = [payments_pb2.RefusalReason.Name(reason) for reason in event.message.reasons]
    data = {"guard": reasons, PAYMENT_METHOD_BLOCKED: reasons == [PAYMENT_METHOD_BLOCKED.upper()]}
    return unpaid(order, OrderReason.PAYMENT_REFUSED, data, event.occur_time)


async def on_payment_abandoned(tx: Connection, events: Events) -> None:
    """There will be no payment: the order lapses, or is cancelled as was asked."""
    await apply_updates(tx, _payment_updates(events, _payment_abandoned))


def _payment_abandoned(event: Event[payments_events_pb2.PaymentAbandoned], order: Order) -> Order:
    message = event.message
    reason = message.Reason.Name(message.reason)
    if reason == "WITHDRAWN":
        return cancelled(order, OrderReason.STANDING_ORDER_CANCELLED, event.occur_time)
    data = {
        "decline_code": message.decline_code,
        PAYMENT_METHOD_BLOCKED: message.payment_method_blocked,
    }
    return unpaid(order, _ABANDONED[reason], data, event.occur_time)


def _notice_updates(events: Events, change: Change) -> list[OrderUpdate]:
    """Updates of the orders whose announcements the events are about."""
    return [
        OrderUpdate(
            parse_order(event.message.subject_resource),
            event.occur_time,
            event.traceparent,
            partial(awaits_notice, notice=event.message.notice),
            partial(change, event),
        )
        for event in events
        if event.message.kind == notify_pb2.ORDER_UPCOMING
    ]


def _payment_updates(events: Events, change: Change) -> list[OrderUpdate]:
    """Updates of the orders whose payments the events are about."""
    return [
        OrderUpdate(
            parse_order(event.message.ref.order),
            event.occur_time,
            event.traceparent,
            awaits_payment,
            partial(change, event),
        )
        for event in events
    ]


def subscriptions(_clock: Clock) -> Subscriptions:
    """Whose events the scheduler reads, and what it does with them."""
    return {
        "NOTIFY": (
            Subscription(notify_events_pb2.NoticeDelivered, on_notice_delivered),
            Subscription(notify_events_pb2.NoticeFailed, on_notice_failed),
        ),
        "PAYMENTS": (
            Subscription(payments_events_pb2.PaymentSucceeded, on_payment_succeeded),
            Subscription(payments_events_pb2.PaymentDeclined, on_payment_declined),
            Subscription(payments_events_pb2.PaymentRefused, on_payment_refused),
            Subscription(payments_events_pb2.PaymentAbandoned, on_payment_abandoned),
        ),
    }
