"""pgqueuer, a job queue on PostgreSQL, running one idempotent insert a job.

It is run as its documentation says: a `PgQueuer` over an asyncpg pool and an async
entrypoint, under uvloop as its own command does. The settings are those that were the fastest for it
on two cores.
"""

import asyncio
import time

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from bench.measure import Run, check

ENTRYPOINT = "prepare"
DEQUEUE_BATCH_JOBS = 500
POOL_CONNECTIONS = 8
ENQUEUE_BATCH_JOBS = 5000
PAYLOAD = b"x" * 300

SETTINGS = (
    f"dequeue batch {DEQUEUE_BATCH_JOBS}, concurrency unlimited (its default), "
    f"asyncpg pool of {POOL_CONNECTIONS}, uvloop"
)

TABLE = """
    DROP TABLE IF EXISTS done;
    CREATE TABLE done (
        job             bigint      PRIMARY KEY,
        data            bytea       NOT NULL,
        create_time     timestamptz NOT NULL DEFAULT now()
    )
"""
INSERT = "INSERT INTO done (job, data) VALUES ($1, $2) ON CONFLICT DO NOTHING"


async def measure(url: str, count: int) -> Run:
    """Run so many jobs that wait in the queue, from the start of the worker to the last insert."""
    async with asyncpg.create_pool(
        url, min_size=POOL_CONNECTIONS, max_size=POOL_CONNECTIONS
    ) as pool:
        await _fill(pool, count)
        worker = PgQueuer.from_asyncpg_pool(pool)
        done = _entrypoint(worker, pool, count)
        started = time.perf_counter()
        running = asyncio.create_task(worker.run(batch_size=DEQUEUE_BATCH_JOBS))
        await asyncio.wait({running, done}, return_when=asyncio.FIRST_COMPLETED)
        seconds = time.perf_counter() - started
        worker.shutdown.set()
        await running
        check("inserts by pgqueuer", count, await pool.fetchval("SELECT count(*) FROM done"))
    return Run(count, seconds)


async def _fill(pool: "asyncpg.Pool[asyncpg.Record]", count: int) -> None:
    queries = Queries.from_asyncpg_pool(pool)
    if not await queries.schema_is_installed():
        await queries.install()
    await queries.clear_queue()
    await queries.clear_queue_log()
    await pool.execute(TABLE)
    for start in range(0, count, ENQUEUE_BATCH_JOBS):
        size = min(ENQUEUE_BATCH_JOBS, count - start)
        await queries.enqueue([ENTRYPOINT] * size, [PAYLOAD] * size, [0] * size)
    await pool.execute("ANALYZE")


def _entrypoint(
    worker: PgQueuer, pool: "asyncpg.Pool[asyncpg.Record]", count: int
) -> "asyncio.Future[None]":
    """Register the job; the future is done when so many have run."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    left = count

    @worker.entrypoint(ENTRYPOINT)
    async def insert(job: Job) -> None:
        nonlocal left
        await pool.execute(INSERT, job.id, job.payload)
        left -= 1
        if not left:
            done.set_result(None)

    return done
