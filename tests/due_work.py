"""Due work without a process: a step that has every bucket."""

from collections.abc import Awaitable, Callable

from services.runtime.db import due_work, leases
from services.runtime.db.due_work import Batch, DueTimes, DueWork
from services.runtime.db.leases import BUCKETS, BucketLeases
from services.runtime.db.pool import Database
from services.runtime.workers.clock import Clock
from services.runtime.workers.loop import Step


class EveryBucket(BucketLeases):
    """As a replica that is alone has them. Two are replicas of which one has outlived its lease."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, leases.OUTSIDE, "test")

    def _usable(self) -> frozenset[int]:
        return frozenset(range(BUCKETS))


async def step(
    database: Database, clock: Clock, kind: str, work: Callable[[Batch], Awaitable[int]]
) -> Step:
    """One step of the worker for a kind of work."""
    return await due_work.step(
        DueTimes(database), clock, EveryBucket(database), DueWork(kind, work)
    )
