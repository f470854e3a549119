"""The inbox: each batch of another service is handled once, in one transaction with its row here."""

import logging
import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recurring.cloudevents.v1.cloudevents_pb2 import CloudEvent

from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query, scalar
from services.runtime.messaging import failed_events
from services.runtime.messaging.batches import batch_id, partition_key, read_batch, read_event
from services.runtime.messaging.events import EVENT_NAMESPACE, Event, Handler, Subscription
from services.runtime.messaging.failed_events import RETRY_SECONDS, FailedEvent
from services.runtime.observability import tracing
from services.runtime.observability.outages import is_outage
from services.runtime.workers.bisection import bisect_set

log = logging.getLogger(__name__)

_NEW: Query[uuid.UUID] = Query(
    """
    INSERT INTO inbox (batch_id, partition_keys)
    SELECT batch_id, string_to_array(partition_keys, chr(10))
    FROM unnest(CAST(:batch_id AS uuid[]), CAST(:partition_keys AS text[]))
      AS batch (batch_id, partition_keys)
    ON CONFLICT (batch_id) DO NOTHING
    RETURNING batch_id
    """,
    scalar,
)

_BEGIN_PART = Command("SAVEPOINT part")
_END_PART = Command("RELEASE SAVEPOINT part")
_UNDO_PART = Command("ROLLBACK TO SAVEPOINT part")


@dataclass(frozen=True, slots=True)
class ReceivedBatch:
    """A batch of another service: the events that can be read, and those that cannot."""

    batch_id: uuid.UUID
    type: str
    events: Sequence[tuple[CloudEvent, Event[Any]]]
    failures: Sequence[FailedEvent]

    @property
    def partition_keys(self) -> list[str]:
        """What the batch is about."""
        keys = {event.partition_key for _, event in self.events}
        return sorted(keys | {failure.partition_key for failure in self.failures})


def receive(
    event_type: str, subscription: Subscription | None, data: bytes, delivery: str
) -> ReceivedBatch:
    """Read a batch, and each event in it; `delivery` identifies what has no id of its own.

    Without a subscription, none of its events can be handled.
    """
    try:
        encoded = read_batch(data)
    except ValueError as error:
        event_id = uuid.uuid5(EVENT_NAMESPACE, delivery)
        whole = CloudEvent(id=str(event_id), type=event_type, binary_data=data)
        failure = failed_events.failed(event_id, event_type, "", whole, error)
        return ReceivedBatch(event_id, event_type, (), (failure,))
    events: list[tuple[CloudEvent, Event[Any]]] = []
    failures: list[FailedEvent] = []
    ids = []
    for index, each in enumerate(encoded):
        try:
            if subscription is None:
                raise failed_events.unknown(event_type)
            event = read_event(subscription.message_type, each)
        except (LookupError, ValueError) as error:
            event_id, key = _event_id(each, f"{delivery}|{index}"), partition_key(each)
            failures.append(failed_events.failed(event_id, event_type, key, each, error))
            ids.append(event_id)
        else:
            events.append((each, event))
            ids.append(event.id)
    return ReceivedBatch(batch_id(ids), event_type, events, failures)


def _event_id(encoded: CloudEvent, otherwise: str) -> uuid.UUID:
    try:
        return uuid.UUID(encoded.id)
    except ValueError:
        return uuid.uuid5(EVENT_NAMESPACE, otherwise)


async def handle_new(
    tx: Connection,
    subscriptions: Mapping[str, Subscription],
    batches: Sequence[ReceivedBatch],
    *,
    apart: bool = False,
    retry_seconds: float = RETRY_SECONDS,
) -> Counter[str]:
    """Handle the batches that were not handled before; returns how many events of each type.

    All events of a type are one set. If they are handled `apart`, one that fails does not fail the
    others: it is kept as a failed event.
    """
    new_ids = set(
        await _NEW.all(
            tx,
            batch_id=[batch.batch_id for batch in batches],
            partition_keys=["\n".join(batch.partition_keys) for batch in batches],
        )
    )
    # A batch may be there twice.
    new = {batch.batch_id: batch for batch in batches if batch.batch_id in new_ids}.values()
    failures = [failure for batch in new for failure in batch.failures]
    # So may an event.
    by_type: dict[str, dict[uuid.UUID, tuple[CloudEvent, Event[Any]]]] = defaultdict(dict)
    for batch in new:
        by_type[batch.type].update((event.id, (encoded, event)) for encoded, event in batch.events)
    handled: Counter[str] = Counter()
    for event_type, known in by_type.items():
        events = [event for _, event in known.values()]
        if not events:
            continue
        handler = subscriptions[event_type].handler
        with tracing.consuming(event_type, [event.traceparent for event in events]):
            errors = await (_handle_apart if apart else _handle_together)(tx, handler, events)
        failures += [
            failed_events.failed(
                event.id, event_type, event.partition_key, known[event.id][0], error
            )
            for event, error in errors
        ]
        handled[event_type] = len(events) - len(errors)
    await failed_events.put(tx, failures, subscriptions, retry_seconds)
    return handled


# Events that failed, each by itself.
_Errors = Sequence[tuple[Event[Any], Exception]]


async def _handle_together(
    tx: Connection, handler: Handler, events: Sequence[Event[Any]]
) -> _Errors:
    await handler(tx, events)
    return ()


async def _handle_apart(tx: Connection, handler: Handler, events: Sequence[Event[Any]]) -> _Errors:
    """Handle what can be handled of a set, by halves; returns why single events failed."""
    errors: list[tuple[Event[Any], Exception]] = []

    async def handle(part: Sequence[Event[Any]]) -> None:
        await _BEGIN_PART.run(tx)
        try:
            await handler(tx, part)
        except Exception as error:
            # After an outage there is no transaction to undo it in.
            if not is_outage(error):
                await _UNDO_PART.run(tx)
                await _END_PART.run(tx)
            raise
        await _END_PART.run(tx)

    def fail(event: Event[Any], error: Exception) -> None:
        log.error("event failed", exc_info=error)
        errors.append((event, error))

    await bisect_set(events, handle, is_outage, fail)
    return errors
