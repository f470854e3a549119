"""The events that notify publishes."""

from datetime import datetime
from typing import Any

from recurring.notify.v1 import events_pb2, notify_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.notify.domain.notices import Contact, Notice
from services.notify.names import CUSTOMER, NOTICE
from services.runtime.messaging.events import OutboxEvent
from services.runtime.observability import tracing
from services.runtime.rpc.conversions import to_money, to_timestamp


def notice_delivered(notice: Notice, deliver_time: datetime) -> OutboxEvent:
    """A notice reached the customer by its main channel."""
    message = events_pb2.NoticeDelivered(
        notice=NOTICE.format(*notice.key),
        customer=CUSTOMER.format(*notice.customer_key),
        kind=notify_pb2.NoticeKind.Value(notice.kind),
        subject_resource=notice.subject_resource,
        deliver_time=to_timestamp(deliver_time),
    )
    if notice.promise is not None:
        promise = notice.promise
        message.charge_promise.CopyFrom(
            events_pb2.ChargePromise(
                amount=to_money(promise.amount_minor, promise.currency),
                charge_not_before_time=to_timestamp(
                    promise.charge_not_before_if_delivered(deliver_time)
                ),
                billing_mode=scheduler_pb2.BillingMode.Value(promise.billing_mode),
            )
        )
    return _notice_event(notice, message, deliver_time)


def notice_failed(notice: Notice, failure_code: str, now: datetime) -> OutboxEvent:
    """A notice could not be delivered by its main channel."""
    message = events_pb2.NoticeFailed(
        notice=NOTICE.format(*notice.key),
        customer=CUSTOMER.format(*notice.customer_key),
        kind=notify_pb2.NoticeKind.Value(notice.kind),
        subject_resource=notice.subject_resource,
        failure_code=failure_code,
    )
    return _notice_event(notice, message, now)


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


def _notice_event(notice: Notice, message: Any, now: datetime) -> OutboxEvent:  # noqa: ANN401
    return OutboxEvent(
        key=message.notice,
        message=message,
        tenant=notice.merchant,
        partition_key=message.customer,
        occur_time=now,
        traceparent=tracing.continued(f"deliver {notice.kind}", notice.traceparent),
    )
