"""Batches of events: CloudEvents 1.0 in the protobuf format, as services exchange them.

What one transaction publishes of one type is one batch, or several if it is too large for one. A
platform gets each event by itself, in NATS binary mode. Sources: CloudEvents 1.0 core, its protobuf
format (§3: data that is a protobuf message is `proto_data`; §5: batches), its NATS protocol binding
(attributes as `ce-` headers) and its `partitionkey` extension; W3C trace context for `traceparent`.
"""

import functools
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from recurring.cloudevents.v1.cloudevents_pb2 import CloudEvent, CloudEventBatch

from services.runtime.messaging.events import EVENT_NAMESPACE, Event, M, OutboxEvent
from services.runtime.rpc.conversions import from_timestamp, to_timestamp

BATCH_CONTENT_TYPE = "application/cloudevents-batch+protobuf"
EVENT_CONTENT_TYPE = "application/protobuf"
SPEC_VERSION = "1.0"
BATCH_MAX_EVENTS = 500
# A quarter of the broker's maximum for a message; so much is handled well before it is delivered again.
BATCH_MAX_BYTES = 256 * 1024
_TYPE_URL_PREFIX = "type.googleapis.com/"
_TIME, _PARTITION_KEY, _TENANT, _TRACE = "time", "partitionkey", "tenant", "traceparent"


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one type that one transaction publishes."""

    batch_id: uuid.UUID
    type: str
    # Distinct, in order.
    tenants: tuple[str, ...]
    event_ids: tuple[uuid.UUID, ...]
    partition_keys: tuple[str, ...]
    # Of the first event.
    occur_time: datetime
    # A CloudEventBatch.
    data: bytes


@dataclass(frozen=True, slots=True)
class _Encoded:
    event_id: uuid.UUID
    event: OutboxEvent
    # A CloudEventBatch of this event alone; such messages one after another are a batch of them all.
    data: bytes


def in_batches(events: Iterable[OutboxEvent], traceparent: str = "") -> list[Batch]:
    """Batches of the events, each once; an event without a trace gets the given one.

    Raises ValueError if an event is too large for any batch.
    """
    distinct: dict[str, dict[uuid.UUID, OutboxEvent]] = {}
    for event in events:
        distinct.setdefault(event.type, {}).setdefault(event.event_id, event)
    return [
        _batch(event_type, chunk)
        for event_type, of_type in distinct.items()
        for chunk in _chunks(
            _Encoded(event_id, event, _encode(event_id, event, event.traceparent or traceparent))
            for event_id, event in of_type.items()
        )
    ]


def _chunks(encoded: Iterable[_Encoded]) -> Iterator[list[_Encoded]]:
    chunk: list[_Encoded] = []
    size = 0
    for each in encoded:
        if len(each.data) > BATCH_MAX_BYTES:
            raise ValueError(f"an event {each.event.type} of {len(each.data)} bytes is too large")
        if len(chunk) == BATCH_MAX_EVENTS or size + len(each.data) > BATCH_MAX_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(each)
        size += len(each.data)
    yield chunk


def _batch(event_type: str, encoded: Sequence[_Encoded]) -> Batch:
    event_ids = tuple(each.event_id for each in encoded)
    return Batch(
        batch_id(event_ids),
        event_type,
        tuple(sorted({each.event.tenant for each in encoded})),
        event_ids,
        tuple(each.event.partition_key for each in encoded),
        encoded[0].event.occur_time,
        b"".join(each.data for each in encoded),
    )


def batch_id(event_ids: Sequence[uuid.UUID | str]) -> uuid.UUID:
    """The id of a batch, derived from those of its events."""
    return uuid.uuid5(EVENT_NAMESPACE, "|".join(map(str, event_ids)))


def _encode(event_id: uuid.UUID, event: OutboxEvent, traceparent: str) -> bytes:
    batch = CloudEventBatch()
    encoded = batch.events.add(
        id=str(event_id), source=_source(event.type), spec_version=SPEC_VERSION, type=event.type
    )
    encoded.proto_data.type_url = _TYPE_URL_PREFIX + event.type
    encoded.proto_data.value = event.message.SerializeToString(deterministic=True)
    attributes = encoded.attributes
    attributes[_TIME].ce_timestamp.CopyFrom(_timestamp(event.occur_time))
    attributes[_PARTITION_KEY].ce_string = event.partition_key
    attributes[_TENANT].ce_string = event.tenant
    if traceparent:
        attributes[_TRACE].ce_string = traceparent
    return batch.SerializeToString(deterministic=True)


# The same for all events of a transaction.
@functools.lru_cache(maxsize=16)
def _timestamp(moment: datetime) -> Timestamp:
    return to_timestamp(moment)


@functools.cache
def _source(event_type: str) -> str:
    _, service, *_ = event_type.split(".")
    return f"//recurring/{service}"


def read_batch(data: bytes) -> Sequence[CloudEvent]:
    """The events of a batch, each still to be read. Raises ValueError if it is not a batch."""
    try:
        events = CloudEventBatch.FromString(data).events
    except DecodeError as error:
        raise ValueError(f"not a batch of events: {error}") from error
    if not events:
        raise ValueError("not a batch of events: it has none")
    return events


def read_event(message_type: type[M], encoded: CloudEvent) -> Event[M]:
    """An event from the wire. Raises ValueError if it is malformed."""
    expected = message_type.DESCRIPTOR.full_name
    attributes = encoded.attributes
    missing = [name for name in (_PARTITION_KEY, _TENANT, _TIME) if name not in attributes]
    if missing or encoded.proto_data.TypeName() != expected:
        raise ValueError(f"not a well-formed {expected}: {', '.join(missing) or 'data'}")
    try:
        return Event(
            id=uuid.UUID(encoded.id),
            tenant=attributes[_TENANT].ce_string,
            partition_key=attributes[_PARTITION_KEY].ce_string,
            occur_time=from_timestamp(attributes[_TIME].ce_timestamp),
            traceparent=attributes[_TRACE].ce_string if _TRACE in attributes else "",
            message=message_type.FromString(encoded.proto_data.value),
        )
    except DecodeError as error:
        raise ValueError(f"not a well-formed {expected}: {error}") from error


def partition_key(encoded: CloudEvent) -> str:
    """What an event is about, as far as it says; it may be malformed."""
    return encoded.attributes[_PARTITION_KEY].ce_string if encoded.attributes else ""


def batch_headers(identifier: uuid.UUID) -> dict[str, str]:
    """The headers of a batch on the wire."""
    return {"content-type": BATCH_CONTENT_TYPE, "Nats-Msg-Id": str(identifier)}


def binary_events(
    data: bytes, tenants: frozenset[str]
) -> Iterator[tuple[str, dict[str, str], bytes]]:
    """Those events of a batch that are of one of the tenants: tenant, headers and body of each."""
    for encoded in read_batch(data):
        tenant = encoded.attributes[_TENANT].ce_string
        if tenant in tenants:
            yield tenant, _binary_headers(encoded), encoded.proto_data.value


def _binary_headers(encoded: CloudEvent) -> dict[str, str]:
    attributes = encoded.attributes
    trace = {_TRACE: attributes[_TRACE].ce_string} if _TRACE in attributes else {}
    head: Mapping[str, str] = {
        "ce-specversion": encoded.spec_version,
        "ce-id": encoded.id,
        "ce-type": encoded.type,
        "ce-source": encoded.source,
        "ce-time": from_timestamp(attributes[_TIME].ce_timestamp).isoformat(),
        "ce-partitionkey": attributes[_PARTITION_KEY].ce_string,
        "ce-tenant": attributes[_TENANT].ce_string,
        "content-type": EVENT_CONTENT_TYPE,
        "Nats-Msg-Id": encoded.id,
    }
    return {**head, **trace}
