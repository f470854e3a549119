"""How late a cycle is prepared when so many fall due each second: from its time to its commit.

The scheduler's own workers run here on the machine's clock, against the other services as processes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg

from bench import prepare, seed
from bench.measure import Aim, Figure, percentile
from bench.seed import Book
from bench.stack import Stack
from services.runtime.quiet_hours import NOTICE_HEADROOM
from services.runtime.workers.clock import SystemClock
from services.runtime.workers.loop import Step, WorkerLoop

DUE_PER_SECOND = 500
AIM = Aim(1000.0, at_least=False)
AHEAD = timedelta(seconds=3)
GIVE_UP_SECONDS = 60.0

# An order keeps when its step began, and its due time and lead say when it should have begun.
_BEGUN = """
    SELECT create_time, due_time - notice_lead - $2::interval AS wanted FROM orders
    WHERE merchant = $1
"""


class _Steps(SystemClock):
    """The clock, which notes for each step when it looked, and when what it did was committed."""

    def __init__(self) -> None:
        self._begun: dict[asyncio.Task[None] | None, datetime] = {}
        self.committed: dict[datetime, datetime] = {}

    def now(self) -> datetime:
        begun = super().now()
        self._begun[asyncio.current_task()] = begun
        return begun

    def commit(self) -> None:
        """Something was committed by the step of this task."""
        self.committed[self._begun[asyncio.current_task()]] = super().now()


async def measure(stack: Stack, book: Book) -> list[float]:
    """How late each cycle of the book was, in milliseconds."""
    steps = _Steps()
    async with prepare.wired(stack, steps) as (parts, database):
        database.on_commit(steps.commit)
        await seed.spread(stack, book, datetime.now(UTC) + AHEAD, DUE_PER_SECOND)
        await _run(book, parts, steps)
    await prepare.check_prepared(stack.url("scheduler"), book)
    connection = await asyncpg.connect(stack.url("scheduler"))
    try:
        rows = await connection.fetch(_BEGUN, book.merchant, NOTICE_HEADROOM)
    finally:
        await connection.close()
    return [
        (steps.committed[row["create_time"]] - row["wanted"]).total_seconds() * 1000 for row in rows
    ]


async def _run(book: Book, parts: Sequence[Callable[[], Awaitable[Step]]], steps: _Steps) -> None:
    """Let time pass until all of the book is due, and then the workers until nothing is left to do."""
    workers = [WorkerLoop("prepare", steps, step) for step in parts]
    running = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        await asyncio.sleep(AHEAD.total_seconds() + book.count / DUE_PER_SECOND)
        async with asyncio.timeout(GIVE_UP_SECONDS):
            await asyncio.gather(*(worker.settle() for worker in workers))
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def figures(late_milliseconds: list[float]) -> list[Figure]:
    """The median, and what one in a hundred is later than."""
    name = f"lateness at {DUE_PER_SECOND} due a second"
    return [
        Figure(f"{name}, p50", percentile(late_milliseconds, 0.5), "ms"),
        Figure(f"{name}, p99", percentile(late_milliseconds, 0.99), "ms", AIM),
    ]
