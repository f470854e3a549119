"""What the scheduler tells: orders that came into a state, standing orders that changed."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from google.protobuf import duration_pb2, timestamp_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import events_pb2, scheduler_pb2

from services.runtime.messaging.events import OutboxEvent
from services.runtime.rpc.conversions import to_money, to_timestamp
from services.scheduler.domain.cycles import next_due_time
from services.scheduler.domain.order import (
    PAYMENT_METHOD_BLOCKED,
    Line,
    Order,
    OrderReason,
    OrderState,
    asks,
    mandate_reasons,
)
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.domain.terms import BillingMode
from services.scheduler.names import customer_name, order_name, standing_order_name

_CACHED_LINES = 16_384


def order_events(
    order: Order,
    standing_order: StandingOrder,
    now: datetime,
    *,
    payment_begins: bool = False,
    next_open_time: datetime | None = None,
) -> list[OutboxEvent]:
    """What there is to tell about an order that has just come into its state.

    `next_open_time` is when the next cycle is due whose order is open already, if there is one.
    """
    ref = _ref(order)
    reasons = [scheduler_pb2.OrderReason.Value(reason) for reason in order.reasons]
    message: Any
    suffix = ""
    match order.state:
        case OrderState.UPCOMING:
            message = _upcoming(order, standing_order, ref)
            suffix = f"#{order.announcement_count}"
        case OrderState.AWAITING_PAYMENT if payment_begins:
            message = _payment_due(order, ref, now)
        case OrderState.PAID:
            message = _confirmed(order, standing_order, ref, next_open_time)
        case OrderState.SKIPPED:
            message = events_pb2.OrderSkipped(ref=ref, reason=reasons[0])
            # A customer can take a skip back, and skip it again after it was announced again.
            suffix = f"#{order.announcement_count}"
        case OrderState.HELD:
            message = events_pb2.OrderHeld(
                ref=ref,
                reasons=reasons,
                customer_asked=asks(order),
                mandate_reasons=map(payments_pb2.RefusalReason.Value, mandate_reasons(order)),
            )
            # It can be held again for something else; the same reason is told once.
            suffix = f"#{order.announcement_count}:{','.join(order.reasons)}"
            if OrderReason.CONDITION_NOT_MET in order.reasons:
                suffix += f"@{order.local_date}{'?' if order.asks_condition else ''}"
        case OrderState.LAPSED:
            message = events_pb2.OrderLapsed(
                ref=ref,
                reasons=reasons,
                payment_method_blocked=any(
                    each.data.get(PAYMENT_METHOD_BLOCKED, False) for each in order.decisions
                ),
            )
        case OrderState.CANCELLED:
            message = events_pb2.OrderCancelled(ref=ref, reason=reasons[0])
        case _:
            return []
    return [_order_event(order, message, suffix, now)]


def announcement_id(order: Order) -> str:
    """The id of the present announcement of an order: of its OrderUpcoming, and of its notice."""
    fact = _order_event(
        order, events_pb2.OrderUpcoming(), f"#{order.announcement_count}", order.due_time
    )
    return str(fact.event_id)


def payment_withdrawn(order: Order, now: datetime) -> OutboxEvent:
    """The payment of an order is not wanted any more."""
    return _order_event(order, events_pb2.PaymentWithdrawn(ref=_ref(order)), "", now)


def payment_mandate_changed(
    order: Order, standing_order: StandingOrder, now: datetime
) -> OutboxEvent:
    """An order that awaits payment is to be paid under its standing order's new mandate."""
    message = events_pb2.PaymentMandateChanged(ref=_ref(order), mandate=order.terms.mandate)
    return _order_event(order, message, f"@{standing_order.version}", now)


def standing_order_changed(
    standing_order: StandingOrder,
    change: str,
    now: datetime,
    next_open_time: datetime | None = None,
    *,
    reason: OrderReason | None = None,
) -> OutboxEvent:
    """A standing order was created, paused, resumed, cancelled or came to its end.

    `next_open_time` is when the next cycle is due whose order is open already, if there is one;
    `reason` is why it was paused by itself.
    """
    name = standing_order_name(standing_order.merchant, standing_order.standing_order)
    message = events_pb2.StandingOrderChanged(
        standing_order=name,
        customer=customer_name(standing_order.merchant, standing_order.customer),
        title=standing_order.title,
        change=events_pb2.StandingOrderChanged.Change.Value(change),
        state=scheduler_pb2.StandingOrder.State.Value(standing_order.state),
        time_zone=standing_order.schedule.time_zone,
        next_due_time=_timestamp(next_open_time or next_due_time(standing_order)),
        resume_time=_timestamp(standing_order.resume_time),
    )
    if reason is not None:
        message.reason = scheduler_pb2.OrderReason.Value(reason)
    return OutboxEvent(
        key=f"{name}@{standing_order.version}",
        message=message,
        tenant=standing_order.merchant,
        partition_key=name,
        occur_time=now,
    )


def line_messages(lines: Sequence[Line], currency: str) -> list[scheduler_pb2.OrderLine]:
    """Lines on the wire, to be put into a message, which copies them."""
    return [_line_message(line, currency) for line in lines]


# The same for every customer who buys as many at the same price.
@lru_cache(maxsize=_CACHED_LINES)
def _line_message(line: Line, currency: str) -> scheduler_pb2.OrderLine:
    return scheduler_pb2.OrderLine(
        product=line.product,
        title=line.title,
        quantity=line.quantity,
        unit_price=to_money(line.unit_price_minor, currency),
        amount=to_money(line.amount_minor, currency),
        price=line.price,
        list_unit_price=to_money(line.list_unit_price_minor, currency),
        basis=line.basis,
        list_price=line.list_price,
        replaced=[
            scheduler_pb2.ReplacedProduct(product=product, title=title)
            for product, title in line.replaced
        ],
    )


def _ref(order: Order) -> events_pb2.OrderRef:
    return events_pb2.OrderRef(
        order=order_name(order.key),
        customer=customer_name(order.key.merchant, order.customer),
        title=order.terms.title,
        billing_mode=scheduler_pb2.BillingMode.Value(order.terms.billing_mode),
        time_zone=order.terms.time_zone,
        due_time=to_timestamp(order.due_time),
    )


def _upcoming(
    order: Order, standing_order: StandingOrder, ref: events_pb2.OrderRef
) -> events_pb2.OrderUpcoming:
    last_minor = standing_order.last_amount_minor
    return events_pb2.OrderUpcoming(
        ref=ref,
        amount=to_money(order.notified_minor or 0, order.currency),
        previous_amount=(
            None if last_minor is None else to_money(last_minor, standing_order.last_currency)
        ),
        lines=line_messages(order.lines, order.currency),
        charge_not_before_time=to_timestamp(order.charge_not_before_time or order.due_time),
        notice_lead=duration_pb2.Duration(seconds=int(order.notice_lead.total_seconds())),
    )


def _payment_due(order: Order, ref: events_pb2.OrderRef, now: datetime) -> events_pb2.PaymentDue:
    on_notice = order.terms.billing_mode is BillingMode.PAY_ON_NOTICE
    return events_pb2.PaymentDue(
        ref=ref,
        amount=to_money(order.amount_minor or 0, order.currency),
        mandate=order.terms.mandate,
        expire_time=_timestamp(now + order.terms.payment_window if on_notice else None),
    )


def _confirmed(
    order: Order,
    standing_order: StandingOrder,
    ref: events_pb2.OrderRef,
    next_open_time: datetime | None,
) -> events_pb2.OrderConfirmed:
    return events_pb2.OrderConfirmed(
        ref=ref,
        amount=to_money(order.amount_minor or 0, order.currency),
        lines=line_messages(order.lines, order.currency),
        pay_time=to_timestamp(order.pay_time or order.due_time),
        standing_order_state=scheduler_pb2.StandingOrder.State.Value(standing_order.state),
        next_due_time=_timestamp(next_open_time or next_due_time(standing_order)),
    )


def _timestamp(moment: datetime | None) -> timestamp_pb2.Timestamp | None:
    return to_timestamp(moment) if moment else None


def _order_event(order: Order, message: Any, suffix: str, now: datetime) -> OutboxEvent:  # noqa: ANN401
    key = order.key
    return OutboxEvent(
        key=order_name(key) + suffix,
        message=message,
        tenant=key.merchant,
        partition_key=standing_order_name(key.merchant, key.standing_order),
        occur_time=now,
        traceparent=order.traceparent,
    )
