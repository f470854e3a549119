"""The events that notify consumes, and the notice that it makes of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from google.protobuf import timestamp_pb2
from recurring.payments.v1 import events_pb2 as payments_events_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.notify.application import webhooks
from services.notify.application.notices import Draft, create_notices
from services.notify.domain.notices import BillingMode, PriceNotice, Promise
from services.notify.domain.superseding import STANDING_ORDER_ENDED
from services.notify.domain.templates import kinds
from services.notify.domain.templates.lines import Line, Promotion, Tax
from services.notify.names import NOTICE
from services.runtime.db.pool import Connection
from services.runtime.messaging.events import Event, Subscription, Subscriptions
from services.runtime.money import Money
from services.runtime.rpc.conversions import from_date, from_money, from_timestamp
from services.runtime.workers.clock import Clock

# A tax that the customer pays, by the name that the catalog has for it.
CHARGED = "CHARGED"
_DECIDED_DISPUTES = frozenset({payments_pb2.Dispute.WON, payments_pb2.Dispute.LOST})
# What has a link by which the customer pays until an instant.
Payable = (
    payments_events_pb2.PaymentRequested
    | payments_events_pb2.PaymentRequestReminder
    | payments_events_pb2.PaymentOverdue
)


def about_order(message: Any) -> Draft:  # noqa: ANN401 - any event of an order
    """Makes no notice, and earlier ones untrue."""
    return Draft(message.ref.customer, message.ref.order, None)


def order_upcoming(message: scheduler_events_pb2.OrderUpcoming) -> Draft:
    """A cycle was prepared: the notice says what will be charged and when."""
    ref, amount = message.ref, from_money(message.amount)
    charge_not_before = from_timestamp(message.charge_not_before_time)
    pay_on_notice = ref.billing_mode == scheduler_pb2.PAY_ON_NOTICE
    previous = from_money(message.previous_amount) if message.HasField("previous_amount") else None
    return Draft(
        ref.customer,
        ref.order,
        kinds.OrderUpcoming(
            title=ref.title,
            time_zone=ref.time_zone,
            amount=amount,
            previous_amount=previous,
            charge_not_before=charge_not_before,
            due_time=from_timestamp(ref.due_time),
            pay_on_notice=pay_on_notice,
            lines=_lines(message.lines),
            taxes=_taxes(message.lines),
            moved_from=from_date(message.moved_from_date)
            if message.HasField("moved_from_date")
            else None,
            credit=_credit(message),
            link_uri=message.link_uri,
        ),
        Promise(
            amount.amount_minor,
            amount.currency,
            charge_not_before,
            timedelta(seconds=message.notice_lead.seconds),
            BillingMode.PAY_ON_NOTICE if pay_on_notice else BillingMode.AUTOMATIC,
        ),
        evidence_is_free=message.evidence_is_free,
    )


def order_confirmed(message: scheduler_events_pb2.OrderConfirmed) -> Draft:
    """Paid: the receipt."""
    ref = message.ref
    return Draft(
        ref.customer,
        ref.order,
        kinds.Receipt(
            title=ref.title,
            time_zone=ref.time_zone,
            amount=from_money(message.amount),
            pay_time=from_timestamp(message.pay_time),
            next_due_time=_optional_time(message, "next_due_time"),
            lines=_lines(message.lines),
            taxes=_taxes(message.lines),
            paused=message.standing_order_state == scheduler_pb2.StandingOrder.PAUSED,
            credit=_credit(message),
            link_uri=message.link_uri,
            saved_amount=_saved(message),
        ),
        due_time=from_timestamp(ref.due_time),
    )


def _credit(
    message: scheduler_events_pb2.OrderUpcoming
    | scheduler_events_pb2.OrderConfirmed
    | payments_events_pb2.RefundSucceeded,
) -> Money | None:
    """What of an amount the customer's credit pays, or what of it becomes credit; None: nothing."""
    return from_money(message.credit_amount) if message.HasField("credit_amount") else None


def _saved(message: scheduler_events_pb2.OrderConfirmed) -> Money | None:
    """How much less the lines cost than by their list prices; None: nothing."""
    saved_minor = sum(
        from_money(line.list_amount).amount_minor - from_money(line.amount).amount_minor
        for line in message.lines
        if line.HasField("list_amount") and line.HasField("amount")
    )
    return Money(saved_minor, message.amount.currency_code) if saved_minor > 0 else None


def order_skipped(message: scheduler_events_pb2.OrderSkipped) -> Draft:
    """A cycle brings no order."""
    ref, reasons = message.ref, _reasons([message.reason])
    due_time = from_timestamp(ref.due_time)
    template = kinds.OrderSkipped(ref.title, ref.time_zone, due_time, reasons)
    return Draft(ref.customer, ref.order, template)


def order_held(message: scheduler_events_pb2.OrderHeld) -> Draft | None:
    """An order waits."""
    if scheduler_pb2.PAYMENT_METHOD_BLOCKED in message.reasons:
        return None
    if list(message.reasons) == [scheduler_pb2.TAX_UNAVAILABLE]:
        # It passes by itself, and the customer can do nothing about it.
        return None
    ref, reasons = message.ref, _reasons(message.reasons)
    if message.mandate_reasons:
        # The first of them says why; "does not cover it" alone helps nobody.
        known = payments_pb2.RefusalReason.DESCRIPTOR.values_by_number
        first = known.get(message.mandate_reasons[0])
        why = first.name if first else "MANDATE_NOT_COVERING"
        reasons = tuple(why if reason == "MANDATE_NOT_COVERING" else reason for reason in reasons)
    due_time = from_timestamp(ref.due_time)
    template = kinds.OrderHeld(
        ref.title,
        ref.time_zone,
        due_time,
        reasons,
        customer_asked=message.customer_asked,
        link_uri=message.link_uri,
    )
    return Draft(ref.customer, ref.order, template)


def order_lapsed(message: scheduler_events_pb2.OrderLapsed) -> Draft | None:
    """An order ended without payment; of one that can be paid late, payments says so."""
    if message.HasField("late_payment_until_time"):
        return None
    if message.payment_method_blocked or scheduler_pb2.PAYMENT_METHOD_BLOCKED in message.reasons:
        return None
    ref, reasons = message.ref, _reasons(message.reasons)
    due_time = from_timestamp(ref.due_time)
    template = kinds.OrderLapsed(ref.title, ref.time_zone, due_time, reasons)
    return Draft(ref.customer, ref.order, template)


def order_cancelled(message: scheduler_events_pb2.OrderCancelled) -> Draft:
    """An order ended with its standing order."""
    ref = message.ref
    template = kinds.OrderCancelled(
        ref.title,
        ref.time_zone,
        from_timestamp(ref.due_time),
        by_pause=message.reason == scheduler_pb2.PAUSED,
    )
    return Draft(ref.customer, ref.order, template, due_time=template.due_time)


_ENDS = frozenset({
    scheduler_events_pb2.StandingOrderChanged.CANCELLED,
    scheduler_events_pb2.StandingOrderChanged.COMPLETED,
})  # fmt: skip


def standing_order_changed(message: scheduler_events_pb2.StandingOrderChanged) -> Draft:
    """A standing order was created, paused, resumed, cancelled or completed."""
    template = kinds.StandingOrderChanged(
        message.title,
        message.time_zone,
        _enum_name(message, "change", message.change),
        _optional_time(message, "next_due_time"),
        _optional_time(message, "resume_time"),
        _reasons([message.reason]) if message.reason else (),
        message.link_uri,
    )
    return Draft(
        message.customer,
        message.standing_order,
        template,
        merges=message.change == scheduler_events_pb2.StandingOrderChanged.UPDATED,
        supersedes_as=STANDING_ORDER_ENDED if message.change in _ENDS else "",
    )


def item_discontinued(message: scheduler_events_pb2.ItemDiscontinued) -> Draft:
    """A product of a standing order went off sale for good."""
    template = kinds.ItemDiscontinued(
        message.title, message.product_title, message.substitute_title
    )
    return Draft(message.customer, message.standing_order, template)


def price_change_scheduled(
    message: scheduler_events_pb2.SubscriberPriceChangeScheduled,
) -> Draft:
    """A price changes what orders cost from a cycle on."""
    first, *others = sorted(message.changes, key=_first_due_time)
    template = kinds.PriceChange(
        message.product_title,
        first.title,
        first.time_zone,
        from_money(first.amount),
        from_money(first.previous_amount),
        _first_due_time(first),
        len(others),
        first.link_uri,
    )
    price_notice = PriceNotice(
        message.price,
        from_timestamp(message.announce_time),
        tuple(change.standing_order for change in message.changes),
    )
    return Draft(message.customer, message.product, template, price_notice=price_notice)


def price_change_withdrawn(
    message: scheduler_events_pb2.SubscriberPriceChangeWithdrawn,
) -> Draft:
    """A price change that the customer was notified of will not take place."""
    first, *others = sorted(message.changes, key=_first_due_time)
    template = kinds.PriceChangeWithdrawn(
        message.product_title, first.title, from_money(first.previous_amount), len(others)
    )
    _, _, announced = NOTICE.key(message.notice)
    return Draft(message.customer, message.product, template, takes_back=announced)


def price_protection_ending(message: scheduler_events_pb2.PriceProtectionEnding) -> Draft:
    """The protection of a standing order's prices is about to end."""
    template = kinds.PriceProtectionEnding(
        message.title, message.time_zone, from_timestamp(message.first_unprotected_time)
    )
    return Draft(message.customer, message.standing_order, template)


def promotion_ending(message: scheduler_events_pb2.PromotionEnding) -> Draft:
    """The promotion of a standing order is about to end."""
    facts = kinds.PromotionEnding(
        message.title,
        message.time_zone,
        message.promotion_title,
        from_timestamp(message.first_due_time),
        from_money(message.amount) if message.HasField("amount") else None,
        from_money(message.previous_amount) if message.HasField("previous_amount") else None,
        message.link_uri,
    )
    return Draft(message.customer, message.standing_order, facts)


def _first_due_time(change: scheduler_events_pb2.SubscriberPriceChange) -> datetime:
    return from_timestamp(change.first_due_time)


def _payable(
    message: Payable,
    kind: type[kinds.PaymentRequest | kinds.PaymentReminder | kinds.PaymentOverdue],
) -> Draft:
    """A notice with a link by which the customer pays until an instant."""
    ref = message.ref
    facts = kind(
        ref.title,
        ref.time_zone,
        from_money(ref.amount),
        from_timestamp(message.expire_time),
        message.link_uri,
    )
    return Draft(ref.customer, ref.order, facts, expire_time=facts.expire_time)


def payment_requested(message: payments_events_pb2.PaymentRequested) -> Draft:
    """The customer has to confirm a payment."""
    return _payable(message, kinds.PaymentRequest)


def payment_request_reminder(message: payments_events_pb2.PaymentRequestReminder) -> Draft:
    """A request to pay is about to end."""
    return _payable(message, kinds.PaymentReminder)


def payment_overdue(message: payments_events_pb2.PaymentOverdue) -> Draft:
    """An order ended without payment, and can be paid late."""
    return _payable(message, kinds.PaymentOverdue)


def payment_action_required(message: payments_events_pb2.PaymentActionRequired) -> Draft:
    """The customer has to confirm a payment with their bank."""
    ref = message.ref
    template = kinds.PaymentActionRequired(
        ref.title,
        ref.time_zone,
        from_money(ref.amount),
        from_timestamp(message.expire_time),
        message.action_uri,
    )
    return Draft(ref.customer, ref.order, template, expire_time=template.expire_time)


def payment_declined(message: payments_events_pb2.PaymentDeclined) -> Draft | None:
    """An attempt was declined; of a blocked card another notice is made, of a retry none."""
    over = not message.HasField("next_attempt_time") and not message.link_uri
    if message.payment_method_blocked and over:
        return None
    ref = message.ref
    template = kinds.PaymentDeclined(
        ref.title,
        ref.time_zone,
        from_money(ref.amount),
        _optional_time(message, "next_attempt_time"),
        message.link_uri,
        _optional_time(message, "expire_time"),
        tuple(filter(None, (kinds.DECLINE_REASONS.get(message.decline_code),))),
    )
    until = template.next_attempt_time or template.expire_time
    return Draft(ref.customer, ref.order, template, expire_time=until)


def payment_method_blocked(message: payments_events_pb2.PaymentMethodBlocked) -> Draft:
    """A card was declined for good: said once, and not of each order that uses it."""
    template = kinds.PaymentMethodBlocked(message.brand, message.last4)
    return Draft(message.ref.customer, message.payment_method, template)


def payment_method_expiring(message: payments_events_pb2.PaymentMethodExpiring) -> Draft:
    """A card is about to expire."""
    month = date(message.expire_date.year, message.expire_date.month, 1)
    template = kinds.PaymentMethodExpiring(message.brand, message.last4, month)
    return Draft(message.customer, message.payment_method, template)


def refund_succeeded(message: payments_events_pb2.RefundSucceeded) -> Draft:
    """Money was given back."""
    ref = message.ref
    template = kinds.Refund(
        ref.title, from_money(message.refund_amount), from_money(ref.amount), _credit(message)
    )
    return Draft(ref.customer, ref.order, template)


def dispute_opened(message: payments_events_pb2.DisputeOpened) -> Draft | None:
    """A payment is disputed; one that is decided at once is announced as decided."""
    if message.state in _DECIDED_DISPUTES:
        return None
    ref = message.ref
    template = kinds.DisputeOpened(
        ref.title,
        from_money(message.dispute_amount),
        from_money(ref.amount),
        inquiry=message.inquiry,
        paused=message.mandate_paused,
    )
    return Draft(ref.customer, ref.order, template)


def dispute_closed(message: payments_events_pb2.DisputeClosed) -> Draft | None:
    """A dispute was decided, or a bank took a payment back; the end of an inquiry is no news."""
    if message.state not in _DECIDED_DISPUTES:
        return None
    ref = message.ref
    template = kinds.DisputeClosed(
        ref.title,
        from_money(message.dispute_amount),
        from_money(ref.amount),
        won=message.state == payments_pb2.Dispute.WON,
        late_failure=message.late_failure,
        paused=message.mandate_paused,
    )
    return Draft(ref.customer, ref.order, template)


def document_issued(message: payments_events_pb2.DocumentIssued) -> Draft | None:
    """A document was issued, which the merchant may have sent to its customer."""
    if not message.email_to_customer:
        return None
    facts = kinds.DocumentIssued(
        message.ref.title,
        _enum_name(message, "type", message.type),
        message.number,
        from_money(message.document_amount),
    )
    return Draft(message.ref.customer, message.document, facts)


# None where another notice says it.
Reader = Callable[[Any], Draft | None]

READERS: Mapping[str, Sequence[tuple[Any, Reader]]] = {
    "SCHEDULER": (
        (scheduler_events_pb2.OrderUpcoming, order_upcoming),
        (scheduler_events_pb2.OrderConfirmed, order_confirmed),
        (scheduler_events_pb2.OrderSkipped, order_skipped),
        (scheduler_events_pb2.OrderHeld, order_held),
        (scheduler_events_pb2.OrderLapsed, order_lapsed),
        (scheduler_events_pb2.OrderCancelled, order_cancelled),
        (scheduler_events_pb2.StandingOrderChanged, standing_order_changed),
        (scheduler_events_pb2.ItemDiscontinued, item_discontinued),
        (scheduler_events_pb2.PaymentWithdrawn, about_order),
        (scheduler_events_pb2.SubscriberPriceChangeScheduled, price_change_scheduled),
        (scheduler_events_pb2.SubscriberPriceChangeWithdrawn, price_change_withdrawn),
        (scheduler_events_pb2.PriceProtectionEnding, price_protection_ending),
        (scheduler_events_pb2.PromotionEnding, promotion_ending),
    ),
    "PAYMENTS": (
        (payments_events_pb2.PaymentRequested, payment_requested),
        (payments_events_pb2.PaymentRequestReminder, payment_request_reminder),
        (payments_events_pb2.PaymentActionRequired, payment_action_required),
        (payments_events_pb2.PaymentDeclined, payment_declined),
        (payments_events_pb2.PaymentMethodBlocked, payment_method_blocked),
        (payments_events_pb2.PaymentMethodExpiring, payment_method_expiring),
        (payments_events_pb2.RefundSucceeded, refund_succeeded),
        (payments_events_pb2.DocumentIssued, document_issued),
        (payments_events_pb2.DisputeOpened, dispute_opened),
        (payments_events_pb2.DisputeClosed, dispute_closed),
        (payments_events_pb2.PaymentSucceeded, about_order),
        (payments_events_pb2.PaymentRefused, about_order),
        (payments_events_pb2.PaymentAbandoned, about_order),
        (payments_events_pb2.PaymentOverdue, payment_overdue),
    ),
}


def subscriptions(clock: Clock) -> Subscriptions:
    """The events that notify consumes, by their stream: all, since platforms may want any of them."""
    readers = {
        message_type: reader for handled in READERS.values() for message_type, reader in handled
    }
    return {
        stream: tuple(
            _subscription(clock, message_type, readers.get(message_type))
            for message_type in message_types
        )
        for stream, message_types in webhooks.EVENTS.items()
    }


def _subscription(clock: Clock, message_type: Any, reader: Reader | None) -> Subscription:  # noqa: ANN401
    async def handle(tx: Connection, events: Sequence[Event[Any]]) -> None:
        if reader is not None:
            read = [(event, reader(event.message)) for event in events]
            drafts = [(event, draft) for event, draft in read if draft is not None]
            await create_notices(tx, _missed_together(drafts), clock.now())
        await webhooks.keep(tx, events, clock.now())

    return Subscription(message_type, handle)


def _missed_together(
    drafts: Sequence[tuple[Event[Any], Draft]],
) -> list[tuple[Event[Any], Draft]]:
    """Drafts, with one notice for all orders of a standing order that were missed together.

    Those of one instant were decided together, in one transaction and so in one batch. Their notice has
    its key from that, so that it is the same if one of them comes again by itself. Each of them makes
    untrue what was said of its own order.
    """
    result: list[tuple[Event[Any], Draft]] = []
    missed: dict[str, int] = {}
    for event, draft in drafts:
        facts = draft.facts
        if not isinstance(facts, kinds.OrderSkipped) or facts.reasons != ("MISSED",):
            result.append((event, draft))
            continue
        standing_order = draft.subject_resource.rpartition("/orders/")[0]
        key = f"{standing_order}|MISSED|{event.occur_time.isoformat()}"
        index = missed.setdefault(key, len(result))
        if index == len(result):
            result.append((event, draft._replace(shared_key=key)))
            continue
        result.append((event, draft._replace(facts=None)))
        first = result[index][1].facts
        assert isinstance(first, kinds.OrderSkipped)  # noqa: S101 - it was put there as one
        together = replace(
            first,
            due_time=min(first.due_time, facts.due_time),
            last_due_time=max(first.last_due_time or first.due_time, facts.due_time),
            order_count=first.order_count + 1,
        )
        result[index] = result[index][0], result[index][1]._replace(facts=together)
    return result


def _lines(lines: Sequence[scheduler_pb2.OrderLine]) -> tuple[Line, ...]:
    return tuple(
        Line(
            line.title,
            line.quantity,
            from_money(line.gross_amount),
            tuple(product.title or product.product for product in line.replaced),
            tuple(
                Promotion(step.promotion_title, from_money(step.amount))
                for step in line.adjustments
                if step.promotion
            ),
        )
        for line in lines
    )


def _taxes(lines: Sequence[scheduler_pb2.OrderLine]) -> tuple[Tax, ...]:
    """The taxes on all lines together, each once; those of a tax service have no name of their own."""
    taxes: dict[tuple[str, str, int, str], Tax] = {}
    for line in lines:
        for tax in line.taxes:
            amount = from_money(tax.amount)
            key = (tax.tax_rate, tax.title, tax.rate_ppm, tax.treatment)
            before = taxes.get(key)
            if before is not None:
                amount = Money(amount.amount_minor + before.amount.amount_minor, amount.currency)
            not_charged = "" if tax.treatment == CHARGED else tax.treatment
            taxes[key] = Tax(tax.title, tax.rate_ppm, amount, not_charged)
    return tuple(taxes.values())


def _reasons(numbers: Sequence[int]) -> tuple[str, ...]:
    """The reasons' names; a reason of a newer scheduler has its number for a name."""
    names = scheduler_pb2.OrderReason.DESCRIPTOR.values_by_number
    return tuple(names[n].name if n in names else str(n) for n in numbers)


def _enum_name(message: Any, field: str, number: int) -> str:  # noqa: ANN401 - any message
    names = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return names[number].name if number in names else str(number)


def _optional_time(message: Any, field: str) -> datetime | None:  # noqa: ANN401 - any message
    stamp: timestamp_pb2.Timestamp = getattr(message, field)
    return from_timestamp(stamp) if message.HasField(field) else None
