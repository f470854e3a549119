"""What payments does when orders fall due or are withdrawn, and when notices arrive."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from google.type import date_pb2
from recurring.notify.v1 import events_pb2 as notify_events_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.payments.application import charges
from services.payments.clients.charge_lines import read_lines
from services.payments.clients.charge_rules import read_charge_rules
from services.payments.domain.charges import Charge, ask_customer
from services.payments.domain.consent import BillingMode, Notice
from services.payments.domain.keys import ChargeKey
from services.payments.domain.lines import checked_lines, dump_lines
from services.payments.domain.rules import dump_rules
from services.payments.domain.transitions import ChargeState
from services.payments.names import CUSTOMER, charge_key
from services.runtime.db.pool import Connection
from services.runtime.messaging.events import Event, Subscription, Subscriptions
from services.runtime.observability import tracing
from services.runtime.rpc.conversions import from_date, from_money, from_timestamp
from services.runtime.workers.clock import Clock


class Handlers:
    """Translates the events of others into use cases."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def on_payment_due(self, tx: Connection, events: Sequence[Event[Any]]) -> None:
        """An order is to be paid: it gets its charge."""
        now = self._clock.now()
        await charges.open_charges(tx, [_charge(event, now) for event in events], now)

    async def on_payment_withdrawn(self, tx: Connection, events: Sequence[Event[Any]]) -> None:
        """An order is not wanted any more: so is its charge."""
        await charges.withdraw(tx, {_charge_key(event) for event in events}, self._clock.now())

    async def on_payment_mandate_changed(
        self, tx: Connection, events: Sequence[Event[Any]]
    ) -> None:
        """An order is to be paid under another mandate: the guard compares it with that one."""
        latest_last = sorted(events, key=lambda event: event.occur_time)
        await charges.change_mandates(
            tx,
            {
                _charge_key(event): (event.message.mandate, event.occur_time)
                for event in latest_last
            },
        )

    async def on_charge_notice_delivered(
        self, tx: Connection, events: Sequence[Event[Any]]
    ) -> None:
        """A notice of a charge was delivered: it is the evidence that the guard needs."""
        notices = [_notice(event.message) for event in events]
        await charges.keep_notices(tx, notices, self._clock.now())


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
        "NOTIFY": (
            Subscription(
                notify_events_pb2.ChargeNoticeDelivered, handlers.on_charge_notice_delivered
            ),
        ),
    }


def _charge_key(event: Event[Any]) -> ChargeKey:
    ref = event.message.ref
    return charge_key(ref.order, CUSTOMER.key(ref.customer))


def _charge(event: Event[scheduler_events_pb2.PaymentDue], now: datetime) -> Charge:
    message = event.message
    amount = from_money(message.amount)
    charge = Charge(
        *_charge_key(event),
        order_name=message.ref.order,
        due_time=from_timestamp(message.ref.due_time),
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
        charge_rules=(
            dump_rules(read_charge_rules(message.charge_rules))
            if message.HasField("charge_rules")
            else None
        ),
        lines=dump_lines(checked_lines(read_lines(message.lines), amount.amount_minor)),
        region_code=message.region_code,
        late_payment_days=message.late_payment_days,
        period_start_date=_date(message.period_start_date),
        period_end_date=_date(message.period_end_date),
    )
    if message.ref.billing_mode != scheduler_pb2.PAY_ON_NOTICE:
        return charge
    return ask_customer(
        charge,
        from_timestamp(message.expire_time) if message.HasField("expire_time") else None,
    )


def _date(day: date_pb2.Date) -> date | None:
    """A date of the period that is paid for; None: nobody said."""
    return from_date(day) if day.year else None


def _announced_mode(promise: notify_events_pb2.ChargePromise) -> BillingMode:
    """The billing mode that was announced; AUTOMATIC only if the notice said so."""
    automatic = promise.billing_mode == scheduler_pb2.AUTOMATIC
    return BillingMode.AUTOMATIC if automatic else BillingMode.PAY_ON_NOTICE


def _notice(message: notify_events_pb2.ChargeNoticeDelivered) -> Notice:
    promise = message.charge_promise
    amount = from_money(promise.amount)
    return Notice(
        *charge_key(message.order, CUSTOMER.key(message.customer)),
        notice=message.notice,
        amount_minor=amount.amount_minor,
        currency=amount.currency,
        charge_not_before_time=from_timestamp(promise.charge_not_before_time),
        deliver_time=from_timestamp(message.deliver_time),
        billing_mode=_announced_mode(promise),
    )
