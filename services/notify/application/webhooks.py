"""Webhooks: events of the suite that platforms want by HTTPS, kept, queued, and sent again."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from recurring.catalog.v1 import events_pb2 as catalog_events_pb2
from recurring.notify.v1 import events_pb2 as notify_events_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import events_pb2 as payments_events_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2

from services.notify.application import webhook_endpoints
from services.notify.domain.notices import MerchantId
from services.notify.domain.webhooks import (
    REPLAY_MAX_EVENTS,
    RETENTION,
    EndpointKey,
    WebhookDelivery,
)
from services.notify.names import WEBHOOK_ENDPOINT
from services.notify.store import webhooks
from services.notify.store.webhooks import KeptEvent, Span
from services.runtime.db.idempotency import derived_id
from services.runtime.db.pool import Connection, Database
from services.runtime.errors import not_found, wrong_state
from services.runtime.messaging.events import Event
from services.runtime.mutations import Applied
from services.runtime.workers.clock import Clock

PING_TYPE = notify_pb2.WebhookPing.DESCRIPTOR.full_name
PURGE_POLL_SECONDS = 600.0
PURGE_DEADLINE_SECONDS = 60.0
PURGE_BATCH_ROWS = 5000


def _event_types(file: Any) -> tuple[Any, ...]:  # noqa: ANN401 - a module of generated messages
    """The events of a file: the messages that no other one is made of."""
    messages = file.DESCRIPTOR.message_types_by_name
    used = {
        field.message_type.full_name
        for message in messages.values()
        for field in message.fields
        if field.message_type is not None
    }
    return tuple(
        getattr(file, name) for name, message in messages.items() if message.full_name not in used
    )


# Every event of the suite, by its stream.
EVENTS: Mapping[str, Sequence[type[Message]]] = {
    "CATALOG": _event_types(catalog_events_pb2),
    "SCHEDULER": _event_types(scheduler_events_pb2),
    "PAYMENTS": _event_types(payments_events_pb2),
    "NOTIFY": _event_types(notify_events_pb2),
}
EVENT_TYPES = frozenset(
    message_type.DESCRIPTOR.full_name for events in EVENTS.values() for message_type in events
)


async def keep(tx: Connection, events: Sequence[Event[Any]], now: datetime) -> None:
    """Queue events of one type for the endpoints that want them; nothing is done about others."""
    event_type = events[0].message.DESCRIPTOR.full_name
    merchants = {MerchantId(event.tenant) for event in events}
    wanting = await webhooks.wanting(tx, merchants, event_type)
    kept = [
        KeptEvent(MerchantId(event.tenant), event.id, event.occur_time, _body_of(event))
        for event in events
        if event.tenant in wanting
    ]
    await webhooks.keep(tx, kept, event_type, now)


async def ping(
    tx: Connection, key: EndpointKey, request_id: str, now: datetime
) -> Applied[WebhookDelivery]:
    """Queue a WebhookPing for an endpoint.

    Raises NOT_FOUND WEBHOOK_ENDPOINT_NOT_FOUND, FAILED_PRECONDITION WEBHOOK_ENDPOINT_DISABLED.
    """
    await webhook_endpoints.enabled(tx, key, lock=True)
    name = WEBHOOK_ENDPOINT.format(*key)
    event_id = derived_id("webhook-ping", name, request_id)
    message = notify_pb2.WebhookPing(webhook_endpoint=name)
    body = _body(event_id, PING_TYPE, now, name, key.merchant, message)
    return Applied(await webhooks.put(tx, key, event_id, PING_TYPE, body, now))


async def replay(
    tx: Connection, key: EndpointKey, wanted: UUID | Span, now: datetime
) -> Applied[int]:
    """Send an event, or those of a time, again. Raises what `to_replay` raises."""
    event_ids = await to_replay(tx, key, wanted, now, lock=True)
    return Applied(await webhooks.replay(tx, key, event_ids, now))


async def to_replay(
    connection: Connection,
    key: EndpointKey,
    wanted: UUID | Span,
    now: datetime,
    *,
    lock: bool = False,
) -> list[UUID]:
    """The events to send again to an endpoint, which is locked if `lock` is set.

    Raises NOT_FOUND WEBHOOK_ENDPOINT_NOT_FOUND, WEBHOOK_EVENT_NOT_FOUND, FAILED_PRECONDITION
    WEBHOOK_ENDPOINT_DISABLED, WEBHOOK_REPLAY_TOO_LARGE.
    """
    endpoint = await webhook_endpoints.enabled(connection, key, lock=lock)
    if isinstance(wanted, UUID):
        waiting = await webhooks.is_waiting(connection, key, wanted, now - RETENTION)
        if waiting is None:
            raise not_found("WEBHOOK_EVENT_NOT_FOUND", f"event {wanted}")
        return [] if waiting else [wanted]
    event_ids = await webhooks.between(
        connection, key, endpoint.event_types, wanted, PING_TYPE, now - RETENTION
    )
    if len(event_ids) > REPLAY_MAX_EVENTS:
        message = f"more than {REPLAY_MAX_EVENTS} events: choose less time"
        raise wrong_state("WEBHOOK_REPLAY_TOO_LARGE", message)
    return event_ids


async def purge(database: Database, clock: Clock) -> None:
    """Delete what is older than the retention."""
    deleted = PURGE_BATCH_ROWS
    while deleted >= PURGE_BATCH_ROWS:
        async with database.begin(wake_workers=False) as tx:
            deleted = await webhooks.purge(tx, clock.now(), RETENTION, PURGE_BATCH_ROWS)


def _body_of(event: Event[Any]) -> bytes:
    return _body(
        event.id,
        event.message.DESCRIPTOR.full_name,
        event.occur_time,
        event.partition_key,
        event.tenant,
        event.message,
    )


def _body(
    event_id: UUID,
    event_type: str,
    occur_time: datetime,
    partition_key: str,
    merchant: str,
    message: Message,
) -> bytes:
    """An event in CloudEvents' JSON format, its data in protobuf JSON, as the clients write it."""
    event = {
        "specversion": "1.0",
        "id": str(event_id),
        "type": event_type,
        "source": f"//recurring/{event_type.split('.')[1]}",
        "time": occur_time.isoformat(),
        "partitionkey": partition_key,
        "tenant": merchant,
        "datacontenttype": "application/json",
        "data": MessageToDict(message),
    }
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
