"""Due work: what a service does at a time, in batches, each replica in the buckets that it leases."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from services.runtime.db.leases import BucketLeases
from services.runtime.db.pool import Database
from services.runtime.db.statements import Query
from services.runtime.workers.clock import Clock
from services.runtime.workers.loop import Step


@dataclass(frozen=True, slots=True)
class Batch:
    """What a step may work on."""

    now: datetime
    # With something due, the one where it has been due for longest first.
    buckets: Sequence[int]
    # No call outside begins later than this, by the clock of the event loop.
    deadline: float


@dataclass(frozen=True, slots=True)
class DueWork:
    """One kind of work, and what does a batch of it; returns how many rows it worked on."""

    # As the view `first_due` names it.
    kind: str
    work: Callable[[Batch], Awaitable[int]]
    # Of several workers for one kind, which it is, and how many there are.
    part: int = 0
    parts: int = 1

    @property
    def worker(self) -> str:
        """The name of its worker."""
        return self.kind if self.parts == 1 else f"{self.kind}-{self.part + 1}"


class _DueRow(NamedTuple):
    # Of all buckets, and of those that are leased.
    first_time: datetime | None
    next_time: datetime | None
    due_buckets: Sequence[int]


# `first_due` is of the service's migrations: by kind of work and bucket, when the first is due.
_DUE = Query(
    """
    SELECT min(due_time) AS first_time,
           min(due_time) FILTER (WHERE bucket = ANY(CAST(:leased AS smallint[]))) AS next_time,
           coalesce(array_agg(bucket ORDER BY due_time) FILTER (
               WHERE bucket = ANY(CAST(:leased AS smallint[])) AND due_time <= :now
           ), '{}') AS due_buckets
    FROM first_due WHERE kind = :kind
    """,
    _DueRow,
)


async def step(database: Database, clock: Clock, leases: BucketLeases, due: DueWork) -> Step:
    """Work on a batch if something is due in the buckets that are leased.

    What is due in others, another replica works on, or will when the lease of a dead one has ended.
    """
    with leases.work(due.part, due.parts) as leased:
        deadline = asyncio.get_running_loop().time() + leases.lease.step_deadline_seconds
        return await _step(database, clock.now(), leased, due, deadline)


async def _step(
    database: Database, now: datetime, leased: Collection[int], due: DueWork, deadline: float
) -> Step:
    async with database.read() as connection:
        first_time, next_time, buckets = await _DUE.one(
            connection, kind=due.kind, leased=sorted(leased), now=now
        )
    if buckets:
        worked = await due.work(Batch(now, buckets, deadline))
        # Nothing, if what is due has failed alone and waits.
        return Step(worked, elsewhere=not worked)
    if first_time is not None and first_time <= now:
        return Step(wake_at=next_time, elsewhere=True)
    return Step(wake_at=first_time)
