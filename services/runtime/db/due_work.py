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


class _KindRow(NamedTuple):
    kind: str
    # Each with something due at its time, the earliest first.
    buckets: Sequence[int]
    times: Sequence[datetime]


# `first_due` is of the service's migrations: by kind of work and bucket, when the first is due.
_FIRST_DUE = Query(
    """
    SELECT kind, array_agg(bucket ORDER BY due_time, bucket) AS buckets,
           array_agg(due_time ORDER BY due_time, bucket) AS times
    FROM first_due WHERE kind = ANY(CAST(:kinds AS text[])) AND due_time IS NOT NULL
    GROUP BY kind
    """,
    _KindRow,
)


class DueTimes:
    """When something is due first, by bucket: one read for all workers that ask at a moment.

    A commit wakes all of them, and so does each round of the simulated clock.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        # The read that is about to begin, and what it is to read.
        self._reading: asyncio.Task[dict[str, _KindRow]] | None = None
        self._kinds: set[str] = set()

    async def read(self, kind: str) -> Sequence[tuple[int, datetime]]:
        """The buckets with work of a kind, each with the time of its first; the earliest first."""
        if self._reading is None:
            self._kinds = set()
            self._reading = asyncio.create_task(self._read(self._kinds))
        self._kinds.add(kind)
        # Whoever is cut off leaves the read to the others.
        rows = await asyncio.shield(self._reading)
        row = rows.get(kind)
        return () if row is None else tuple(zip(row.buckets, row.times, strict=True))

    async def _read(self, kinds: Collection[str]) -> dict[str, _KindRow]:
        # Whoever asks from here on may know of a later commit, and waits for the next read.
        self._reading = None
        async with self._database.read() as connection:
            rows = await _FIRST_DUE.all(connection, kinds=sorted(kinds))
        return {row.kind: row for row in rows}


async def step(due_times: DueTimes, clock: Clock, leases: BucketLeases, due: DueWork) -> Step:
    """Work on a batch if something is due in the buckets that are leased.

    What is due in others, another replica works on, or will when the lease of a dead one has ended.
    """
    with leases.work(due.part, due.parts) as leased:
        deadline = asyncio.get_running_loop().time() + leases.lease.step_deadline_seconds
        return await _step(due_times, clock.now(), leased, due, deadline)


async def _step(
    due_times: DueTimes, now: datetime, leased: Collection[int], due: DueWork, deadline: float
) -> Step:
    first = await due_times.read(due.kind)
    own = [(bucket, time) for bucket, time in first if bucket in leased]
    if buckets := [bucket for bucket, time in own if time <= now]:
        worked = await due.work(Batch(now, buckets, deadline))
        # Nothing, if what is due has failed alone and waits.
        return Step(worked, elsewhere=not worked)
    if first and first[0][1] <= now:
        return Step(wake_at=own[0][1] if own else None, elsewhere=True)
    return Step(wake_at=first[0][1] if first else None)
