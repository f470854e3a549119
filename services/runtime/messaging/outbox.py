"""The outbox: events are stored with the change that they report, published, and kept for replay."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from services.runtime.crash_points import CrashPoint
from services.runtime.db import leases
from services.runtime.db.pool import Connection, Database
from services.runtime.db.statements import Command, Query, scalar
from services.runtime.messaging import streams
from services.runtime.messaging.broker import STREAM_MAX_AGE_SECONDS, Broker
from services.runtime.messaging.events import CONTENT_TYPE, SPEC_VERSION, OutboxEvent
from services.runtime.messaging.streams import MERCHANTS_PREFIX, MERCHANTS_STREAM, Make
from services.runtime.observability import metrics, tracing
from services.runtime.workers.loop import Step

RELAY_BATCH_EVENTS = 500
PUBLISH_TIMEOUT_SECONDS = 10.0
# The clocks of the database and the broker may differ by so much.
CLOCKS_APART_SECONDS = 60
PURGE_BATCH_ROWS = 5000
REPLAY_BATCH_ROWS = 5000
_CLAIMED = CrashPoint("outbox.claimed", "Events are claimed and none is published.")
_SENT = CrashPoint(
    "outbox.published", "The stream has taken events that are not marked as published."
)


class OutboxRow(NamedTuple):
    """An event to publish."""

    position: int
    partition_key: str
    event_id: uuid.UUID
    type: str
    tenant: str
    data: bytes
    traceparent: str
    occur_time: datetime


_PUT = Command("""
    INSERT INTO outbox (partition_key, event_id, type, tenant, data, traceparent, occur_time)
    SELECT * FROM unnest(
        CAST(:partition_key AS text[]), CAST(:event_id AS uuid[]), CAST(:type AS text[]),
        CAST(:tenant AS text[]), CAST(:data AS bytea[]), CAST(:traceparent AS text[]),
        CAST(:occur_time AS timestamptz[]))
    ON CONFLICT (partition_key, event_id) DO NOTHING
""")

_CLAIM = Query(
    """
    WITH due AS MATERIALIZED (
        SELECT partition_key, event_id FROM outbox
        WHERE publish_time IS NULL
          AND (claim_time IS NULL OR claim_time < now() - make_interval(secs => :claim_seconds))
        ORDER BY position LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE outbox SET claim_time = now()
    FROM due
    WHERE outbox.partition_key = due.partition_key AND outbox.event_id = due.event_id
    RETURNING outbox.position, outbox.partition_key, outbox.event_id, outbox.type, outbox.tenant,
              outbox.data, outbox.traceparent, outbox.occur_time
    """,
    OutboxRow,
)

_PUBLISHED = Command("""
    UPDATE outbox SET publish_time = now()
    FROM unnest(CAST(:partition_key AS text[]), CAST(:event_id AS uuid[])) AS done (key, id)
    WHERE outbox.partition_key = done.key AND outbox.event_id = done.id
""")

_RELEASE = Command("""
    UPDATE outbox SET claim_time = NULL
    FROM unnest(CAST(:partition_key AS text[]), CAST(:event_id AS uuid[])) AS failed (key, id)
    WHERE outbox.partition_key = failed.key AND outbox.event_id = failed.id
      AND outbox.publish_time IS NULL
""")

_PENDING: Query[bool] = Query(
    "SELECT EXISTS (SELECT FROM outbox WHERE publish_time IS NULL)", scalar
)

# Only events that were published before the replay began, so that it does not repeat its own.
_REPLAY = Command("""
    UPDATE outbox SET publish_time = NULL, claim_time = NULL
    WHERE (partition_key, event_id) IN (
        SELECT partition_key, event_id FROM outbox
        WHERE publish_time >= :since AND publish_time < :until AND position >= :position
        LIMIT :limit)
""")

_NOW: Query[datetime] = Query("SELECT now()", scalar)

_PURGES = (
    Command("""
        DELETE FROM outbox WHERE (partition_key, event_id) IN (
            SELECT partition_key, event_id FROM outbox
            WHERE publish_time < now() - make_interval(days => :days) LIMIT :limit)
    """),
    Command("""
        DELETE FROM inbox WHERE (partition_key, event_id) IN (
            SELECT partition_key, event_id FROM inbox
            WHERE handle_time < now() - make_interval(days => :days) LIMIT :limit)
    """),
    Command("""
        DELETE FROM failed_deliveries WHERE (partition_key, event_id) IN (
            SELECT partition_key, event_id FROM failed_deliveries
            WHERE failure_time < now() - make_interval(days => :days) LIMIT :limit)
    """),
    Command("""
        DELETE FROM requests WHERE (tenant, request_id) IN (
            SELECT tenant, request_id FROM requests
            WHERE create_time < now() - make_interval(days => :days) LIMIT :limit)
    """),
)


async def put(tx: Connection, events: Sequence[OutboxEvent]) -> None:
    """Store events in the transaction of their change; one that is stored already stays as it is."""
    if not events:
        return
    current = tracing.current_traceparent()
    await _PUT.run(
        tx,
        partition_key=[event.partition_key for event in events],
        event_id=[event.event_id for event in events],
        type=[event.type for event in events],
        tenant=[event.tenant for event in events],
        data=[event.message.SerializeToString(deterministic=True) for event in events],
        traceparent=[event.traceparent or current for event in events],
        occur_time=[event.occur_time for event in events],
    )


class Relay:
    """Publishes the outbox of a service in batches, in the order in which events were stored."""

    def __init__(
        self,
        database: Database,
        broker: Broker,
        service: str,
        *,
        by_merchant: bool = False,
        make: Make | None = None,
    ) -> None:
        """Without `make`, which creates streams, missing ones are waited for."""
        self._database = database
        self._broker = broker
        self._make = make
        self._source = f"//recurring/{service}"
        self._streams = (service.upper(), *([MERCHANTS_STREAM] if by_merchant else ()))
        self._by_merchant = by_merchant
        self._connections = broker.connections
        # When the newest of the streams was created, as of the last check.
        self._streams_created: datetime | None = None

    async def ensure_streams(self) -> None:
        """Create or update the streams if the service may, and check them, as `check_streams` does."""
        if self._make:
            await self._make()
        await self.check_streams()

    async def check_streams(self) -> None:
        """Check that the streams exist; publish to a new stream again what the old one had.

        Consumers find events that they have handled in their inbox. Raises StreamMissingError.
        """
        await streams.ensure(lambda: streams.check(self._broker, *self._streams), self._make)
        created = max([await self._broker.creation_time(stream) for stream in self._streams])
        if created == self._streams_created:
            return
        since = created - timedelta(seconds=STREAM_MAX_AGE_SECONDS)
        until = created + timedelta(seconds=CLOCKS_APART_SECONDS)
        await replay(self._database, since, until=until)
        self._streams_created = created

    async def step(self) -> Step:
        """Publish a batch, and mark the events that the stream has acknowledged.

        The others are published again, which the stream's duplicate window and the consumers' inboxes
        make harmless.
        """
        if self._connections != self._broker.connections:
            connections = self._broker.connections
            await self.ensure_streams()
            self._connections = connections
        rows = await self._claim()
        if not rows:
            return Step(pending=await self._claimed_elsewhere())
        _CLAIMED.reached()
        async with leases.released_on_failure(
            self._database, lambda tx: _RELEASE.run(tx, **_keys(rows))
        ):
            await self._publish_all(rows)
        return Step(worked=len(rows))

    async def _publish_all(self, rows: Sequence[OutboxRow]) -> None:
        results = await asyncio.gather(
            *(self._publish(row) for row in rows), return_exceptions=True
        )
        _SENT.reached()
        done = [row for row, result in zip(rows, results, strict=True) if result is None]
        async with self._database.engine.begin() as tx:
            await _PUBLISHED.run(tx, **_keys(done))
        for event_type, count in Counter(row.type for row in done).items():
            metrics.EVENTS_PUBLISHED.add(count, {metrics.DESTINATION: event_type})
        errors = [result for result in results if isinstance(result, BaseException)]
        if errors:
            # The stream may have been deleted.
            await self.ensure_streams()
            raise errors[0]

    async def _claim(self) -> list[OutboxRow]:
        async with self._database.engine.begin() as tx:
            rows = await _CLAIM.all(
                tx, limit=RELAY_BATCH_EVENTS, claim_seconds=leases.BROKER.seconds
            )
        return sorted(rows, key=lambda row: row.position)

    async def _claimed_elsewhere(self) -> bool:
        """Whether another replica is publishing rows, or has crashed with them."""
        async with self._database.read() as connection:
            return await _PENDING.one(connection)

    async def _publish(self, row: OutboxRow) -> None:
        head = headers(row, self._source)
        await self._broker.publish(row.type, row.data, head, PUBLISH_TIMEOUT_SECONDS)
        if self._by_merchant:
            subject = f"{MERCHANTS_PREFIX}.{row.tenant}.{row.type}"
            await self._broker.publish(subject, row.data, head, PUBLISH_TIMEOUT_SECONDS)


async def replay(
    database: Database, since: datetime, position: int = 0, until: datetime | None = None
) -> int:
    """Have the events published again that were published since a time, from a position on.

    Excluded are those published after `until` or from now on. Returns the number of events. Consumers
    find events that they have handled in their inbox.
    """
    async with database.read() as connection:
        now = await _NOW.one(connection)
    until = min(until or now, now)
    replayed = 0
    while True:
        async with database.begin() as tx:
            count = await _REPLAY.run(
                tx, since=since, until=until, position=position, limit=REPLAY_BATCH_ROWS
            )
        replayed += count
        if count < REPLAY_BATCH_ROWS:
            return replayed


async def purge(database: Database, retention_days: int) -> Step:
    """Delete a batch of rows that were published, handled or answered before the retention."""
    async with database.engine.begin() as tx:
        deleted = [
            await purge_rows.run(tx, days=retention_days, limit=PURGE_BATCH_ROWS)
            for purge_rows in _PURGES
        ]
    return Step(worked=sum(deleted))


def _keys(rows: Sequence[OutboxRow]) -> dict[str, list[str] | list[uuid.UUID]]:
    return {
        "partition_key": [row.partition_key for row in rows],
        "event_id": [row.event_id for row in rows],
    }


def headers(row: OutboxRow, source: str) -> dict[str, str]:
    """The headers of an event on the wire."""
    event_id = str(row.event_id)
    return {
        "ce-specversion": SPEC_VERSION,
        "ce-id": event_id,
        "ce-type": row.type,
        "ce-source": source,
        "ce-time": row.occur_time.isoformat(),
        "ce-partitionkey": row.partition_key,
        "ce-tenant": row.tenant,
        "content-type": CONTENT_TYPE,
        "traceparent": row.traceparent,
        "Nats-Msg-Id": event_id,
    }
