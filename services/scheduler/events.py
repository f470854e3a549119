"""What the scheduler tells, and what it does when notices arrive and payments end."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from google.protobuf import duration_pb2
from recurring.notify.v1 import events_pb2 as notify_events_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import events_pb2 as payments_events_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import events_pb2, scheduler_pb2
from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime import outbox, telemetry
from services.runtime.events import Event, Fact, Subscription
from services.runtime.wire import NamePattern, from_timestamp, to_money, to_timestamp
from services.scheduler.domain.order import (
    WITHDRAWABLE_STATES,
    Decision,
    Line,
    Order,
    OrderKey,
    OrderReason,
    OrderState,
    Stage,
    cancelled,
    held,
)
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.peers import customer_name, order_name, standing_order_name
from services.scheduler.store import orders as order_rows
from services.scheduler.store import standing_orders as standing_order_rows

ORDER = NamePattern("merchants/{merchant}/standingOrders/{standing_order}/orders/{cycle}")

# --- out -------------------------------------------------------------------------------------------


def order_facts(
    order: Order, template: StandingOrder, now: datetime, *, payment_begins: bool = False
) -> list[Fact]:
    """What there is to tell about an order that has just come into its state."""
    ref = _ref(order, template)
    reasons = [scheduler_pb2.OrderReason.Value(reason) for reason in order.reasons]
    message: Any
    suffix = ""
    match order.state:
        case OrderState.UPCOMING:
            message = _upcoming(order, template, ref)
            suffix = f"#{order.announcement_count}"
        case OrderState.AWAITING_PAYMENT if payment_begins:
            message = _payment_due(order, template, ref, now)
        case OrderState.PAID:
            message = _confirmed(order, template, ref)
        case OrderState.SKIPPED:
            message = events_pb2.OrderSkipped(ref=ref, reason=reasons[0])
        case OrderState.HELD:
            message = events_pb2.OrderHeld(ref=ref, reasons=reasons)
            # It can be held again for something else; the same reason is told once.
            suffix = f"#{order.announcement_count}:{','.join(order.reasons)}"
        case OrderState.LAPSED:
            message = events_pb2.OrderLapsed(ref=ref, reasons=reasons)
        case OrderState.CANCELLED:
            message = events_pb2.OrderCancelled(ref=ref)
        case _:
            return []
    return [_order_fact(order, message, suffix, now)]


def payment_withdrawn(order: Order, template: StandingOrder, now: datetime) -> Fact:
    """The payment of an order is not wanted any more."""
    return _order_fact(order, events_pb2.PaymentWithdrawn(ref=_ref(order, template)), "", now)


def standing_order_changed(template: StandingOrder, change: str, now: datetime) -> Fact:
    """A standing order was created, paused, resumed, cancelled or came to its end."""
    name = standing_order_name(template.merchant, template.standing_order)
    message = events_pb2.StandingOrderChanged(
        standing_order=name,
        customer=customer_name(template.merchant, template.customer),
        title=template.title,
        change=events_pb2.StandingOrderChanged.Change.Value(change),
        state=scheduler_pb2.StandingOrder.State.Value(template.state),
        time_zone=template.schedule.time_zone,
    )
    if template.next_due_time is not None:
        message.next_due_time.CopyFrom(to_timestamp(template.next_due_time))
    return Fact(
        key=f"{name}@{template.version}",
        message=message,
        tenant=template.merchant,
        partition_key=name,
        occur_time=now,
    )


def standing_order_ended(template: StandingOrder, now: datetime) -> Fact:
    """A standing order had its last cycle: its schedule's, or the customer's."""
    return standing_order_changed(template, str(template.state), now)


def line_messages(lines: Sequence[Line], currency: str) -> list[scheduler_pb2.OrderLine]:
    """Lines on the wire."""
    return [
        scheduler_pb2.OrderLine(
            product=line.product,
            title=line.title,
            quantity=line.quantity,
            unit_price=to_money(line.unit_price_minor, currency),
            amount=to_money(line.amount_minor, currency),
            price=line.price,
            list_unit_price=to_money(line.list_unit_price_minor, currency),
            basis=line.basis,
        )
        for line in lines
    ]


def _ref(order: Order, template: StandingOrder) -> events_pb2.OrderRef:
    return events_pb2.OrderRef(
        order=order_name(order.key),
        customer=customer_name(order.key.merchant, order.customer),
        title=template.title,
        billing_mode=scheduler_pb2.BillingMode.Value(template.billing_mode),
        time_zone=template.schedule.time_zone,
        due_time=to_timestamp(order.due_time),
    )


def _upcoming(
    order: Order, template: StandingOrder, ref: events_pb2.OrderRef
) -> events_pb2.OrderUpcoming:
    message = events_pb2.OrderUpcoming(
        ref=ref,
        amount=to_money(order.notified_minor or 0, order.currency),
        lines=line_messages(order.lines, order.currency),
        charge_not_before_time=to_timestamp(order.charge_not_before_time or order.due_time),
        notice_lead=duration_pb2.Duration(seconds=int(order.notice_lead.total_seconds())),
    )
    if template.last_amount_minor is not None:
        message.previous_amount.CopyFrom(
            to_money(template.last_amount_minor, template.last_currency)
        )
    return message


def _payment_due(
    order: Order, template: StandingOrder, ref: events_pb2.OrderRef, now: datetime
) -> events_pb2.PaymentDue:
    message = events_pb2.PaymentDue(
        ref=ref,
        amount=to_money(order.amount_minor or 0, order.currency),
        mandate=template.mandate,
    )
    if not template.mandate:
        message.expire_time.CopyFrom(to_timestamp(now + template.payment_window))
    return message


def _confirmed(
    order: Order, template: StandingOrder, ref: events_pb2.OrderRef
) -> events_pb2.OrderConfirmed:
    message = events_pb2.OrderConfirmed(
        ref=ref,
        amount=to_money(order.amount_minor or 0, order.currency),
        lines=line_messages(order.lines, order.currency),
        pay_time=to_timestamp(order.pay_time or order.due_time),
    )
    if template.next_due_time is not None:
        message.next_due_time.CopyFrom(to_timestamp(template.next_due_time))
    return message


def _order_fact(order: Order, message: Any, suffix: str, now: datetime) -> Fact:  # noqa: ANN401
    key = order.key
    return Fact(
        key=order_name(key) + suffix,
        message=message,
        tenant=key.merchant,
        partition_key=standing_order_name(key.merchant, key.standing_order),
        occur_time=now,
        traceparent=order.traceparent,
    )


# --- in --------------------------------------------------------------------------------------------

# From an order and the news about it, the order as it is now; None: the news changes nothing.
Change = Callable[[Order, Any, Event[Any]], Order | None]


def _order_key(name: str) -> OrderKey:
    merchant, standing_order, cycle = ORDER.parse(name)
    return OrderKey(merchant, standing_order, int(cycle))


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
    await settle(tx, moved, times)


def _changed(order: Order, change: Change, event: Event[Any]) -> Order:
    """The order after one piece of news, with what was decided before; itself if nothing changes."""
    changed = change(order, event.message, event)
    if changed is None:
        return order
    parent = telemetry.continued(f"scheduler {changed.state}", event.traceparent)
    return replace(
        changed,
        traceparent=parent or order.traceparent,
        decisions=order.decisions + changed.decisions,
    )


async def settle(
    tx: AsyncConnection, moved: Sequence[Order], times: Mapping[OrderKey, datetime]
) -> None:
    """After orders came into a new state: count what was paid, reset, tell."""
    if not moved:
        return
    now = max(times[order.key] for order in moved)
    keys = [(order.key.merchant, order.key.standing_order) for order in moved]
    paid = [order for order in moved if order.state is OrderState.PAID]
    if paid:
        await standing_order_rows.settled(tx, paid, now)
    completed = await standing_order_rows.complete(tx, keys, now)
    templates = await standing_order_rows.by_key(tx, keys)
    facts = [
        fact
        for order in moved
        for fact in order_facts(
            order,
            templates[order.key.merchant, order.key.standing_order],
            times[order.key],
        )
    ]
    facts += [standing_order_ended(template, now) for template in completed]
    # What was never to be paid yet (a hold that ran out) is not unpaid.
    unpaid = [o for o in moved if o.state is OrderState.LAPSED and o.amount_minor is not None]
    facts += await _pause_unpaid(tx, unpaid, now) if unpaid else []
    await outbox.put(tx, facts)


async def _pause_unpaid(tx: AsyncConnection, unpaid: Sequence[Order], now: datetime) -> list[Fact]:
    """Pause the standing orders of orders that ended unpaid, where the merchant wants that."""
    keys = [(order.key.merchant, order.key.standing_order) for order in unpaid]
    resting = {
        (one.merchant, one.standing_order): one
        for one in await standing_order_rows.pause_unpaid(tx, keys, now)
    }
    facts = [standing_order_changed(one, str(one.state), now) for one in resting.values()]
    found = await order_rows.withdrawable(tx, list(resting)) if resting else []
    for state in WITHDRAWABLE_STATES:
        ending = [cancelled(o, OrderReason.PAUSED, now) for o in found if o.state is state]
        for order in await order_rows.update(tx, ending, state, now):
            template = resting[order.key.merchant, order.key.standing_order]
            facts += order_facts(order, template, now)
    return facts


def _by_order(
    events: Iterable[Event[Any]], name: Callable[[Any], str]
) -> dict[OrderKey, list[Event[Any]]]:
    news: dict[OrderKey, list[Event[Any]]] = {}
    for event in events:
        news.setdefault(_order_key(name(event.message)), []).append(event)
    return news


async def on_notice_delivered(tx: AsyncConnection, events: Sequence[Event[Any]]) -> None:
    """The customer has heard what an order will cost: it can be collected from when was promised."""
    announced = [e for e in events if e.message.kind == notify_pb2.ORDER_UPCOMING]
    await _apply(tx, _by_order(announced, lambda m: m.subject_resource), _notice_delivered)


def _notice_delivered(order: Order, message: Any, event: Event[Any]) -> Order | None:  # noqa: ANN401
    if order.state is not OrderState.UPCOMING or order.collect_time is not None:
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


def _notice_failed(order: Order, _message: Any, event: Event[Any]) -> Order | None:  # noqa: ANN401
    if order.state is not OrderState.UPCOMING or order.collect_time is not None:
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
    return _lapsed(order, OrderReason.PAYMENT_REFUSED, event.occur_time, {"guard": reasons})


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
    }[reason]
    return _lapsed(order, lapse, event.occur_time, {"decline_code": message.decline_code})


def _lapsed(order: Order, reason: OrderReason, now: datetime, data: Mapping[str, Any]) -> Order:
    decision = Decision(now, "LAPSED", "The order ended without payment.", data)
    return replace(order, state=OrderState.LAPSED, reasons=(reason,), decisions=(decision,))


SUBSCRIPTIONS = {
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
