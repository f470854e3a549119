"""The prepare stage: due → quoted → order and outbox rows committed.

The scheduler's own worker step runs here, without the scheduler's other workers, against catalog,
payments and notify as processes of their own over gRPC.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import asyncpg

from bench.measure import Run, check
from bench.seed import Book
from bench.stack import Stack
from services.runtime.auth.call_context import act_for_all
from services.runtime.auth.tls import Identity
from services.runtime.db import leases
from services.runtime.db.due_work import DueTimes, DueWork, step
from services.runtime.db.leases import BucketLeases
from services.runtime.db.pool import Database, Pool
from services.runtime.observability import tracing
from services.runtime.rpc.channel import open_channel
from services.runtime.workers.clock import Clock, SandboxClock
from services.runtime.workers.loop import Step
from services.scheduler.clients import Clients
from services.scheduler.workers.prepare import PREPARE_WORKERS, prepare

POOL_CONNECTIONS = 8
PREPARED = """
    SELECT count(*) FROM orders
    WHERE state = 'UPCOMING' AND notified_minor > 0 AND merchant = $1
"""
OUTBOX_EVENTS = """
    SELECT coalesce(sum(event_count), 0) FROM outbox
    WHERE type = 'recurring.scheduler.v1.OrderUpcoming' AND tenants = ARRAY[$1]
"""


async def measure(stack: Stack, book: Book) -> Run:
    """Prepare every standing order of a book that is due."""
    clock = SandboxClock(stack.sandbox_url, "bench")
    await clock.read()
    async with wired(stack, clock) as (steps, _):
        before = stack.cpu_seconds()
        started = time.perf_counter()
        worked = sum(await asyncio.gather(*map(_until_done, steps)))
        seconds = time.perf_counter() - started
        after = stack.cpu_seconds()
    check("standing orders prepared", book.count, worked)
    await check_prepared(stack.url("scheduler"), book)
    return Run(book.count, seconds, {part: after[part] - before[part] for part in after})


async def _until_done(step: Callable[[], Awaitable[Step]]) -> int:
    """One of the workers that the scheduler runs side by side; returns how many it prepared."""
    worked = 0
    while done := (await step()).worked:
        worked += done
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
async def wired(
    stack: Stack, clock: Clock
) -> AsyncIterator[tuple[Sequence[Callable[[], Awaitable[Step]]], Database]]:
    """The workers' steps, wired as the scheduler's process wires them, and their database."""
    environment = stack.environment("scheduler")
    identity = Identity(Path(environment["RECURRING_TLS_FOLDER"]), production=False)
    act_for_all("bench")
    database = Database(
        Pool(
            stack.own_url("scheduler"),
            application="recurring-bench",
            size=POOL_CONNECTIONS,
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
        buckets = BucketLeases(database, leases.SUITE, "bench")
        await buckets.renew()
        renewing = asyncio.create_task(_renew(buckets))
        work = prepare(database, Clients(*channels)).work
        parts = [DueWork("prepare", work, n, PREPARE_WORKERS) for n in range(PREPARE_WORKERS)]
        due_times = DueTimes(database)
        yield [partial(step, due_times, clock, buckets, part) for part in parts], database
        renewing.cancel()
        await buckets.leave()
    finally:
        for channel in channels:
            await channel.close()
        await database.close()


async def _renew(buckets: BucketLeases) -> None:
    while True:
        await asyncio.sleep(leases.RENEW_SECONDS)
        await buckets.renew()


def start_tracing() -> None:
    """Trace as the scheduler's process does. Once a process."""
    tracing.start_tracing("bench")
