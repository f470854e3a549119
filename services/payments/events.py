"""What payments tells, and what it does when orders fall due, are withdrawn, or notices arrive."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from recurring.notify.v1 import events_pb2 as notify_events_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import events_pb2, payments_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2
from recurring.scheduler.v1 import scheduler_pb2
from sqlalchemy.ext.asyncio import AsyncConnection

from services.payments.domain.books import Refund
from services.payments.domain.charges import (
    AbandonReason,
    Charge,
    ChargeState,
    abandon,
)
from services.payments.domain.consent import BillingMode, Notice, PaymentMethod, provider_reasons
from services.payments.domain.keys import ChargeKey, CustomerKey
from services.payments.domain.outcomes import Declined, NotMade
from services.payments.store import charges as charge_store
from services.payments.store import consent as consent_store
from services.runtime.messaging import outbox
from services.runtime.messaging.events import Event, OutboxEvent, Subscription, Subscriptions
from services.runtime.observability import tracing
from services.runtime.resource_names import NamePattern
from services.runtime.rpc.conversions import from_money, from_timestamp, to_money, to_timestamp
from services.runtime.workers.clock import Clock

ORDER = NamePattern("merchants/{merchant}/standingOrders/{standing_order}/orders/{cycle}")
CUSTOMER = NamePattern("merchants/{merchant}/customers/{customer}")

# --- out ----------------------------------------------------------------------------------------


def payment_requested(charge: Charge, now: datetime) -> OutboxEvent:
    """The customer is asked to confirm."""
    message = events_pb2.PaymentRequested(ref=_ref(charge))
    if charge.expire_time is not None:
        message.expire_time.CopyFrom(to_timestamp(charge.expire_time))
    return _fact(charge, charge.key.name, message, now)


def payment_succeeded(charge: Charge, method: PaymentMethod, now: datetime) -> OutboxEvent:
    """The money moved."""
    message = events_pb2.PaymentSucceeded(
        ref=_ref(charge),
        pay_time=to_timestamp(now),
        attempt_count=charge.attempt_count,
        brand=method.brand,
        last4=method.last4,
    )
    return _fact(charge, charge.key.name, message, now)


def payment_declined(charge: Charge, now: datetime, *, method_blocked: bool) -> OutboxEvent:
    """The last attempt was declined, and the charge goes on."""
    message = events_pb2.PaymentDeclined(
        ref=_ref(charge),
        attempt=charge.attempt_count,
        decline_code=charge.decline_code,
        payment_method_blocked=method_blocked,
    )
    if charge.next_attempt_time is not None:
        message.next_attempt_time.CopyFrom(to_timestamp(charge.next_attempt_time))
    return _fact(charge, f"{charge.key.name}@{charge.attempt_count}", message, now)


def payment_refused(charge: Charge, now: datetime) -> OutboxEvent:
    """The guard did not allow it."""
    message = events_pb2.PaymentRefused(
        ref=_ref(charge),
        reasons=[payments_pb2.RefusalReason.Value(reason) for reason in charge.refusal_reasons],
    )
    return _fact(charge, charge.key.name, message, now)


def payment_abandoned(
    charge: Charge, now: datetime, *, method_blocked: bool = False
) -> OutboxEvent:
    """The charge is over without money."""
    message = events_pb2.PaymentAbandoned(
        ref=_ref(charge),
        reason=events_pb2.PaymentAbandoned.Reason.Value(str(charge.abandon_reason)),
        decline_code=charge.decline_code,
        payment_method_blocked=method_blocked,
    )
    return _fact(charge, charge.key.name, message, now)


def refund_succeeded(refund: Refund, charge: Charge, now: datetime) -> OutboxEvent:
    """Money was given back."""
    message = events_pb2.RefundSucceeded(
        ref=_ref(charge),
        refund=refund.key.name,
        refund_amount=to_money(refund.amount_minor, refund.currency),
    )
    return _fact(charge, refund.key.name, message, now, refund.traceparent)


def decided(charges: Sequence[Charge], now: datetime) -> list[OutboxEvent]:
    """What the guard's decisions are to others: an attempt or a wait is not yet news."""
    tell = {ChargeState.REFUSED: payment_refused, ChargeState.ABANDONED: payment_abandoned}
    return [tell[charge.state](charge, now) for charge in charges if charge.state in tell]


def payment_method_blocked(method: PaymentMethod, charge: Charge, now: datetime) -> OutboxEvent:
    """A payment method was declined for good: no order is paid by it any more."""
    message = events_pb2.PaymentMethodBlocked(
        ref=_ref(charge),
        payment_method=method.key.name,
        decline_code=method.decline_code,
        block_time=to_timestamp(now),
        brand=method.brand,
        last4=method.last4,
    )
    return _fact(charge, method.key.name, message, now)


def not_paid(
    charge: Charge, outcome: Declined | NotMade, now: datetime, *, method_blocked: bool
) -> list[OutboxEvent]:
    """What a decline is to others; the last one is published once, as what it led to.

    An attempt that was not made is no news while the charge goes on.
    """
    if charge.state is ChargeState.ABANDONED:
        return [payment_abandoned(charge, now, method_blocked=method_blocked)]
    if isinstance(outcome, NotMade):
        return []
    return [payment_declined(charge, now, method_blocked=method_blocked)]


def _ref(charge: Charge) -> events_pb2.ChargeRef:
    return events_pb2.ChargeRef(
        charge=charge.key.name,
        order=charge.order,
        customer=charge.key.owner.name,
        amount=to_money(charge.amount_minor, charge.currency),
        title=charge.title,
        time_zone=charge.time_zone,
    )


def _fact(charge: Charge, key: str, message: Any, now: datetime, parent: str = "") -> OutboxEvent:  # noqa: ANN401
    return OutboxEvent(
        key=key,
        message=message,
        tenant=charge.key.owner.merchant,
        partition_key=charge.key.owner.name,
        occur_time=now,
        traceparent=tracing.continued(
            f"tell {message.DESCRIPTOR.name}", parent or charge.traceparent
        ),
    )


# --- in -----------------------------------------------------------------------------------------


class Handlers:
    """What payments does with the events of others: it notes them, and the loops do the rest."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def on_payment_due(self, tx: AsyncConnection, events: Sequence[Event[Any]]) -> None:
        """An order is to be paid: it gets its charge."""
        now = self._clock.now()
        wanted = {charge.key: charge for charge in (_charge(event, now) for event in events)}
        new = await charge_store.insert(tx, list(wanted.values()))
        live = new - await _end_withdrawn(tx, new, now)
        requested = [
            wanted[key] for key in sorted(live) if wanted[key].state is ChargeState.REQUESTED
        ]
        await outbox.put(tx, [payment_requested(charge, now) for charge in requested])

    async def on_payment_withdrawn(self, tx: AsyncConnection, events: Sequence[Event[Any]]) -> None:
        """An order is not wanted any more: what has not been sent to the provider never will be."""
        now = self._clock.now()
        withdrawn = {charge_key(event.message.ref.order, _owner(event)) for event in events}
        await charge_store.insert_withdrawals(tx, withdrawn, now)
        await _end_withdrawn(tx, withdrawn, now)

    async def on_payment_mandate_changed(
        self, tx: AsyncConnection, events: Sequence[Event[Any]]
    ) -> None:
        """An order is to be paid under another mandate: the guard compares it with that one."""
        changed = {
            charge_key(event.message.ref.order, _owner(event)): event
            for event in sorted(events, key=lambda event: event.occur_time)
        }
        await charge_store.insert_mandate_changes(
            tx, {key: (event.message.mandate, event.occur_time) for key, event in changed.items()}
        )
        await charge_store.save(tx, list((await charge_store.locked(tx, changed)).values()))

    async def on_notice_delivered(self, tx: AsyncConnection, events: Sequence[Event[Any]]) -> None:
        """A customer heard what will be charged: the evidence that the guard asks for."""
        notices = [
            _notice(event.message)
            for event in events
            if event.message.kind == notify_pb2.ORDER_UPCOMING
            and event.message.HasField("charge_promise")
        ]
        if notices:
            await consent_store.insert_notices(tx, notices)
            await charge_store.wake(tx, [each.charge for each in notices], self._clock.now())


def subscriptions(clock: Clock) -> Subscriptions:
    """Whose events payments reads, and what it does with them."""
    handlers = Handlers(clock)
    return {
        "SCHEDULER": (
            Subscription(scheduler_events_pb2.PaymentDue, handlers.on_payment_due),
            Subscription(scheduler_events_pb2.PaymentWithdrawn, handlers.on_payment_withdrawn),
            Subscription(
                scheduler_events_pb2.PaymentMandateChanged, handlers.on_payment_mandate_changed
            ),
        ),
        "NOTIFY": (Subscription(notify_events_pb2.NoticeDelivered, handlers.on_notice_delivered),),
    }


def charge_key(order: str, owner: CustomerKey) -> ChargeKey:
    """The charge of an order: derived from it, so that it can have one only.

    Raises ValueError if the order is not one of the customer's merchant.
    """
    merchant, standing_order, cycle = ORDER.parse(order)
    if merchant != owner.merchant:
        msg = f"{order} is not an order of {owner.name}'s merchant"
        raise ValueError(msg)
    return ChargeKey(owner, f"{standing_order}-{cycle}")


async def _end_withdrawn(
    tx: AsyncConnection, keys: set[ChargeKey], now: datetime
) -> set[ChargeKey]:
    """Abandon those of the charges that are withdrawn and have no attempt under way; returns which.

    One that is being attempted is left alone: what becomes of it is decided with the outcome.
    """
    open_states = {ChargeState.SCHEDULED, ChargeState.REQUESTED}
    ended = [
        abandon(charge, AbandonReason.WITHDRAWN, now)
        for charge in (await charge_store.locked(tx, keys)).values()
        if charge.withdrawn and charge.state in open_states
    ]
    await charge_store.save(tx, ended)
    await outbox.put(tx, [payment_abandoned(charge, now) for charge in ended])
    return {charge.key for charge in ended}


def _owner(event: Event[Any]) -> CustomerKey:
    merchant, customer = CUSTOMER.parse(event.message.ref.customer)
    return CustomerKey(customer, merchant)


def _charge(event: Event[scheduler_events_pb2.PaymentDue], now: datetime) -> Charge:
    message = event.message
    amount = from_money(message.amount)
    charge = Charge(
        key=charge_key(message.ref.order, _owner(event)),
        order=message.ref.order,
        billing_mode=BillingMode.AUTOMATIC,
        amount_minor=amount.amount_minor,
        currency=amount.currency,
        mandate=message.mandate,
        title=message.ref.title,
        time_zone=message.ref.time_zone,
        traceparent=tracing.continued("charge", event.traceparent),
        state=ChargeState.SCHEDULED,
        create_time=now,
        update_time=now,
        next_attempt_time=now,
    )
    if message.ref.billing_mode != scheduler_pb2.PAY_ON_NOTICE:
        return charge
    # Nobody is asked to confirm what cannot be charged: the guard, looking at once, refuses it.
    chargeable = not provider_reasons(charge.amount_minor, charge.currency)
    return replace(
        charge,
        billing_mode=BillingMode.PAY_ON_NOTICE,
        mandate="",
        state=ChargeState.REQUESTED if chargeable else ChargeState.SCHEDULED,
        next_attempt_time=None if chargeable else now,
        expire_time=(
            from_timestamp(message.expire_time) if message.HasField("expire_time") else None
        ),
    )


def _announced_mode(promise: notify_events_pb2.ChargePromise) -> BillingMode:
    """How the customer was told that they pay; a charge without asking only if that was said."""
    automatic = promise.billing_mode == scheduler_pb2.AUTOMATIC
    return BillingMode.AUTOMATIC if automatic else BillingMode.PAY_ON_NOTICE


def _notice(message: notify_events_pb2.NoticeDelivered) -> Notice:
    merchant, customer = CUSTOMER.parse(message.customer)
    promise = message.charge_promise
    amount = from_money(promise.amount)
    return Notice(
        charge=charge_key(message.subject_resource, CustomerKey(customer, merchant)),
        notice=message.notice,
        amount_minor=amount.amount_minor,
        currency=amount.currency,
        charge_not_before_time=from_timestamp(promise.charge_not_before_time),
        deliver_time=from_timestamp(message.deliver_time),
        billing_mode=_announced_mode(promise),
    )
