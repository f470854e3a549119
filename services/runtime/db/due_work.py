"""Due work: what a service does at a time, in batches, each replica in the buckets that it leases."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import NamedTuple

from services.runtime.db.leases import BucketLeases
from services.runtime.db.pool import Database
from services.runtime.db.statements import Query
from services.runtime.workers.clock import Clock
from services.runtime.workers.loop import Step, WorkerLoop
from services.runtime.workers.tasks import run_together

# Of a worker whose watch wakes it.
UNWATCHED_POLL_SECONDS = 60.0


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

    def is_for(self, bucket: int) -> bool:
        """Whether the worker takes what is due in a bucket."""
        return bucket % self.parts == self.part

    @property
    def worker(self) -> str:
        """The name of its worker."""
        return self.kind if self.parts == 1 else f"{self.kind}-{self.part + 1}"


# A bucket, and when the first of it is due.
_FirstDue = tuple[int, datetime]


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

    Workers that have been woken together ask together.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        # The read that is about to begin, and what it is to read.
        self._reading: asyncio.Task[dict[str, Sequence[_FirstDue]]] | None = None
        self._kinds: set[str] = set()

    async def read(self, kinds: Collection[str]) -> dict[str, Sequence[_FirstDue]]:
        """By kind, the buckets with work, each with the time of its first; the earliest first."""
        if self._reading is None:
            self._kinds = set()
            self._reading = asyncio.create_task(self._read(self._kinds))
        self._kinds.update(kinds)
        # Whoever is cut off leaves the read to the others.
        read = await asyncio.shield(self._reading)
        return {kind: read.get(kind, ()) for kind in kinds}

    async def _read(self, kinds: Collection[str]) -> dict[str, Sequence[_FirstDue]]:
        # Whoever asks from here on may know of a later commit, and waits for the next read.
        self._reading = None
        async with self._database.read() as connection:
            rows = await _FIRST_DUE.all(connection, kinds=sorted(kinds))
        return {row.kind: list(zip(row.buckets, row.times, strict=True)) for row in rows}


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
    first = (await due_times.read((due.kind,)))[due.kind]
    own = [(bucket, time) for bucket, time in first if bucket in leased]
    if buckets := [bucket for bucket, time in own if time <= now]:
        worked = await due.work(Batch(now, buckets, deadline))
        # Nothing, if what is due has failed alone and waits.
        return Step(worked, elsewhere=not worked)
    if first and first[0][1] <= now:
        return Step(wake_at=own[0][1] if own else None, elsewhere=True)
    return Step(wake_at=first[0][1] if first else None)


class DueWorkers:
    """A worker for each kind of due work, and a watch that wakes those that have something to do.

    Most commits, and most rounds of the simulated clock, make work for few of them: the others cost
    nothing.
    """

    def __init__(
        self, database: Database, clock: Clock, leases: BucketLeases, due_work: Sequence[DueWork]
    ) -> None:
        self._due_times = DueTimes(database)
        self._clock = clock
        self._leases = leases
        self._kinds = frozenset(due.kind for due in due_work)
        self._watch = WorkerLoop("due-watch", clock, self._look)
        self._workers = [
            (
                due,
                WorkerLoop(
                    due.worker,
                    clock,
                    partial(step, self._due_times, clock, leases, due),
                    poll_seconds=UNWATCHED_POLL_SECONDS,
                    deadline_seconds=leases.lease.step_deadline_seconds,
                ),
            )
            for due in due_work
        ]
        # Kinds with something due as of the last look, whoever leases its bucket.
        self._due: frozenset[str] = frozenset()

    @property
    def activity(self) -> int:
        """How much all of them have done."""
        return sum(worker.activity for _, worker in self._workers)

    def wake(self) -> None:
        """There may be something to do."""
        self._watch.wake()

    async def settle(self) -> datetime | None:
        """Return, with the next instant of work, once nothing is due at the present one."""
        next_time = await self._watch.settle()
        wakes = await asyncio.gather(
            *(
                worker.settle()
                for due, worker in self._workers
                if due.kind in self._due or not worker.is_idle
            )
        )
        return min(filter(None, (next_time, *wakes)), default=None)

    async def run(self) -> None:
        """Work until cancelled."""
        await run_together(self._watch.run(), *(worker.run() for _, worker in self._workers))

    async def _look(self) -> Step:
        first = await self._due_times.read(self._kinds)
        now = self._clock.now()
        due_now = {
            kind: {bucket for bucket, time in times if time <= now} & self._leases.buckets
            for kind, times in first.items()
        }
        for due, worker in self._workers:
            if any(map(due.is_for, due_now[due.kind])):
                worker.wake()
        self._due = frozenset(kind for kind, times in first.items() if times and times[0][1] <= now)
        return Step(
            wake_at=min(
                (time for times in first.values() for _, time in times if time > now), default=None
            )
        )
