"""Responses about webhooks, of the domain."""

from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration
from recurring.notify.v1 import notify_pb2

from services.notify.domain.webhooks import WebhookDelivery, WebhookEndpoint, WebhookState
from services.notify.names import WEBHOOK_DELIVERY, WEBHOOK_ENDPOINT
from services.notify.store.webhook_sending import Attempt
from services.runtime.rpc.conversions import etag, optional_timestamp, to_timestamp


def endpoint_message(endpoint: WebhookEndpoint) -> notify_pb2.WebhookEndpoint:
    """An endpoint, with its secret if it is new."""
    reason = endpoint.disable_reason
    return notify_pb2.WebhookEndpoint(
        name=WEBHOOK_ENDPOINT.format(*endpoint.key),
        url=endpoint.url,
        event_types=endpoint.event_types,
        description=endpoint.description,
        disabled=reason is not None,
        disable_reason=notify_pb2.WebhookEndpoint.DisableReason.Value(
            reason or "DISABLE_REASON_UNSPECIFIED"
        ),
        disable_time=optional_timestamp(endpoint.disable_time),
        secret=endpoint.secret,
        previous_secret_expire_time=optional_timestamp(endpoint.previous_secret_expire_time),
        failing_since_time=optional_timestamp(endpoint.failing_since_time),
        create_time=to_timestamp(endpoint.create_time),
        etag=etag(endpoint.version),
    )


def delivery_message(
    delivery: WebhookDelivery, attempts: Sequence[Attempt] = ()
) -> notify_pb2.WebhookDelivery:
    """A delivery with its attempts."""
    is_pending = delivery.state is WebhookState.PENDING
    return notify_pb2.WebhookDelivery(
        name=WEBHOOK_DELIVERY.format(*delivery.endpoint_key, str(delivery.event_id)),
        event_type=delivery.event_type,
        occur_time=to_timestamp(delivery.occur_time),
        state=notify_pb2.WebhookDelivery.State.Value(delivery.state),
        attempt_count=delivery.attempt_count,
        next_attempt_time=optional_timestamp(delivery.next_attempt_time if is_pending else None),
        deliver_time=optional_timestamp(delivery.deliver_time),
        failure_code=delivery.failure_code,
        attempts=map(_attempt_message, attempts),
        create_time=to_timestamp(delivery.create_time),
    )


def _attempt_message(attempt: Attempt) -> notify_pb2.WebhookDelivery.Attempt:
    duration = Duration()
    duration.FromTimedelta(attempt.answer.duration)
    return notify_pb2.WebhookDelivery.Attempt(
        start_time=to_timestamp(attempt.start_time),
        status_code=attempt.answer.status,
        duration=duration,
        answer=attempt.answer.text,
        failure_code=attempt.answer.failure_code,
    )


def replay_response(count: int) -> notify_pb2.ReplayWebhookDeliveriesResponse:
    """How many events are sent again."""
    return notify_pb2.ReplayWebhookDeliveriesResponse(replay_count=count)
