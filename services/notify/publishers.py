"""The events that notify publishes."""

from datetime import datetime
from typing import Any

from recurring.notify.v1 import events_pb2, notify_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.notify.domain.notices import Contact, Notice, Promise, UnbindReason
from services.notify.domain.transitions import DeliveryState
from services.notify.domain.webhooks import WebhookEndpoint
from services.notify.names import CUSTOMER, NOTICE, WEBHOOK_ENDPOINT
from services.runtime.messaging.events import OutboxEvent
from services.runtime.observability import tracing
from services.runtime.rpc.conversions import optional_timestamp, to_money, to_timestamp


def notice_delivered(notice: Notice, deliver_time: datetime) -> OutboxEvent:
    """A notice reached the customer by its main channel.

    Each delivery is a fact of its own: a notice whose delivery was lost with its record is sent again.
    """
    name, customer = NOTICE.format(*notice.key), CUSTOMER.format(*notice.customer_key)
    message: Any
    if notice.price_notice is not None:
        message = events_pb2.PriceNoticeDelivered(
            notice=name,
            customer=customer,
            price=notice.price_notice.price,
            announce_time=to_timestamp(notice.price_notice.announce_time),
            standing_orders=notice.price_notice.standing_orders,
            deliver_time=to_timestamp(deliver_time),
        )
    elif notice.promise is None:
        message = events_pb2.NoticeDelivered(
            notice=name,
            customer=customer,
            kind=notify_pb2.NoticeKind.Value(notice.kind),
            subject_resource=notice.subject_resource,
            deliver_time=to_timestamp(deliver_time),
        )
    else:
        message = events_pb2.ChargeNoticeDelivered(
            notice=name,
            customer=customer,
            order=notice.subject_resource,
            deliver_time=to_timestamp(deliver_time),
            charge_promise=_charge_promise(notice.promise, deliver_time),
        )
    return _notice_event(notice, message, deliver_time, f"{name}#{deliver_time.isoformat()}")


def notice_failed(notice: Notice, failure_code: str, now: datetime) -> OutboxEvent:
    """A notice could not be delivered by its main channel."""
    name, customer = NOTICE.format(*notice.key), CUSTOMER.format(*notice.customer_key)
    if notice.promise is None:
        message: Any = events_pb2.NoticeFailed(
            notice=name,
            customer=customer,
            kind=notify_pb2.NoticeKind.Value(notice.kind),
            subject_resource=notice.subject_resource,
            failure_code=failure_code,
        )
    else:
        message = events_pb2.ChargeNoticeFailed(
            notice=name,
            customer=customer,
            order=notice.subject_resource,
            failure_code=failure_code,
        )
    return _notice_event(notice, message, now, name)


def notice_ended(
    notice: Notice,
    outcome: DeliveryState,
    deliver_time: datetime | None,
    failure_code: str,
    now: datetime,
) -> list[OutboxEvent]:
    """What is published of a notice that ended."""
    if outcome is DeliveryState.DELIVERED and deliver_time is not None:
        return [notice_delivered(notice, deliver_time)]
    if outcome is DeliveryState.FAILED:
        return [notice_failed(notice, failure_code, now)]
    return []


def _charge_promise(promise: Promise, deliver_time: datetime) -> events_pb2.ChargePromise:
    return events_pb2.ChargePromise(
        amount=to_money(promise.amount_minor, promise.currency),
        charge_not_before_time=to_timestamp(promise.charge_not_before_if_delivered(deliver_time)),
        billing_mode=scheduler_pb2.BillingMode.Value(promise.billing_mode),
    )


def contact_bound(contact: Contact, now: datetime) -> OutboxEvent:
    """A customer proved that a phone is theirs."""
    customer = CUSTOMER.format(*contact.key)
    message = events_pb2.ContactBound(customer=customer, bind_time=to_timestamp(now))
    return OutboxEvent(
        key=f"{customer}#{contact.bind_count}",
        message=message,
        tenant=contact.key.merchant,
        partition_key=customer,
        occur_time=now,
    )


def contact_unbound(contact: Contact, reason: UnbindReason, now: datetime) -> OutboxEvent:
    """A customer has no phone any more that notices can go to."""
    customer = CUSTOMER.format(*contact.key)
    message = events_pb2.ContactUnbound(
        customer=customer,
        unbind_time=to_timestamp(now),
        reason=notify_pb2.UnbindReason.Value(reason),
    )
    return OutboxEvent(
        key=f"{customer}#{contact.bind_count}",
        message=message,
        tenant=contact.key.merchant,
        partition_key=customer,
        occur_time=now,
    )


def _notice_event(
    notice: Notice,
    message: Any,  # noqa: ANN401 - of four types
    now: datetime,
    key: str,
) -> OutboxEvent:
    return OutboxEvent(
        key=key,
        message=message,
        tenant=notice.merchant,
        partition_key=message.customer,
        occur_time=now,
        traceparent=tracing.continued(f"deliver {notice.kind}", notice.traceparent),
    )


def webhook_endpoint_disabled(endpoint: WebhookEndpoint, disable_time: datetime) -> OutboxEvent:
    """An endpoint was disabled, since it takes nothing."""
    name = WEBHOOK_ENDPOINT.format(*endpoint.key)
    reason = endpoint.disable_reason
    message = events_pb2.WebhookEndpointDisabled(
        webhook_endpoint=name,
        disable_reason=notify_pb2.WebhookEndpoint.DisableReason.Value(
            reason or "DISABLE_REASON_UNSPECIFIED"
        ),
        disable_time=to_timestamp(disable_time),
        failing_since_time=optional_timestamp(endpoint.failing_since_time),
    )
    return OutboxEvent(
        key=f"{name}#{disable_time.isoformat()}",
        message=message,
        tenant=endpoint.merchant,
        partition_key=name,
        occur_time=disable_time,
    )
