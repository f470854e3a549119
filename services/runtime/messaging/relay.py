"""The relay: publishes the outbox, by a cursor that moves past what the streams have stored.

A row is published when every transaction that is older than its own has ended: then no row can appear
before it any more. So the cursor passes each row once, and no row is claimed or marked.
"""

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import starmap, takewhile
from typing import NamedTuple
from uuid import UUID, uuid4

from services.runtime.crash_points import CrashPoint
from services.runtime.db.pool import Database
from services.runtime.db.statements import Command, Query, scalar
from services.runtime.messaging import outbox, streams
from services.runtime.messaging.batches import batch_headers, binary_events
from services.runtime.messaging.broker import STREAM_MAX_AGE_SECONDS, Broker
from services.runtime.messaging.streams import MERCHANTS_PREFIX, MERCHANTS_STREAM, Make
from services.runtime.observability import metrics
from services.runtime.workers.loop import Step

# What one step publishes, at most; a batch by itself may have more events.
RELAY_BATCHES = 40
RELAY_EVENTS_MAX = 5000
# Each of these waits for its acknowledgement.
PLATFORM_EVENTS_AT_ONCE = 500
PUBLISH_TIMEOUT_SECONDS = 10.0
# Longer than a publication, and the check of the streams after one that failed.
LEASE_SECONDS = 20
STEP_DEADLINE_SECONDS = LEASE_SECONDS - 3
_READ = CrashPoint("outbox.read", "Batches are read and none is published.")
_SENT = CrashPoint(
    "outbox.published", "The stream has taken batches that the cursor has not passed."
)


class ForeignOutboxError(Exception):
    """The outbox has transactions of another server; what is stored now would not be published."""


class _Cursor(NamedTuple):
    """How far a service has published its outbox."""

    transaction_id: str
    position: int
    # Grows with each change, so that whoever read an older cursor cannot change this one.
    version: int
    # Whether no other relay has the lease.
    is_free: bool
    # Whether this server has not come to its transaction yet: the database was restored from another's.
    is_foreign: bool


class _Row(NamedTuple):
    """A batch after the cursor."""

    transaction_id: str
    position: int
    batch_id: UUID
    type: str
    event_count: int
    tenants: list[str]
    # Whether every older transaction has ended.
    is_settled: bool
    # Empty until then.
    data: bytes


_CURSOR = Query(
    """
    SELECT CAST(transaction_id AS text), position, version,
           lease_end_time <= now() OR lease_name = :name AS is_free,
           transaction_id >= pg_snapshot_xmax(pg_current_snapshot()) AS is_foreign
    FROM outbox_cursor
    """,
    _Cursor,
)

_NEXT = Query(
    """
    SELECT CAST(transaction_id AS text), position, batch_id, type, event_count, tenants, is_settled,
           CASE WHEN is_settled THEN data ELSE '' END AS data
    FROM (
        SELECT *, transaction_id < pg_snapshot_xmin(pg_current_snapshot()) AS is_settled
        FROM outbox
        WHERE (transaction_id, position)
            > (CAST(CAST(:transaction_id AS text) AS xid8), CAST(:position AS bigint))
        ORDER BY transaction_id, position LIMIT :limit) AS next
    ORDER BY next.transaction_id, next.position
    """,
    _Row,
)

# What a process of the same name has left, which crashed, is taken at once.
_TAKE_LEASE = Command("""
    UPDATE outbox_cursor
    SET version = version + 1, lease_end_time = now() + make_interval(secs => :seconds),
        lease_name = :name
    WHERE version = :version AND (lease_end_time <= now() OR lease_name = :name)
""")

_ADVANCE = Command("""
    UPDATE outbox_cursor
    SET transaction_id = CAST(CAST(:transaction_id AS text) AS xid8), position = :position,
        version = version + 1, lease_end_time = now()
    WHERE version = :version
""")

_RELEASE_LEASE = Command("""
    UPDATE outbox_cursor SET lease_end_time = now() WHERE version = :version
""")

_STREAMS_CREATED: Query[datetime | None] = Query(
    "SELECT stream_create_time FROM outbox_cursor FOR UPDATE", scalar
)
_KEEP_STREAMS_CREATED = Command("UPDATE outbox_cursor SET stream_create_time = :created")


class Relay:
    """Publishes the outbox of a service, one relay of all replicas at a time."""

    def __init__(
        self,
        database: Database,
        broker: Broker,
        service: str,
        *,
        name: str = "",
        platform_merchants: frozenset[str] = frozenset(),
        make: Make | None = None,
    ) -> None:
        """Without `make`, which creates streams, missing ones are waited for.

        `name` is that of the process, as for its buckets; without, nobody is started in its place.
        Events of `platform_merchants` are also published to their platforms.
        """
        self._database = database
        self._broker = broker
        self._make = make
        self._name = name or uuid4().hex
        self._platform_merchants = platform_merchants
        self._streams = (service.upper(), MERCHANTS_STREAM)
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

        Raises StreamMissingError.
        """
        created = await streams.ensure(
            lambda: streams.newest(self._broker, *self._streams), self._make
        )
        if created == self._streams_created:
            return
        async with self._database.begin() as tx:
            if await _STREAMS_CREATED.one(tx) != created:
                await outbox.rewind(tx, created - timedelta(seconds=STREAM_MAX_AGE_SECONDS))
                await _KEEP_STREAMS_CREATED.run(tx, created=created)
        self._streams_created = created

    async def step(self) -> Step:
        """Publish the next batches, and move the cursor past those that the streams have stored.

        After a failure or a crash the others are published again, which the stream's duplicate window
        and the consumers' inboxes make harmless.
        """
        if self._connections != self._broker.connections:
            connections = self._broker.connections
            await self.ensure_streams()
            self._connections = connections
        async with self._database.read() as connection:
            cursor = await _CURSOR.one(connection, name=self._name)
            if cursor.is_foreign:
                raise ForeignOutboxError("the outbox was restored from another server: migrate")
            rows = await _NEXT.all(
                connection,
                transaction_id=cursor.transaction_id,
                position=cursor.position,
                limit=RELAY_BATCHES,
            )
        settled = list(_within_a_step(rows))
        if not settled or not cursor.is_free:
            # What is here now will be published, by this relay or another one.
            return Step(pending=bool(rows))
        async with self._lease(cursor) as version:
            if version is None:
                return Step(pending=True)
            _READ.reached()
            published = await self._publish_all(settled, version)
        return Step(worked=published)

    @asynccontextmanager
    async def _lease(self, cursor: _Cursor) -> AsyncIterator[int | None]:
        """The version of the cursor under a lease, or None if another relay was faster."""
        async with self._database.begin(wake_workers=False) as tx:
            taken = await _TAKE_LEASE.run(
                tx, version=cursor.version, name=self._name, seconds=LEASE_SECONDS
            )
        version = cursor.version + 1
        try:
            yield version if taken else None
        except BaseException:
            # Otherwise no relay publishes until the lease ends, which it does if this fails.
            with suppress(Exception):
                async with (
                    asyncio.timeout(LEASE_SECONDS - STEP_DEADLINE_SECONDS),
                    self._database.begin(wake_workers=False) as tx,
                ):
                    await _RELEASE_LEASE.run(tx, version=version)
            raise

    async def _publish_all(self, rows: Sequence[_Row], version: int) -> int:
        """Publish rows; returns how many events the cursor has passed."""
        errors = await _in_order(self._publish, rows)
        stored = _before_error(rows, errors)
        turns = asyncio.Semaphore(PLATFORM_EVENTS_AT_ONCE)
        errors += await _in_order(partial(self._publish_to_platforms, turns), stored)
        done = _before_error(stored, errors[len(rows) :])
        _SENT.reached()
        if done:
            # Without effect if another relay has taken over: the version is another one.
            async with self._database.begin(wake_workers=False) as tx:
                await _ADVANCE.run(
                    tx,
                    transaction_id=done[-1].transaction_id,
                    position=done[-1].position,
                    version=version,
                )
        for row in done:
            metrics.EVENTS_PUBLISHED.add(row.event_count, {metrics.DESTINATION: row.type})
        if failed := [error for error in errors if error is not None]:
            # The stream may have been deleted.
            await self.ensure_streams()
            raise failed[0]
        return sum(row.event_count for row in done)

    async def _publish(self, row: _Row) -> None:
        head = batch_headers(row.batch_id)
        await self._broker.publish(row.type, row.data, head, PUBLISH_TIMEOUT_SECONDS)

    async def _publish_to_platforms(self, turns: asyncio.Semaphore, row: _Row) -> None:
        """Publish the events of a batch by themselves to the platforms that listen."""
        if self._platform_merchants.isdisjoint(row.tenants):
            return

        async def publish(tenant: str, head: Mapping[str, str], body: bytes) -> None:
            subject = f"{MERCHANTS_PREFIX}.{tenant}.{row.type}"
            async with turns:
                await self._broker.publish(subject, body, head, PUBLISH_TIMEOUT_SECONDS)

        events = binary_events(row.data, self._platform_merchants)
        published = await asyncio.gather(*starmap(publish, events), return_exceptions=True)
        if failed := [error for error in published if error is not None]:
            raise failed[0]


async def _in_order(
    publish: Callable[[_Row], Awaitable[None]], rows: Sequence[_Row]
) -> list[BaseException | None]:
    """Publish rows, begun in their order and not awaited one by one; returns the error of each."""
    return await asyncio.gather(*map(publish, rows), return_exceptions=True)


def _before_error(rows: Sequence[_Row], errors: Sequence[BaseException | None]) -> list[_Row]:
    """The first rows, up to one that has an error."""
    each = zip(rows, errors, strict=True)
    return [row for row, _ in takewhile(lambda pair: pair[1] is None, each)]


def _within_a_step(rows: Iterable[_Row]) -> Iterator[_Row]:
    """The first rows, at least one, that are published well before a step is cut off."""
    events = 0
    for row in rows:
        events += row.event_count
        if not row.is_settled or (events > RELAY_EVENTS_MAX and events > row.event_count):
            return
        yield row
