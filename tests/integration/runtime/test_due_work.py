"""Due work: workers with nothing to do cost nothing, and the clock waits for those that work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from services.runtime.db.due_work import Batch, DueWork, DueWorkers
from services.runtime.db.pool import Database, Pool
from tests.conftest import KEYRING, ServiceDatabase
from tests.due_work import EveryBucket

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1)


class StoppedClock:
    """A simulated clock that nobody advances."""

    def now(self) -> datetime:
        return NOW

    def seconds_until(self, moment: datetime) -> float | None:
        return 0.0 if moment <= NOW else None


class Shelf:
    """A table with what is due, in the place of a service's."""

    def __init__(self, owner: asyncpg.Connection, database: Database) -> None:
        self.owner = owner
        self.database = database
        self.done: list[tuple[str, int]] = []

    async def put(self, kind: str, bucket: int, due_time: datetime, queue: str = "") -> None:
        await self.owner.execute(
            "INSERT INTO due VALUES ($1, $2, $3, $4)", kind, bucket, due_time, queue
        )

    def work(self, kind: str, part: int = 0, parts: int = 1) -> DueWork:
        async def clear(batch: Batch) -> int:
            for bucket in batch.buckets:
                await self.owner.execute(
                    "DELETE FROM due WHERE (kind, bucket) = ($1, $2)", kind, bucket
                )
                self.done.append((kind, bucket))
            return len(batch.buckets)

        return DueWork(kind, clear, part, parts)

    @asynccontextmanager
    async def working(self, *due_work: DueWork) -> AsyncIterator[DueWorkers]:
        workers = DueWorkers(self.database, StoppedClock(), EveryBucket(self.database), due_work)
        running = asyncio.create_task(workers.run())
        try:
            yield workers
        finally:
            running.cancel()
            await asyncio.wait([running])


@pytest.fixture
async def shelf(service_database: ServiceDatabase) -> AsyncIterator[Shelf]:
    url = service_database("catalog")
    role, rest = url.removeprefix("postgresql://").split(":", 1)
    owner = await asyncpg.connect(f"postgresql://{role}_migrator:{rest}")
    await owner.execute("""
        CREATE TABLE due (kind text, bucket smallint, due_time timestamptz, queue text);
        GRANT SELECT ON due TO PUBLIC;
        CREATE OR REPLACE VIEW first_due WITH (security_invoker = true) AS
            SELECT kind, queue, bucket, min(due_time) AS due_time FROM due
            GROUP BY kind, queue, bucket;
    """)
    database = Database(Pool(url, application="test", size=4, keyring=KEYRING))
    yield Shelf(owner, database)
    await database.close()
    await owner.close()


async def test_all_that_is_due_is_done_before_the_clock_moves_to_what_is_due_next(
    shelf: Shelf,
) -> None:
    await shelf.put("collect", 3, NOW)
    await shelf.put("collect", 4, LATER)
    await shelf.put("refund", 5, LATER + timedelta(days=1))
    async with shelf.working(shelf.work("collect"), shelf.work("refund")) as workers:
        next_time = await workers.settle()

    assert shelf.done == [("collect", 3)]
    assert (next_time, workers.activity) == (LATER, 1)


async def test_each_part_does_its_own_buckets(shelf: Shelf) -> None:
    for bucket in (6, 7):
        await shelf.put("prepare", bucket, NOW)
    parts = [shelf.work("prepare", part, 2) for part in range(2)]
    async with shelf.working(*parts) as workers:
        await workers.settle()

    assert sorted(shelf.done) == [("prepare", 6), ("prepare", 7)]


async def test_the_clock_waits_for_a_worker_whose_rows_are_due_no_more(shelf: Shelf) -> None:
    """What it stores last may be the cause of an event, which the next round must see."""
    begun, finish = asyncio.Event(), asyncio.Event()
    held = shelf.work("collect")

    async def clear_and_wait(batch: Batch) -> int:
        worked = await held.work(batch)
        begun.set()
        await finish.wait()
        return worked

    await shelf.put("collect", 3, NOW)
    async with shelf.working(DueWork("collect", clear_and_wait)) as workers:
        workers.wake()
        await begun.wait()
        settling = asyncio.create_task(workers.settle())
        await workers_look(shelf)
        assert not settling.done()
        finish.set()
        await settling

    assert workers.activity == 1


async def workers_look(shelf: Shelf) -> None:
    """Return when what began before has been read."""
    async with shelf.database.read() as connection:
        await connection.fetch("SELECT FROM first_due")


async def test_what_comes_later_is_done_once_the_workers_are_woken(shelf: Shelf) -> None:
    async with shelf.working(shelf.work("collect"), shelf.work("refund")) as workers:
        assert await workers.settle() is None
        await shelf.put("refund", 9, NOW)
        workers.wake()
        await workers.settle()

    assert shelf.done == [("refund", 9)]


async def test_a_queue_whose_work_hangs_keeps_nothing_of_another_waiting(shelf: Shelf) -> None:
    hangs, let_go, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def clear(batch: Batch) -> int:
        if batch.queue == "hanging":
            hangs.set()
            await let_go.wait()
        else:
            done.set()
        await shelf.owner.execute("DELETE FROM due WHERE queue = $1", batch.queue)
        shelf.done += [(batch.queue, bucket) for bucket in batch.buckets]
        return len(batch.buckets)

    await shelf.put("charge", 3, NOW, "hanging")
    queues = DueWork("charge", clear, queue="hanging"), DueWork("charge", clear, queue="prompt")
    async with shelf.working(*queues) as workers:
        workers.wake()
        await hangs.wait()
        await shelf.put("charge", 3, NOW, "prompt")
        workers.wake()
        await done.wait()
        settling = asyncio.create_task(workers.settle())
        await workers_look(shelf)
        assert not settling.done()
        let_go.set()
        await settling

    assert shelf.done == [("prompt", 3), ("hanging", 3)]


async def test_a_queue_without_a_worker_of_its_own_is_worked_on_with_the_others(
    shelf: Shelf,
) -> None:
    async def clear(batch: Batch) -> int:
        await shelf.owner.execute("DELETE FROM due WHERE queue = $1", batch.queue)
        shelf.done += [(batch.queue, bucket) for bucket in batch.buckets]
        return len(batch.buckets)

    await shelf.put("charge", 3, NOW, "former")
    await shelf.put("charge", 4, NOW - timedelta(days=1), "unnamed")
    rest = DueWork("charge", clear, others=frozenset({"stripe"}))
    async with shelf.working(DueWork("charge", clear, queue="stripe"), rest) as workers:
        await workers.settle()

    assert shelf.done == [("unnamed", 4), ("former", 3)]
