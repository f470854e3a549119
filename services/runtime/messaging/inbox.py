"""The inbox: each event of another service is handled once, in one transaction with its row here."""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from services.runtime.crash_points import CrashPoint
from services.runtime.db.pool import Connection, Database
from services.runtime.db.statements import Command, Query, scalar
from services.runtime.messaging import streams
from services.runtime.messaging.broker import Broker, Pull
from services.runtime.messaging.events import EVENT_NAMESPACE, Event, Subscription, read
from services.runtime.messaging.streams import Make
from services.runtime.observability import error_format, metrics, outages, tracing
from services.runtime.observability.outages import is_outage
from services.runtime.workers.retry import retry_until_success

log = logging.getLogger(__name__)

CONSUME_BATCH_EVENTS = 500
# An event that has failed so often, not counting outages, is dead-lettered.
FAILURES_MAX = 8
ERROR_MAX_CHARACTERS = 2000
# Dead letters that a command shows or replays at once, the oldest first.
DEAD_LETTERS_MAX = 1000
REDELIVERY_SECONDS = 2.0
# An event of a type that this version does not know is redelivered after this, to a newer replica.
UNKNOWN_TYPE_SECONDS = 15.0
OUTAGE_PAUSE_SECONDS = 0.5
SETTLE_POLL_SECONDS = 0.01
_RECEIVED = CrashPoint("inbox.received", "Events are delivered and not handled.")
_HANDLED = CrashPoint("inbox.handled", "Events are handled and not acknowledged.")


class DeadLetter(NamedTuple):
    """An event that was dead-lettered."""

    partition_key: str
    event_id: uuid.UUID
    type: str
    headers: dict[str, str]
    data: bytes
    error: str
    dead_letter_time: datetime


_NEW: Query[uuid.UUID] = Query(
    """
    INSERT INTO inbox (partition_key, event_id)
    SELECT * FROM unnest(CAST(:partition_key AS text[]), CAST(:event_id AS uuid[]))
    ON CONFLICT (partition_key, event_id) DO NOTHING
    RETURNING event_id
    """,
    scalar,
)

_DEAD_LETTER = Command("""
    INSERT INTO dead_letters (partition_key, event_id, type, headers, data, error)
    VALUES (:partition_key, :event_id, :type, CAST(:headers AS jsonb), :data, :error)
    ON CONFLICT (partition_key, event_id) DO NOTHING
""")


_COUNT_FAILURE: Query[int] = Query(
    """
    INSERT INTO failed_deliveries AS failed (partition_key, event_id, failure_count)
    VALUES (:partition_key, :event_id, 1)
    ON CONFLICT (partition_key, event_id)
    DO UPDATE SET failure_count = failed.failure_count + 1, failure_time = now()
    RETURNING failure_count
    """,
    scalar,
)

_FORGET_FAILURES = Command("""
    DELETE FROM failed_deliveries WHERE (partition_key, event_id) IN (
        SELECT * FROM unnest(CAST(:partition_key AS text[]), CAST(:event_id AS uuid[])))
""")

_LIST = Query(
    """
    SELECT partition_key, event_id, type, headers, data, error, dead_letter_time FROM dead_letters
    WHERE CAST(:event_id AS uuid) IS NULL OR event_id = :event_id
    ORDER BY dead_letter_time, event_id LIMIT :limit
    """,
    DeadLetter,
)

_DELETE = Command("""
    DELETE FROM dead_letters WHERE partition_key = :partition_key AND event_id = :event_id
""")

_KEEP_FAILING = Command("""
    UPDATE dead_letters SET error = :error
    WHERE partition_key = :partition_key AND event_id = :event_id
""")

EventsRead = Sequence[tuple[str, Event[Any]]]


def read_as(
    subscription: Subscription, head: Mapping[str, str], data: bytes
) -> tuple[str, Event[Any]]:
    """An event of the type of a subscription. Raises ValueError if it is malformed."""
    try:
        return subscription.type, read(subscription.message_type, head, data)
    except (KeyError, DecodeError) as error:
        msg = f"not a well-formed {subscription.type}: {error!r}"
        raise ValueError(msg) from error


async def handle_new(
    tx: Connection, subscriptions: Mapping[str, Subscription], events: EventsRead
) -> dict[str, int]:
    """Handle the events that were not handled before; returns how many of each type."""
    event_ids = await _NEW.all(
        tx,
        partition_key=[event.partition_key for _, event in events],
        event_id=[event.id for _, event in events],
    )
    new = set(event_ids)
    by_type: dict[str, dict[Any, Event[Any]]] = {}
    for event_type, event in events:
        if event.id in new:
            # An event may be twice in a batch.
            by_type.setdefault(event_type, {})[event.id] = event
    for event_type, fresh in by_type.items():
        with tracing.consuming(event_type, [event.traceparent for event in fresh.values()]):
            await subscriptions[event_type].handler(tx, list(fresh.values()))
    return {event_type: len(fresh) for event_type, fresh in by_type.items()}


async def dead_letters(database: Database, event_id: uuid.UUID | None) -> Sequence[DeadLetter]:
    """The dead letters, the oldest first; or only that of one event."""
    async with database.read() as connection:
        return await _LIST.all(connection, event_id=event_id, limit=DEAD_LETTERS_MAX)


async def redrive(
    database: Database,
    subscriptions: Mapping[str, Subscription],
    letter: DeadLetter,
) -> str:
    """Handle a dead-lettered event as if it arrived now; returns why it failed, or an empty text.

    If another replica has handled it since, the dead letter is only deleted.
    """
    key = {"partition_key": letter.partition_key, "event_id": letter.event_id}
    try:
        subscription = subscriptions[letter.type]
        event = read_as(subscription, letter.headers, letter.data)
        async with database.begin() as tx:
            await handle_new(tx, subscriptions, [event])
            await _DELETE.run(tx, **key)
    except Exception as error:
        if is_outage(error):
            raise
        reason = error_format.one_line(error)[:ERROR_MAX_CHARACTERS]
        async with database.begin() as tx:
            await _KEEP_FAILING.run(tx, **key, error=reason)
        return reason
    return ""


async def discard_dead_letter(database: Database, letter: DeadLetter) -> None:
    """Delete a dead letter without handling it."""
    key = {"partition_key": letter.partition_key, "event_id": letter.event_id}
    async with database.begin() as tx:
        await _DELETE.run(tx, **key)


class Consumer:
    """Reads a stream by a durable consumer that all replicas of a service share."""

    def __init__(
        self,
        database: Database,
        broker: Broker,
        stream: str,
        durable: str,
        subscriptions: Sequence[Subscription],
        redelivery_seconds: float = REDELIVERY_SECONDS,
        unknown_type_seconds: float = UNKNOWN_TYPE_SECONDS,
        make: Make | None = None,
    ) -> None:
        """Without `make`, which creates durable consumers, a missing one is waited for."""
        self.activity = 0
        self._database = database
        self._broker = broker
        self._stream = stream
        self._durable = durable
        self._subscriptions = {subscription.type: subscription for subscription in subscriptions}
        self._redelivery_seconds = redelivery_seconds
        self._unknown_type_seconds = unknown_type_seconds
        self._make = make
        self._broker_outage, self._database_outage = outages.Reporter(), outages.Reporter()

    def wake(self) -> None:
        """Messages arrive by themselves."""

    async def settle(self) -> datetime | None:
        """Wait until the server has no message and expects no acknowledgement of this consumer."""
        while True:
            try:
                info = await self._broker.consumer_info(self._stream, self._durable)
            except (NatsError, TimeoutError):
                await asyncio.sleep(OUTAGE_PAUSE_SECONDS)
                continue
            if not info.num_pending and not info.num_ack_pending:
                return None
            await asyncio.sleep(SETTLE_POLL_SECONDS)

    async def run(self) -> None:
        """Consume until cancelled, through outages of the broker and the database."""
        while True:
            try:
                pull = await retry_until_success(
                    "events", self._pull, is_transient=lambda error: not _is_of_broker(error)
                )
                self._broker_outage.works()
                await self._consume(pull)
            except Exception as error:
                if _is_of_broker(error):
                    self._broker_outage.failed(outages.BROKER, error)
                else:
                    log.exception("consumer failed", extra={"stream": self._stream})
                await asyncio.sleep(OUTAGE_PAUSE_SECONDS)

    async def check_durable(self) -> None:
        """Check the durable consumer. Raises DurableMissingError if it may not be created here."""
        await streams.ensure(
            lambda: streams.check_durable(
                self._broker, self._stream, self._durable, self._subscriptions
            ),
            self._make,
        )

    async def _pull(self) -> Pull:
        """Start to pull. Raises DurableMissingError."""
        await self.check_durable()
        return await self._broker.pull(self._stream, self._durable)

    async def _consume(self, pull: Pull) -> None:
        """Handle batches until one is empty; then the durable consumer is checked again."""
        try:
            while batch := await pull.next_batch(CONSUME_BATCH_EVENTS):
                if known := await self._known(batch):
                    await self._handle(known)
                self.activity += len(batch)
        finally:
            await self._broker.end(pull)

    async def _known(self, batch: list[Msg]) -> list[Msg]:
        """The messages whose types this version knows; the others are returned for newer replicas."""
        for message in batch:
            if message.subject not in self._subscriptions:
                error = LookupError(f"this version does not know {message.subject}")
                await self._fail(message, error, self._unknown_type_seconds)
        return [message for message in batch if message.subject in self._subscriptions]

    async def _handle(self, batch: list[Msg]) -> None:
        started = time.perf_counter()
        outcome = "ok"
        _RECEIVED.reached()
        try:
            await self._transact(batch)
        except Exception as error:
            outcome = "outage" if is_outage(error) else "error"
            if outcome == "outage":
                await self._wait_out(batch, error)
            else:
                log.exception("batch failed; trying its events one by one")
                await self._handle_one_by_one(batch)
        else:
            self._database_outage.works()
            _HANDLED.reached()
            await asyncio.gather(*(message.ack() for message in batch))
        metrics.BATCH_SECONDS.record(
            time.perf_counter() - started, {metrics.DESTINATION: self._stream, "outcome": outcome}
        )

    async def _handle_one_by_one(self, batch: list[Msg]) -> None:
        """Handle the events of a batch one by one, so that one that fails does not block the others."""
        for index, message in enumerate(batch):
            try:
                await self._transact([message])
            except Exception as error:
                if is_outage(error):
                    await self._wait_out(batch[index:], error)
                    return
                log.exception("event failed", extra={"event_type": message.subject})
                await self._fail(message, error, self._redelivery_seconds)
            else:
                await message.ack()

    async def _fail(self, message: Msg, error: Exception, again_seconds: float) -> None:
        """Have the event redelivered later, or dead-letter it."""
        try:
            given_up = await self._count_failure(message, error_format.one_line(error))
        except Exception as failure:
            if not is_outage(failure):
                raise
            await self._wait_out([message], failure)
            return
        if given_up:
            metrics.EVENTS_DEAD_LETTERED.add(1, {metrics.DESTINATION: message.subject})
            await message.term()
        else:
            await message.nak(again_seconds)

    async def _wait_out(self, batch: list[Msg], error: Exception) -> None:
        """Return messages during an outage of the database, for another replica or for later."""
        if what := outages.out_of_reach(error):
            self._database_outage.failed(what, error)
        else:
            log.warning("events are retried: %r", error, extra={"stream": self._stream})
        await asyncio.gather(*(message.nak(OUTAGE_PAUSE_SECONDS) for message in batch))
        await asyncio.sleep(OUTAGE_PAUSE_SECONDS)

    async def _transact(self, batch: Sequence[Msg]) -> None:
        """Handle the new events of a batch, grouped by type, in one transaction."""
        events = [
            read_as(self._subscriptions[message.subject], message.headers or {}, message.data)
            for message in batch
        ]
        redelivered = [
            self._key(message) for message in batch if message.metadata.num_delivered > 1
        ]
        async with self._database.begin() as tx:
            handled = await handle_new(tx, self._subscriptions, events)
            if redelivered:
                await _forget_failures(tx, redelivered)
        for event_type, count in handled.items():
            metrics.EVENTS_HANDLED.add(count, {metrics.DESTINATION: event_type})

    def _key(self, message: Msg) -> tuple[str, uuid.UUID]:
        """The partition key and id of an event."""
        head = message.headers or {}
        try:
            event_id = uuid.UUID(head["ce-id"])
        except (KeyError, ValueError):
            # Not an event of the suite: the stream's sequence identifies it.
            sequence = message.metadata.sequence.stream
            event_id = uuid.uuid5(EVENT_NAMESPACE, f"{self._stream}|{sequence}")
        return head.get("ce-partitionkey", ""), event_id

    async def _count_failure(self, message: Msg, error: str) -> bool:
        """Count a failure of an event; dead-letters it at the last one, and returns whether it did.

        The count is in the database, so that it outlasts restarts and covers all replicas. The broker's
        count includes deliveries that an outage interrupted.
        """
        partition_key, event_id = self._key(message)
        key = {"partition_key": partition_key, "event_id": event_id}
        async with self._database.begin() as tx:
            if await _COUNT_FAILURE.one(tx, **key) < FAILURES_MAX:
                return False
            await _DEAD_LETTER.run(
                tx,
                **key,
                type=message.subject,
                headers=json.dumps(dict(message.headers or {})),
                data=message.data,
                error=error[:ERROR_MAX_CHARACTERS],
            )
            await _forget_failures(tx, [(partition_key, event_id)])
            return True


async def _forget_failures(tx: Connection, keys: Sequence[tuple[str, uuid.UUID]]) -> None:
    await _FORGET_FAILURES.run(
        tx, partition_key=[key for key, _ in keys], event_id=[event_id for _, event_id in keys]
    )


def _is_of_broker(error: Exception) -> bool:
    """Whether the broker is out of reach; errors of the database are handled before."""
    return isinstance(error, NatsError | TimeoutError | OSError)
