"""The events of other services that the scheduler consumes, and what becomes of each."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from recurring.catalog.v1 import events_pb2 as catalog_events_pb2
from recurring.notify.v1 import events_pb2 as notify_events_pb2
from recurring.payments.v1 import events_pb2 as payments_events_pb2
from recurring.payments.v1 import payments_pb2

from services.runtime.db.pool import Connection
from services.runtime.messaging.events import Event, Subscription, Subscriptions
from services.runtime.rpc.conversions import from_money, from_timestamp
from services.runtime.workers.clock import Clock
from services.scheduler.application.order_updates import (
    OrderUpdate,
    apply_updates,
    awaits_notice,
    awaits_payment,
    new_declines,
)
from services.scheduler.domain.ids import MerchantId
from services.scheduler.domain.order import (
    PAYMENT_METHOD_BLOCKED,
    Order,
    OrderReason,
    OrderState,
    Stage,
)
from services.scheduler.domain.order_lifecycle import (
    cancelled,
    held,
    late_payment_ended,
    notice_delivered,
    paid,
    paid_late,
    payment_declined,
    unpaid,
)
from services.scheduler.domain.price_changes import NewPriceChange
from services.scheduler.domain.substitution import DiscontinuedProduct
from services.scheduler.names import ORDER, PRICE, PRODUCT
from services.scheduler.store import notice_leads, price_changes, products

Events = Sequence[Event[Any]]
# What an event makes of the order that it is about.
Change = Callable[[Event[Any], Order], Order]

# Payments has no order in these.
NOT_COLLECTED = frozenset({OrderState.UPCOMING, OrderState.HELD})
_ABANDONED = {
    "DECLINED": OrderReason.PAYMENT_DECLINED,
    "REQUEST_EXPIRED": OrderReason.PAYMENT_REQUEST_EXPIRED,
    "NOT_MADE": OrderReason.PAYMENT_NOT_MADE,
}


def _notice_delivered(event: Event[notify_events_pb2.ChargeNoticeDelivered], order: Order) -> Order:
    """The customer knows what an order will cost: it can be collected from when was promised."""
    message = event.message
    delivered = from_timestamp(message.deliver_time)
    not_before = from_timestamp(message.charge_promise.charge_not_before_time)
    return notice_delivered(order, message.notice, delivered, not_before, event.occur_time)


def _notice_failed(event: Event[notify_events_pb2.ChargeNoticeFailed], order: Order) -> Order:
    """The notice could not be delivered: nothing is charged, and it is tried again later."""
    return held(order, (OrderReason.NOTICE_UNDELIVERABLE,), Stage.PREPARE, event.occur_time)


def _payment_succeeded(event: Event[payments_events_pb2.PaymentSucceeded], order: Order) -> Order:
    message = event.message
    data = {"charge": message.ref.charge, "attempts": message.attempt_count}
    if message.HasField("credit_amount"):
        credit_minor = from_money(message.credit_amount).amount_minor
        order, data = (
            order._replace(credit_minor=credit_minor),
            {**data, "credit_minor": credit_minor},
        )
    settle = paid_late if order.state is OrderState.LAPSED else paid
    return settle(order, from_timestamp(message.pay_time), data, event.occur_time)


def _payment_declined(event: Event[payments_events_pb2.PaymentDeclined], order: Order) -> Order:
    """An attempt was declined: noted, since payments goes on trying."""
    message = event.message
    data = {"attempt": message.attempt, "decline_code": message.decline_code}
    return payment_declined(order, data, event.occur_time)


def _payment_refused(event: Event[payments_events_pb2.PaymentRefused], order: Order) -> Order:
    """The guard did not allow the charge: the order lapses."""
    reasons = [payments_pb2.RefusalReason.Name(reason) for reason in event.message.reasons]
    data = {"guard": reasons, PAYMENT_METHOD_BLOCKED: reasons == [PAYMENT_METHOD_BLOCKED.upper()]}
    if order.state is OrderState.LAPSED:
        return late_payment_ended(order, data, event.occur_time)
    return unpaid(order, OrderReason.PAYMENT_REFUSED, data, event.occur_time)


def _payment_abandoned(event: Event[payments_events_pb2.PaymentAbandoned], order: Order) -> Order:
    """There will be no payment: the order lapses, or is cancelled as requested."""
    message = event.message
    reason = message.Reason.Name(message.reason)
    if order.state is OrderState.LAPSED:
        how = {"reason": reason, "decline_code": message.decline_code}
        return late_payment_ended(order, how, event.occur_time)
    if reason == "WITHDRAWN":
        return cancelled(order, OrderReason.STANDING_ORDER_CANCELLED, event.occur_time)
    data = {
        "decline_code": message.decline_code,
        PAYMENT_METHOD_BLOCKED: message.payment_method_blocked,
    }
    return unpaid(order, _ABANDONED[reason], data, event.occur_time)


def _payment_overdue(event: Event[payments_events_pb2.PaymentOverdue], order: Order) -> Order:
    """An order was not paid in time: it lapses, and can be paid late."""
    message = event.message
    reason = _ABANDONED[payments_events_pb2.PaymentAbandoned.Reason.Name(message.reason)]
    data = {
        "decline_code": message.decline_code,
        PAYMENT_METHOD_BLOCKED: message.payment_method_blocked,
    }
    return unpaid(order, reason, data, event.occur_time, from_timestamp(message.expire_time))


async def _on_notices(change: Change, tx: Connection, events: Events) -> None:
    """Change the orders whose announcements the events are about."""
    updates = [
        OrderUpdate(
            ORDER.key(event.message.order),
            event,
            partial(awaits_notice, notice=event.message.notice),
            change,
        )
        for event in events
    ]
    await apply_updates(tx, updates)


async def _on_payments(change: Change, tx: Connection, events: Events) -> None:
    """Change the orders whose payments the events are about."""
    updates = [
        OrderUpdate(
            ORDER.key(event.message.ref.order), event, awaits_payment, change, NOT_COLLECTED
        )
        for event in events
    ]
    await apply_updates(tx, updates)


async def _on_declines(tx: Connection, events: Events) -> None:
    """Note declines. The order's state stays, so its history says which events came before."""
    attempts = [(ORDER.key(event.message.ref.order), event.message.attempt) for event in events]
    new = await new_declines(tx, attempts)
    noted = [event for event, attempt in zip(events, attempts, strict=True) if attempt in new]
    await _on_payments(_payment_declined, tx, noted)


async def _on_mandate_terms(clock: Clock, tx: Connection, events: Events) -> None:
    """Other rules bind the charges under mandates: a worker asks how early they are announced."""
    mandates = [event.message.mandate for event in events]
    await notice_leads.request_checks(tx, mandates, clock.now())


async def _on_restocked(clock: Clock, tx: Connection, events: Events) -> None:
    """Units arrived: orders that are held for the want of them are looked at again at once."""
    restocked = [PRODUCT.parse(event.message.product) for event in events]
    await products.recheck_out_of_stock(tx, restocked, clock.now())


async def _on_discontinued(tx: Connection, events: Events) -> None:
    """Products went off sale for good: a worker notifies the customers who have them."""
    gone = [
        DiscontinuedProduct(
            MerchantId(event.tenant),
            PRODUCT.parse(event.message.product)[1],
            event.message.title,
            from_timestamp(event.message.discontinue_time),
        )
        for event in events
    ]
    await products.insert_discontinued(tx, gone)


async def _on_price_changes(clock: Clock, tx: Connection, events: Events) -> None:
    """Remember announced prices; the walk over those whom they concern begins at once."""
    # The first price of a product changes nothing for anybody.
    changes = [event for event in events if event.message.HasField("previous_unit_price")]
    await price_changes.insert(tx, [_price_change(event.message) for event in changes], clock.now())


async def _on_withdrawn_prices(clock: Clock, tx: Connection, events: Events) -> None:
    """Remember that prices will not take effect; those who were notified of them get a notice."""
    changes = [_price_change(event.message) for event in events]
    await price_changes.withdraw(tx, changes, clock.now())


def _price_change(
    message: catalog_events_pb2.PriceChangeScheduled | catalog_events_pb2.PriceChangeWithdrawn,
) -> NewPriceChange:
    withdraw_time = None
    if isinstance(message, catalog_events_pb2.PriceChangeWithdrawn):
        announce_time = withdraw_time = from_timestamp(message.withdraw_time)
    else:
        announce_time = from_timestamp(message.announce_time)
    return NewPriceChange(
        *PRICE.key(message.price),
        title=message.title,
        effective_time=from_timestamp(message.effective_time),
        announce_time=announce_time,
        withdraw_time=withdraw_time,
    )


def subscriptions(clock: Clock) -> Subscriptions:
    """Whose events the scheduler consumes, and what each makes of its order."""
    catalog, notify, payments = catalog_events_pb2, notify_events_pb2, payments_events_pb2
    return {
        "CATALOG": (
            Subscription(catalog.StockRestocked, partial(_on_restocked, clock)),
            Subscription(catalog.ProductDiscontinued, _on_discontinued),
            Subscription(catalog.PriceChangeScheduled, partial(_on_price_changes, clock)),
            Subscription(catalog.PriceChangeWithdrawn, partial(_on_withdrawn_prices, clock)),
        ),
        "NOTIFY": (
            Subscription(notify.ChargeNoticeDelivered, partial(_on_notices, _notice_delivered)),
            Subscription(notify.ChargeNoticeFailed, partial(_on_notices, _notice_failed)),
        ),
        "PAYMENTS": (
            Subscription(payments.PaymentSucceeded, partial(_on_payments, _payment_succeeded)),
            Subscription(payments.PaymentDeclined, _on_declines),
            Subscription(payments.PaymentRefused, partial(_on_payments, _payment_refused)),
            Subscription(payments.PaymentAbandoned, partial(_on_payments, _payment_abandoned)),
            Subscription(payments.PaymentOverdue, partial(_on_payments, _payment_overdue)),
            Subscription(payments.MandateTermsChanged, partial(_on_mandate_terms, clock)),
        ),
    }
