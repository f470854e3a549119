"""A publisher and a subscriber, each with a database, on real servers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message
from recurring.catalog.v1 import events_pb2

from services.runtime.db.pool import Connection, Database
from services.runtime.messaging import outbox, streams
from services.runtime.messaging.broker import Broker, Durable
from services.runtime.messaging.consumer import Consumer
from services.runtime.messaging.events import Event, OutboxEvent, Subscription
from services.runtime.messaging.failed_events import FailedEventRetry
from services.runtime.messaging.relay import Relay
from services.runtime.workers.clock import SystemClock
from services.runtime.workers.loop import Worker, WorkerLoop, Workers
from tests.owner import as_owner

SERVICE, STREAM, DURABLE = "catalog", "CATALOG", "subscriber"
SUBJECT = "recurring.catalog.v1.ProductDiscontinued"
SUBSCRIBER_DURABLE = Durable(STREAM, DURABLE, frozenset({SUBJECT}))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RETRY_SECONDS = 0.02
# Well below what a lost acknowledgement or a lost request would take to be noticed.
GRACE_SECONDS = 12.0


def discontinued(key: str) -> OutboxEvent:
    return OutboxEvent(key, events_pb2.ProductDiscontinued(product=key), "acme", key, NOW)


async def until(condition: Callable[[], Awaitable[object]], seconds: float = GRACE_SECONDS) -> None:
    """Look again and again until it is so."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - it comes true in other processes
            await asyncio.sleep(0.01)


@asynccontextmanager
async def at_work(*workers: Worker | tuple[Worker, ...]) -> AsyncIterator[Workers]:
    """Have workers run for as long as the block; then they are stopped as a process stops them."""
    together = Workers(
        [each for some in workers for each in (some if isinstance(some, tuple) else (some,))]
    )
    task = asyncio.create_task(together.run())
    try:
        yield together
    finally:
        task.cancel()
        await asyncio.wait({task})


@dataclass
class Publisher:
    """Tells facts through its outbox."""

    database: Database
    broker: Broker

    def relay(self, *platform_merchants: str) -> Relay:
        merchants = frozenset(platform_merchants)
        return Relay(
            self.database, self.broker, SERVICE, platform_merchants=merchants, make=self.make
        )

    async def make(self) -> None:
        """Make the streams, and what the subscriber reads by."""
        await streams.make(self.broker, [SUBSCRIBER_DURABLE])

    def relay_worker(self) -> WorkerLoop:
        return WorkerLoop("relay", SystemClock(), self.relay().step, poll_seconds=0.05)

    async def publish(self, *keys: str) -> None:
        async with self.database.begin() as tx:
            await outbox.put(tx, [discontinued(key) for key in keys])

    async def forget_publishing(self) -> None:
        """As if the relay had been killed between publishing and writing it down."""
        await outbox.replay(self.database, NOW)

    async def unpublished(self) -> int:
        """The batches after the cursor."""
        return await count(
            self.database,
            "outbox, outbox_cursor AS cursor WHERE (outbox.transaction_id, outbox.position)"
            " > (cursor.transaction_id, cursor.position)",
        )


@dataclass
class Subscriber:
    """Writes down what it hears: one row each time that its handler is given an event."""

    database: Database
    broker: Broker
    poison: set[str] = field(default_factory=set)
    retry_seconds: float = RETRY_SECONDS
    # The handler waits here when it is set to be busy.
    free: asyncio.Event = field(default_factory=asyncio.Event)
    handling: asyncio.Event = field(default_factory=asyncio.Event)

    async def prepare(self) -> None:
        self.free.set()
        async with as_owner(self.database) as tx:
            await tx.execute("CREATE TABLE received (product text)")

    @property
    def subscriptions(self) -> dict[str, Subscription]:
        """What it listens to, by type, as it would hear an event that was given up."""
        message_type = events_pb2.ProductDiscontinued
        return {message_type.DESCRIPTOR.full_name: Subscription(message_type, self._receive)}

    def consumer(self, *newer: type[Message]) -> tuple[Consumer, FailedEventRetry]:
        """Reads what it listens to, as one process does; a newer version of it reads more."""
        types: Sequence[type[Message]] = (events_pb2.ProductDiscontinued, *newer)
        subscriptions = [Subscription(each, self._receive) for each in types]
        return (
            Consumer(
                *(self.database, self.broker, STREAM, DURABLE, subscriptions),
                retry_seconds=self.retry_seconds,
            ),
            FailedEventRetry(
                self.database,
                SystemClock(),
                {each.type: each for each in subscriptions},
                poll_seconds=RETRY_SECONDS / 2,
                retry_seconds=self.retry_seconds,
            ),
        )

    async def _receive(self, tx: Connection, events: Sequence[Event[Any]]) -> None:
        products = [event.message.product for event in events]
        await tx.execute(
            "INSERT INTO received SELECT unnest(CAST($1 AS text[]))",
            products,
        )
        self.handling.set()
        await self.free.wait()
        if self.poison.intersection(products):
            raise ValueError("cannot be handled")

    async def received(self) -> list[str]:
        async with self.database.read() as connection:
            rows = await connection.fetch("SELECT product FROM received ORDER BY product")
            return [row["product"] for row in rows]

    async def until_received(self, number: int) -> None:
        async def enough() -> bool:
            return len(await self.received()) >= number

        await until(enough)

    async def dead_letters(self) -> int:
        return await count(self.database, "failed_events WHERE dead_letter_time IS NOT NULL")


async def count(database: Database, what: str) -> int:
    async with database.read() as connection:
        return int(await connection.driver.fetchval(f"SELECT count(*) FROM {what}"))  # noqa: S608
