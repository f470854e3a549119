"""What the scheduler does when notices arrive and payments end."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from recurring.notify.v1 import events_pb2 as notify_events_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import events_pb2 as payments_events_pb2
from recurring.payments.v1 import payments_pb2
from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime.messaging.events import Event, Subscription, Subscriptions
from services.runtime.observability import tracing
from services.runtime.rpc.conversions import from_timestamp
from services.runtime.workers.clock import Clock
from services.scheduler.application import settlement
from services.scheduler.domain.order import (
    Decision,
    Order,
    OrderKey,
    OrderReason,
    OrderState,
    Stage,
    in_words,
)
from services.scheduler.domain.order_lifecycle import cancelled, held
from services.scheduler.names import parse_order
from services.scheduler.publishers import PAYMENT_METHOD_BLOCKED, announcement_id
from services.scheduler.store import orders as order_rows

# From an order and the news about it, the order as it is now; None: the news changes nothing.
Change = Callable[[Order, Any, Event[Any]], Order | None]


async def _apply(
    tx: AsyncConnection,
    news: Mapping[OrderKey, Sequence[Event[Any]]],
    change: Change,
) -> None:
    """Change the orders that news is about, as a set, and tell what came of it."""
    known = await order_rows.by_key(
        tx, sorted(news, key=lambda key: (key.standing_order, key.cycle))
    )
    by_state: dict[OrderState, list[Order]] = {}
    for key, order in known.items():
        changed = order
        for event in news[key]:
            changed = _changed(changed, change, event)
        if changed is not order:
            by_state.setdefault(order.state, []).append(changed)
    times = {key: max(event.occur_time for event in events) for key, events in news.items()}
    moved: list[Order] = []
    for state, orders in by_state.items():
        now = max(times[order.key] for order in orders)
        stored = await order_rows.update(tx, orders, state, now)
        moved += [order for order in stored if order.state is not state]
    await settlement.settle(tx, moved, times)


def _changed(order: Order, change: Change, event: Event[Any]) -> Order:
    """The order after one piece of news, with what was decided before; itself if nothing changes."""
    changed = change(order, event.message, event)
    if changed is None:
        return order
    parent = tracing.continued(f"scheduler {changed.state}", event.traceparent)
    return replace(
        changed,
        traceparent=parent or order.traceparent,
        decisions=order.decisions + changed.decisions,
    )


def _by_order(
    events: Iterable[Event[Any]], name: Callable[[Any], str]
) -> dict[OrderKey, list[Event[Any]]]:
    news: dict[OrderKey, list[Event[Any]]] = {}
    for event in events:
        news.setdefault(parse_order(name(event.message)), []).append(event)
    return news


async def on_notice_delivered(tx: AsyncConnection, events: Sequence[Event[Any]]) -> None:
    """The customer has heard what an order will cost: it can be collected from when was promised."""
    announced = [e for e in events if e.message.kind == notify_pb2.ORDER_UPCOMING]
    await _apply(tx, _by_order(announced, lambda m: m.subject_resource), _notice_delivered)


def _awaits(order: Order, notice: str) -> bool:
    """Whether an order waits for its notice and this is that of its present announcement."""
    waits = order.state is OrderState.UPCOMING and order.collect_time is None
    return waits and notice.rpartition("/")[2] == announcement_id(order)


def _notice_delivered(order: Order, message: Any, event: Event[Any]) -> Order | None:  # noqa: ANN401
    if not _awaits(order, message.notice):
        return None
    not_before = from_timestamp(message.charge_promise.charge_not_before_time)
    delivered = from_timestamp(message.deliver_time)
    return replace(
        order,
        notice_time=delivered,
        charge_not_before_time=not_before,
        collect_time=max(not_before, order.due_time),
        decisions=(
            Decision(
                event.occur_time,
                "NOTICE_DELIVERED",
                "The customer was told; no charge before the promised time.",
                {"notice": message.notice, "charge_not_before": not_before.isoformat()},
            ),
        ),
    )


async def on_notice_failed(tx: AsyncConnection, events: Sequence[Event[Any]]) -> None:
    """The customer could not be told: nothing is charged, and it is tried again later."""
    announced = [e for e in events if e.message.kind == notify_pb2.ORDER_UPCOMING]
    await _apply(tx, _by_order(announced, lambda m: m.subject_resource), _notice_failed)


def _notice_failed(order: Order, message: Any, event: Event[Any]) -> Order | None:  # noqa: ANN401
    if not _awaits(order, message.notice):
        return None
    return held(order, (OrderReason.NOTICE_UNDELIVERABLE,), Stage.PREPARE, event.occur_time)


async def on_payment_succeeded(tx: AsyncConnection, events: Sequence[Event[Any]]) -> None:
    """Paid: the order is confirmed."""
    await _apply(tx, _by_order(events, lambda m: m.ref.order), _payment_succeeded)


def _payment_succeeded(order: Order, message: Any, event: Event[Any]) -> Order | None:  # noqa: ANN401
    if order.state is not OrderState.AWAITING_PAYMENT:
        return None
    data = {"charge": message.ref.charge, "attempts": message.attempt_count}
    return replace(
        order,
        state=OrderState.PAID,
        pay_time=from_timestamp(message.pay_time),
        decisions=(Decision(event.occur_time, "PAID", "The payment succeeded.", data),),
    )


async def on_payment_declined(tx: AsyncConnection, events: Sequence[Event[Any]]) -> None:
    """An attempt was declined: noted, since payments goes on trying."""
    await _apply(tx, _by_order(events, lambda m: m.ref.order), _payment_declined)


def _payment_declined(order: Order, message: Any, event: Event[Any]) -> Order | None:  # noqa: ANN401
    if order.state is not OrderState.AWAITING_PAYMENT:
        return None
    data = {"attempt": message.attempt, "decline_code": message.decline_code}
    decision = Decision(event.occur_time, "PAYMENT_DECLINED", "An attempt was declined.", data)
    return replace(order, decisions=(decision,))


async def on_payment_refused(tx: AsyncConnection, events: Sequence[Event[Any]]) -> None:
    """The guard did not allow the charge: the order lapses."""
    await _apply(tx, _by_order(events, lambda m: m.ref.order), _payment_refused)


def _payment_refused(order: Order, message: Any, event: Event[Any]) -> Order | None:  # noqa: ANN401
    if order.state is not OrderState.AWAITING_PAYMENT:
        return None
    reasons = [payments_pb2.RefusalReason.Name(reason) for reason in message.reasons]
    data = {"guard": reasons, PAYMENT_METHOD_BLOCKED: reasons == [PAYMENT_METHOD_BLOCKED.upper()]}
    return _lapsed(order, OrderReason.PAYMENT_REFUSED, event.occur_time, data)


async def on_payment_abandoned(tx: AsyncConnection, events: Sequence[Event[Any]]) -> None:
    """There will be no payment: the order lapses, or is cancelled as was asked."""
    await _apply(tx, _by_order(events, lambda m: m.ref.order), _payment_abandoned)


def _payment_abandoned(order: Order, message: Any, event: Event[Any]) -> Order | None:  # noqa: ANN401
    if order.state is not OrderState.AWAITING_PAYMENT:
        return None
    reason = message.Reason.Name(message.reason)
    if reason == "WITHDRAWN":
        return cancelled(order, OrderReason.STANDING_ORDER_CANCELLED, event.occur_time)
    lapse = {
        "DECLINED": OrderReason.PAYMENT_DECLINED,
        "REQUEST_EXPIRED": OrderReason.PAYMENT_REQUEST_EXPIRED,
        "NOT_MADE": OrderReason.PAYMENT_NOT_MADE,
    }[reason]
    data = {
        "decline_code": message.decline_code,
        PAYMENT_METHOD_BLOCKED: message.payment_method_blocked,
    }
    return _lapsed(order, lapse, event.occur_time, data)


def _lapsed(order: Order, reason: OrderReason, now: datetime, data: Mapping[str, Any]) -> Order:
    summary = f"The order ended without payment: {in_words((reason,))}{_details(data)}."
    decision = Decision(now, "LAPSED", summary, {"reasons": [str(reason)], **data})
    return replace(order, state=OrderState.LAPSED, reasons=(reason,), decisions=(decision,))


def _details(data: Mapping[str, Any]) -> str:
    """What the guard or the provider had against it, in words; empty where they said nothing."""
    codes = [*data.get("guard", ()), *filter(None, (data.get("decline_code"),))]
    return f" ({', '.join(code.lower().replace('_', ' ') for code in codes)})" if codes else ""


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
