"""The events of notify and payments that the scheduler consumes, and what each makes of an order."""

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


def _notice_delivered(event: Event[notify_events_pb2.NoticeDelivered], order: Order) -> Order:
    """The customer knows what an order will cost: it can be collected from when was promised."""
    message = event.message
    delivered = from_timestamp(message.deliver_time)
    not_before = from_timestamp(message.charge_promise.charge_not_before_time)
    return notice_delivered(order, message.notice, delivered, not_before, event.occur_time)


def _notice_failed(event: Event[notify_events_pb2.NoticeFailed], order: Order) -> Order:
    """The notice could not be delivered: nothing is charged, and it is tried again later."""
    return held(order, (OrderReason.NOTICE_UNDELIVERABLE,), Stage.PREPARE, event.occur_time)


def _payment_succeeded(event: Event[payments_events_pb2.PaymentSucceeded], order: Order) -> Order:
    message = event.message
    data = {"charge": message.ref.charge, "attempts": message.attempt_count}
    return paid(order, from_timestamp(message.pay_time), data, event.occur_time)


def _payment_declined(event: Event[payments_events_pb2.PaymentDeclined], order: Order) -> Order:
    """An attempt was declined: noted, since payments goes on trying."""
    message = event.message
    data = {"attempt": message.attempt, "decline_code": message.decline_code}
    return payment_declined(order, data, event.occur_time)


def _payment_refused(event: Event[payments_events_pb2.PaymentRefused], order: Order) -> Order:
    """The guard did not allow the charge: the order lapses."""
    reasons = [payments_pb2.RefusalReason.Name(reason) for reason in event.message.reasons]
    data = {"guard": reasons, PAYMENT_METHOD_BLOCKED: reasons == [PAYMENT_METHOD_BLOCKED.upper()]}
    return unpaid(order, OrderReason.PAYMENT_REFUSED, data, event.occur_time)


def _payment_abandoned(event: Event[payments_events_pb2.PaymentAbandoned], order: Order) -> Order:
    """There will be no payment: the order lapses, or is cancelled as was asked."""
    message = event.message
    reason = message.Reason.Name(message.reason)
    if reason == "WITHDRAWN":
        return cancelled(order, OrderReason.STANDING_ORDER_CANCELLED, event.occur_time)
    data = {
        "decline_code": message.decline_code,
        PAYMENT_METHOD_BLOCKED: message.payment_method_blocked,
    }
    return unpaid(order, _ABANDONED[reason], data, event.occur_time)


async def _on_notices(change: Change, tx: Connection, events: Events) -> None:
    """Change the orders whose announcements the events are about."""
    updates = [
        OrderUpdate(
            parse_order(event.message.subject_resource),
            event,
            partial(awaits_notice, notice=event.message.notice),
            change,
        )
        for event in events
        if event.message.kind == notify_pb2.ORDER_UPCOMING
    ]
    await apply_updates(tx, updates)


async def _on_payments(change: Change, tx: Connection, events: Events) -> None:
    """Change the orders whose payments the events are about."""
    updates = [
        OrderUpdate(parse_order(event.message.ref.order), event, awaits_payment, change)
        for event in events
    ]
    await apply_updates(tx, updates)


def subscriptions(_clock: Clock) -> Subscriptions:
    """Whose events the scheduler consumes, and what each makes of its order."""
    notify, payments = notify_events_pb2, payments_events_pb2
    return {
        "NOTIFY": (
            Subscription(notify.NoticeDelivered, partial(_on_notices, _notice_delivered)),
            Subscription(notify.NoticeFailed, partial(_on_notices, _notice_failed)),
        ),
        "PAYMENTS": (
            Subscription(payments.PaymentSucceeded, partial(_on_payments, _payment_succeeded)),
            Subscription(payments.PaymentDeclined, partial(_on_payments, _payment_declined)),
            Subscription(payments.PaymentRefused, partial(_on_payments, _payment_refused)),
            Subscription(payments.PaymentAbandoned, partial(_on_payments, _payment_abandoned)),
        ),
    }
