"""Events that could not be handled: tried again by themselves, then kept as dead letters.

Of a batch with such an event the others are handled, and the batch counts as handled: from then on the
event is here. The database counts its failures, so that they outlast restarts and cover all replicas.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from recurring.cloudevents.v1.cloudevents_pb2 import CloudEvent

from services.runtime.db.pool import Connection, Database
from services.runtime.db.statements import Command, Query, scalar
from services.runtime.messaging.batches import read_event
from services.runtime.messaging.events import Subscription
from services.runtime.observability import error_format, metrics, tracing
from services.runtime.observability.outages import is_outage
from services.runtime.workers.clock import Clock
from services.runtime.workers.loop import PeriodicWorker, Step

log = logging.getLogger(__name__)

# An event that has failed so often, not counting outages, is a dead letter.
FAILURES_MAX = 8
RETRY_SECONDS = 2.0
# An event of a type that this version does not know waits so long for a newer replica.
UNKNOWN_TYPE_SECONDS = 15.0
RETRY_BATCH_EVENTS = 100
POLL_SECONDS = 1.0
SETTLE_POLL_SECONDS = 0.1
ERROR_MAX_CHARACTERS = 2000
# Dead letters that a command shows or redrives at once, the oldest first.
DEAD_LETTERS_MAX = 1000


class FailedEvent(NamedTuple):
    """An event that was not handled, as it was delivered."""

    partition_key: str
    event_id: uuid.UUID
    type: str
    # A CloudEvent.
    event: bytes
    error: str
    failure_count: int = 1
    dead_letter_time: datetime | None = None


_PUT = Command("""
    INSERT INTO failed_events (partition_key, event_id, type, event, error, retry_time)
    SELECT partition_key, event_id, type, event, error, now() + make_interval(secs => seconds)
    FROM unnest(
        CAST(:partition_key AS text[]), CAST(:event_id AS uuid[]), CAST(:type AS text[]),
        CAST(:event AS bytea[]), CAST(:error AS text[]), CAST(:seconds AS float8[]))
      AS failed (partition_key, event_id, type, event, error, seconds)
    ON CONFLICT (partition_key, event_id) DO NOTHING
""")

_DUE = Query(
    """
    SELECT partition_key, event_id, type, event, error, failure_count, dead_letter_time
    FROM failed_events WHERE dead_letter_time IS NULL AND retry_time <= now()
    ORDER BY retry_time LIMIT :limit
    """,
    FailedEvent,
)

_ANY_TO_RETRY: Query[bool] = Query(
    "SELECT EXISTS (SELECT FROM failed_events WHERE dead_letter_time IS NULL)", scalar
)

_DEAD_LETTERS = Query(
    """
    SELECT partition_key, event_id, type, event, error, failure_count, dead_letter_time
    FROM failed_events
    WHERE dead_letter_time IS NOT NULL AND (CAST(:event_id AS uuid) IS NULL OR event_id = :event_id)
    ORDER BY dead_letter_time, event_id LIMIT :limit
    """,
    FailedEvent,
)

# Only as it was read: another replica may have handled it, or failed, since.
_REMOVE = Command("""
    DELETE FROM failed_events
    WHERE partition_key = :partition_key AND event_id = :event_id AND failure_count = :failure_count
""")

_COUNT_FAILURE: Query[bool] = Query(
    """
    UPDATE failed_events
    SET failure_count = failure_count + 1, error = :error,
        retry_time = now() + make_interval(secs => :seconds),
        dead_letter_time = CASE WHEN failure_count + 1 >= :failures_max
                           THEN coalesce(dead_letter_time, now()) ELSE dead_letter_time END
    WHERE partition_key = :partition_key AND event_id = :event_id AND failure_count = :failure_count
    RETURNING failure_count = :failures_max
    """,
    scalar,
)


def failed(
    event_id: uuid.UUID, event_type: str, partition_key: str, event: CloudEvent, error: Exception
) -> FailedEvent:
    """An event that has failed for the first time."""
    reason = error_format.one_line(error)[:ERROR_MAX_CHARACTERS]
    return FailedEvent(partition_key, event_id, event_type, event.SerializeToString(), reason)


def unknown(event_type: str) -> LookupError:
    """Why an event of a type without a subscription is not handled."""
    return LookupError(f"this version does not know {event_type}")


async def put(
    tx: Connection,
    events: Sequence[FailedEvent],
    subscriptions: Mapping[str, Subscription],
    retry_seconds: float = RETRY_SECONDS,
) -> None:
    """Keep events that failed, to be tried again; one that is kept already stays as it is."""
    seconds = [_seconds(event.type, subscriptions, retry_seconds) for event in events]
    await _PUT.run_for(tx, events, seconds=seconds)


def _seconds(
    event_type: str, subscriptions: Mapping[str, Subscription], retry_seconds: float
) -> float:
    return retry_seconds if event_type in subscriptions else UNKNOWN_TYPE_SECONDS


async def dead_letters(database: Database, event_id: uuid.UUID | None) -> Sequence[FailedEvent]:
    """The dead letters, the oldest first; or only that of one event."""
    async with database.read() as connection:
        return await _DEAD_LETTERS.all(connection, event_id=event_id, limit=DEAD_LETTERS_MAX)


async def discard(database: Database, event: FailedEvent) -> None:
    """Delete a dead letter without handling it."""
    async with database.begin() as tx:
        await _remove(tx, event)


async def retry(
    database: Database,
    subscriptions: Mapping[str, Subscription],
    event: FailedEvent,
    retry_seconds: float = RETRY_SECONDS,
) -> str:
    """Handle a failed event as if it arrived now; returns why it failed, or an empty text.

    Nothing happens if another replica has tried since. Raises errors of an outage, which do not count.
    """
    try:
        async with database.begin() as tx:
            if await _remove(tx, event):
                await _handle(tx, subscriptions, event)
    except Exception as error:
        if is_outage(error):
            raise
        log.exception("event failed", extra={"event_type": event.type})
        reason = error_format.one_line(error)[:ERROR_MAX_CHARACTERS]
        async with database.begin() as tx:
            is_last = await _COUNT_FAILURE.one_or_none(
                tx,
                partition_key=event.partition_key,
                event_id=event.event_id,
                failure_count=event.failure_count,
                error=reason,
                seconds=_seconds(event.type, subscriptions, retry_seconds),
                failures_max=FAILURES_MAX,
            )
        if is_last:
            metrics.EVENTS_DEAD_LETTERED.add(1, {metrics.DESTINATION: event.type})
        return reason
    return ""


async def _remove(tx: Connection, event: FailedEvent) -> int:
    return await _REMOVE.run(
        tx,
        partition_key=event.partition_key,
        event_id=event.event_id,
        failure_count=event.failure_count,
    )


async def _handle(
    tx: Connection, subscriptions: Mapping[str, Subscription], failed_event: FailedEvent
) -> None:
    if failed_event.type not in subscriptions:
        raise unknown(failed_event.type)
    subscription = subscriptions[failed_event.type]
    event = read_event(subscription.message_type, CloudEvent.FromString(failed_event.event))
    with tracing.consuming(subscription.type, [event.traceparent]):
        await subscription.handler(tx, [event])
    metrics.EVENTS_HANDLED.add(1, {metrics.DESTINATION: subscription.type})


class FailedEventRetry(PeriodicWorker):
    """Tries failed events again until they are handled, or dead letters."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        subscriptions: Mapping[str, Subscription],
        poll_seconds: float = POLL_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        super().__init__("failed-events", clock, self.retry_due, min(poll_seconds, retry_seconds))
        self._database = database
        self._retry_seconds = retry_seconds
        self._subscriptions = subscriptions

    async def retry_due(self) -> Step:
        """Try a batch of the events that are due."""
        async with self._database.read() as connection:
            due = await _DUE.all(connection, limit=RETRY_BATCH_EVENTS)
        for event in due:
            await retry(self._database, self._subscriptions, event, self._retry_seconds)
        return Step(worked=len(due))

    async def settle(self) -> datetime | None:
        """Wait until no event is to be tried again."""
        while True:
            with contextlib.suppress(Exception):
                async with self._database.read() as connection:
                    if not await _ANY_TO_RETRY.one(connection):
                        return None
            await asyncio.sleep(SETTLE_POLL_SECONDS)
