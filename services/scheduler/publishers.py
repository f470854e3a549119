"""The scheduler's events: orders that came into a state, standing orders that changed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from google.protobuf import duration_pb2, timestamp_pb2
from google.type import money_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import events_pb2, scheduler_pb2

from services.runtime.messaging.events import OutboxEvent
from services.runtime.money import Money
from services.runtime.observability import tracing
from services.runtime.rpc.conversions import optional_timestamp, to_date, to_money, to_timestamp
from services.scheduler.domain.cycles import next_due_time, paid_period
from services.scheduler.domain.ids import StandingOrderKey
from services.scheduler.domain.order import (
    PAYMENT_METHOD_BLOCKED,
    Line,
    Order,
    OrderReason,
    OrderState,
    awaits_confirmation,
    mandate_reasons,
)
from services.scheduler.domain.price_changes import Impact, PriceChange, Recipient
from services.scheduler.domain.promotion_ends import PromotionEnd
from services.scheduler.domain.slots import booking_expire_time
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.domain.substitution import DiscontinuedProduct
from services.scheduler.domain.terms import BillingMode
from services.scheduler.names import (
    NOTICE,
    PRICE,
    customer_name,
    order_name,
    product_name,
    standing_order_name,
)

_CACHED_LINES = 16_384
_WITH_SLOTS = frozenset({OrderState.UPCOMING, OrderState.HELD, OrderState.AWAITING_PAYMENT})


def order_events(
    order: Order,
    standing_order: StandingOrder,
    now: datetime,
    *,
    payment_begins: bool = False,
    next_open_time: datetime | None = None,
    link_uri: str = "",
) -> list[OutboxEvent]:
    """The events of an order that has just come into its state.

    `next_open_time` is when the next cycle is due whose order is open already, if there is one;
    `link_uri` is where the customer acts on the notice, if there is a page for that.
    """
    ref = _ref(order)
    reasons = [scheduler_pb2.OrderReason.Value(reason) for reason in order.reasons]
    message: Any
    suffix = ""
    match order.state:
        case OrderState.UPCOMING:
            message = _upcoming(order, standing_order, ref, link_uri)
            suffix = f"#{order.announcement_count}"
        case OrderState.AWAITING_PAYMENT if payment_begins:
            message = _payment_due(order, standing_order, ref, now)
        case OrderState.PAID:
            message = _confirmed(order, standing_order, ref, next_open_time, link_uri)
        case OrderState.SKIPPED:
            message = events_pb2.OrderSkipped(ref=ref, reason=reasons[0])
            # A customer can take a skip back, and skip it again after it was announced again.
            suffix = f"#{order.announcement_count}"
        case OrderState.HELD:
            message = events_pb2.OrderHeld(
                ref=ref,
                reasons=reasons,
                customer_asked=awaits_confirmation(order),
                mandate_reasons=map(payments_pb2.RefusalReason.Value, mandate_reasons(order)),
                link_uri=link_uri,
            )
            # Each hold that was decided is one: for something else, or again after something else.
            suffix = f"#{order.announcement_count}:{','.join(order.reasons)}@{order.version}"
        case OrderState.LAPSED:
            message = events_pb2.OrderLapsed(
                ref=ref,
                reasons=reasons,
                payment_method_blocked=any(
                    decision.data.get(PAYMENT_METHOD_BLOCKED, False) for decision in order.decisions
                ),
                late_payment_until_time=_timestamp(order.late_payment_until_time),
            )
        case OrderState.CANCELLED:
            message = events_pb2.OrderCancelled(ref=ref, reason=reasons[0])
        case _:
            return []
    events = [_order_event(order, message, suffix, now)]
    if order.services and order.state in _WITH_SLOTS:
        events.append(_slots_booked(order, ref, now))
    return events


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
    link_uri: str = "",
) -> OutboxEvent:
    """A standing order was created, paused, resumed, cancelled or came to its end.

    `next_open_time` is when the next cycle is due whose order is open already, if there is one;
    `reason` is why it was paused or cancelled by itself; `link_uri` is where the customer acts on it.
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
        link_uri=link_uri,
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


def item_discontinued(
    standing_order: StandingOrder,
    product: DiscontinuedProduct,
    substitute_title: str,
    now: datetime,
) -> OutboxEvent:
    """A product of a standing order went off sale for good; it goes on, or is paused already."""
    merchant = standing_order.merchant
    name = standing_order_name(merchant, standing_order.standing_order)
    message = events_pb2.ItemDiscontinued(
        standing_order=name,
        customer=customer_name(merchant, standing_order.customer),
        title=standing_order.title,
        product=product_name(merchant, product.product),
        product_title=product.title,
        substitute_title=substitute_title,
    )
    return OutboxEvent(
        key=f"{name}#{product.product}",
        message=message,
        tenant=merchant,
        partition_key=name,
        occur_time=now,
    )


def price_change_scheduled(
    recipient: Recipient,
    changes: Sequence[tuple[StandingOrder, Impact]],
    links: Mapping[StandingOrderKey, str],
    now: datetime,
) -> OutboxEvent:
    """A price changes what standing orders of one customer cost; the recipient is the first of them."""
    message = events_pb2.SubscriberPriceChangeScheduled(
        customer=customer_name(recipient.merchant, recipient.customer),
        product=product_name(recipient.merchant, recipient.product),
        product_title=recipient.title,
        price=PRICE.format(*recipient.change_key),
        changes=[_price_change(*change, links.get(change[0].key, "")) for change in changes],
        announce_time=to_timestamp(recipient.announce_time),
    )
    first = standing_order_name(*recipient.key)
    return OutboxEvent(
        # A correction announces it again.
        key=f"{message.price}@{recipient.announce_time.isoformat()}|{first}",
        message=message,
        tenant=recipient.merchant,
        partition_key=first,
        occur_time=now,
        traceparent=tracing.new_traceparent("notify of price change"),
    )


def price_change_withdrawn(
    change: PriceChange | Recipient,
    notice: str,
    changes: Sequence[tuple[StandingOrder, Impact]],
    now: datetime,
) -> OutboxEvent:
    """A price will not take effect that one customer was notified of, by a notice (id)."""
    (first, _), merchant = changes[0], change.merchant
    message = events_pb2.SubscriberPriceChangeWithdrawn(
        customer=customer_name(merchant, first.customer),
        product=product_name(merchant, change.product),
        product_title=change.title,
        price=PRICE.format(merchant, change.product, change.price),
        changes=[_price_change(*one) for one in changes],
        notice=NOTICE.format(merchant, first.customer, notice),
    )
    return OutboxEvent(
        key=message.notice,
        message=message,
        tenant=merchant,
        partition_key=standing_order_name(*first.key),
        occur_time=now,
        traceparent=tracing.new_traceparent("notify of price change"),
    )


def price_protection_ending(
    standing_order: StandingOrder, first_unprotected_time: datetime, now: datetime
) -> OutboxEvent:
    """The present protection of a standing order's prices is about to end."""
    agreement = standing_order.price_agreement
    name = standing_order_name(*standing_order.key)
    message = events_pb2.PriceProtectionEnding(
        standing_order=name,
        customer=customer_name(standing_order.merchant, standing_order.customer),
        title=standing_order.title,
        time_zone=standing_order.schedule.time_zone,
        offer=agreement.offer if agreement else "",
        end_time=optional_timestamp(standing_order.protection_end_time),
        first_unprotected_time=to_timestamp(first_unprotected_time),
    )
    agreed = agreement.agree_time.isoformat() if agreement else ""
    return OutboxEvent(
        # Once a protection.
        key=f"{name}@{agreed}",
        message=message,
        tenant=standing_order.merchant,
        partition_key=name,
        occur_time=now,
        traceparent=tracing.new_traceparent("notify of price protection"),
    )


def promotion_ending(ending: PromotionEnd, link_uri: str, now: datetime) -> OutboxEvent:
    """The promotion of a standing order is about to end."""
    standing_order, promotion = ending.standing_order, ending.promotion
    name = standing_order_name(*standing_order.key)
    message = events_pb2.PromotionEnding(
        standing_order=name,
        customer=customer_name(standing_order.merchant, standing_order.customer),
        title=standing_order.title,
        time_zone=standing_order.schedule.time_zone,
        promotion=promotion.promotion,
        promotion_title=promotion.title,
        first_cycle=ending.first_cycle,
        first_due_time=to_timestamp(ending.first_due_time),
        amount=_optional_money(ending.amount),
        previous_amount=_optional_money(ending.previous_amount),
        link_uri=link_uri,
    )
    return OutboxEvent(
        # A standing order redeems one promotion, once.
        key=name,
        message=message,
        tenant=standing_order.merchant,
        partition_key=name,
        occur_time=now,
        traceparent=tracing.new_traceparent("notify of the end of a promotion"),
    )


def _optional_money(amount: Money | None) -> money_pb2.Money | None:
    return to_money(amount.amount_minor, amount.currency) if amount else None


def _price_change(
    standing_order: StandingOrder, impact: Impact, link_uri: str = ""
) -> events_pb2.SubscriberPriceChange:
    return events_pb2.SubscriberPriceChange(
        standing_order=standing_order_name(*standing_order.key),
        title=standing_order.title,
        time_zone=standing_order.schedule.time_zone,
        first_cycle=impact.first_cycle,
        first_due_time=to_timestamp(impact.first_due_time),
        amount=to_money(impact.amount_minor, impact.currency),
        previous_amount=to_money(impact.previous_minor, impact.currency),
        link_uri=link_uri,
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
        list_amount=to_money(line.list_amount_minor, currency),
        list_price=line.list_price,
        adjustments=_adjustment_messages(line, currency),
        replaced=[
            scheduler_pb2.ReplacedProduct(product=product, title=title)
            for product, title in line.replaced
        ],
        net_amount=to_money(line.gross_minor - line.tax_minor, currency),
        tax_amount=to_money(line.tax_minor, currency),
        gross_amount=to_money(line.gross_minor, currency),
        taxes=_tax_messages(line, currency),
    )


# As those of an order's lines.
@lru_cache(maxsize=_CACHED_LINES)
def _payment_line(line: Line, currency: str) -> events_pb2.PaymentLine:
    return events_pb2.PaymentLine(
        product=line.product,
        quantity=line.quantity,
        net_amount=to_money(line.gross_minor - line.tax_minor, currency),
        taxes=_tax_messages(line, currency),
        title=line.title,
        list_amount=to_money(line.list_amount_minor, currency),
        adjustments=_adjustment_messages(line, currency),
    )


def _adjustment_messages(line: Line, currency: str) -> list[scheduler_pb2.OrderLineAdjustment]:
    return [
        scheduler_pb2.OrderLineAdjustment(
            kind=adjustment.kind,
            amount=to_money(adjustment.amount_minor, currency),
            price=adjustment.price,
            promotion=adjustment.promotion,
            promotion_title=adjustment.promotion_title,
            rule=adjustment.rule,
            offer=adjustment.offer,
            beaten_price=adjustment.beaten_price,
        )
        for adjustment in line.adjustments
    ]


def _tax_messages(line: Line, currency: str) -> list[scheduler_pb2.OrderLineTax]:
    return [
        scheduler_pb2.OrderLineTax(
            tax_rate=tax.tax_rate,
            title=tax.title,
            rate_ppm=tax.rate_ppm,
            compound=tax.compound,
            treatment=tax.treatment,
            amount=to_money(tax.amount_minor, currency),
        )
        for tax in line.taxes
    ]


def _ref(order: Order) -> events_pb2.OrderRef:
    return events_pb2.OrderRef(
        order=order_name(order.key),
        customer=customer_name(order.key.merchant, order.customer),
        title=order.terms.title,
        billing_mode=scheduler_pb2.BillingMode.Value(order.terms.billing_mode),
        time_zone=order.terms.time_zone,
        due_time=to_timestamp(order.due_time),
        announcement_count=order.announcement_count,
    )


def _upcoming(
    order: Order, standing_order: StandingOrder, ref: events_pb2.OrderRef, link_uri: str
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
        moved_from_date=to_date(order.moved_from_date) if order.moved_from_date else None,
        credit_amount=_credit(order),
        link_uri=link_uri,
        evidence_is_free=order.evidence_is_free,
    )


def _payment_due(
    order: Order, standing_order: StandingOrder, ref: events_pb2.OrderRef, now: datetime
) -> events_pb2.PaymentDue:
    on_notice = order.terms.billing_mode is BillingMode.PAY_ON_NOTICE
    period_start_date, period_end_date = paid_period(standing_order, order)
    return events_pb2.PaymentDue(
        ref=ref,
        amount=to_money(order.amount_minor or 0, order.currency),
        mandate=order.terms.mandate,
        expire_time=_timestamp(now + order.terms.payment_window if on_notice else None),
        charge_rules=(
            catalog_pb2.ChargeRules.FromString(order.charge_rules.message)
            if order.charge_rules
            else None
        ),
        lines=[_payment_line(line, order.currency) for line in order.lines],
        region_code=order.region_code,
        # What is done on a day cannot be had when that is over.
        late_payment_days=0 if order.services else standing_order.late_payment_days,
        period_start_date=to_date(period_start_date),
        period_end_date=to_date(period_end_date),
    )


def _confirmed(
    order: Order,
    standing_order: StandingOrder,
    ref: events_pb2.OrderRef,
    next_open_time: datetime | None,
    link_uri: str,
) -> events_pb2.OrderConfirmed:
    return events_pb2.OrderConfirmed(
        ref=ref,
        amount=to_money(order.amount_minor or 0, order.currency),
        lines=line_messages(order.lines, order.currency),
        pay_time=to_timestamp(order.pay_time or order.due_time),
        standing_order_state=scheduler_pb2.StandingOrder.State.Value(standing_order.state),
        next_due_time=_timestamp(next_open_time or next_due_time(standing_order)),
        paid_late=OrderReason.PAID_LATE in order.reasons,
        credit_amount=_credit(order),
        link_uri=link_uri,
        services=[product_name(order.key.merchant, service) for service in order.services],
    )


def _slots_booked(order: Order, ref: events_pb2.OrderRef, now: datetime) -> OutboxEvent:
    expire_time = to_timestamp(booking_expire_time(order.due_time, now))
    message = events_pb2.OrderSlotsBooked(ref=ref, expire_time=expire_time)
    return _order_event(order, message, f"#{order.announcement_count}@{order.version}", now)


def _credit(order: Order) -> money_pb2.Money | None:
    return to_money(order.credit_minor, order.currency) if order.credit_minor else None


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
