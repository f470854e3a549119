"""The prepare stage: due → quoted → order and outbox rows committed.

The scheduler's own worker step runs here, without the scheduler's other workers, against catalog,
payments and notify as processes of their own over gRPC.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from bench.measure import Run, check
from bench.seed import Book
from bench.stack import Stack
from services.runtime.auth.call_context import act_for_all
from services.runtime.auth.tls import Identity
from services.runtime.db.pool import Database, connect
from services.runtime.observability import tracing
from services.runtime.rpc.channel import open_channel
from services.runtime.workers.clock import Clock, SandboxClock
from services.scheduler.clients import Clients
from services.scheduler.workers.prepare import PREPARE_WORKERS, Prepare

POOL_CONNECTIONS = 8
PREPARED = """
    SELECT count(*) FROM orders
    WHERE state = 'UPCOMING' AND notified_minor > 0 AND merchant = $1
"""
OUTBOX_EVENTS = """
    SELECT count(*) FROM outbox
    WHERE type = 'recurring.scheduler.v1.OrderUpcoming' AND tenant = $1
"""


async def measure(stack: Stack, book: Book) -> Run:
    """Prepare every standing order of a book that is due."""
    clock = SandboxClock(stack.sandbox_url, "bench")
    await clock.read()
    async with wired(stack, clock) as (prepare, _):
        before = stack.cpu_seconds()
        started = time.perf_counter()
        worked = sum(await asyncio.gather(*(_until_done(prepare) for _ in range(PREPARE_WORKERS))))
        seconds = time.perf_counter() - started
        after = stack.cpu_seconds()
    check("standing orders claimed", book.count, worked)
    await check_prepared(stack.url("scheduler"), book)
    return Run(book.count, seconds, {part: after[part] - before[part] for part in after})


async def _until_done(prepare: Prepare) -> int:
    """One of the workers that the scheduler runs side by side; returns how many it prepared."""
    worked = 0
    while step := (await prepare.step()).worked:
        worked += step
    return worked


async def check_prepared(url: str, book: Book) -> None:
    """Raise WrongResultError unless each standing order has one order, and that was published once."""
    connection = await asyncpg.connect(url)
    try:
        prepared = await connection.fetchval(PREPARED, book.merchant)
        event_count = await connection.fetchval(OUTBOX_EVENTS, book.merchant)
    finally:
        await connection.close()
    check("orders prepared", book.count, prepared)
    check("events in the outbox", book.count, event_count)


@asynccontextmanager
async def wired(stack: Stack, clock: Clock) -> AsyncIterator[tuple[Prepare, Database]]:
    """The worker's work, wired as the scheduler's process wires it, and its database."""
    environment = stack.environment("scheduler")
    identity = Identity(Path(environment["RECURRING_TLS_FOLDER"]), production=False)
    act_for_all("bench")
    database = Database(
        connect(
            stack.sqlalchemy_url("scheduler"),
            application="recurring-bench",
            pool_size=POOL_CONNECTIONS,
            keyring=stack.keyring("scheduler"),
        )
    )
    channels = [
        open_channel(environment[f"RECURRING_{service}_TARGET"], identity)
        for service in ("CATALOG", "PAYMENTS", "NOTIFY")
    ]
    try:
        for channel in channels:
            await channel.channel_ready()
        # Opens a connection, so that the measurement does not.
        async with database.read():
            pass
        yield Prepare(database, clock, Clients(*channels)), database
    finally:
        for channel in channels:
            await channel.close()
        await database.close()


def start_tracing() -> None:
    """Trace as the scheduler's process does. Once a process."""
    tracing.start_tracing("bench")
