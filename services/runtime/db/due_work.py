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
    # That all of it is in; empty where the kind has no queues.
    queue: str = ""


@dataclass(frozen=True, slots=True)
class DueWork:
    """One kind of work, and what does a batch of it; returns how many rows it worked on.

    A kind may have queues, such as one a provider: a batch is of one queue. What may wait long in one
    of them keeps nothing of another waiting if each has a worker.
    """

    # As the view `first_due` names it.
    kind: str
    work: Callable[[Batch], Awaitable[int]]
    # Of several workers for one kind, which it is, and how many there are.
    part: int = 0
    parts: int = 1
    # The queue that the worker takes; None: each that is not one of `others`.
    queue: str | None = None
    # Queues that have workers of their own.
    others: frozenset[str] = frozenset()

    def is_for(self, queue: str, bucket: int) -> bool:
        """Whether the worker takes what is due in a bucket of a queue."""
        return self.takes(queue) and bucket % self.parts == self.part

    def takes(self, queue: str) -> bool:
        """Whether the worker takes what is due in a queue."""
        return queue == self.queue if self.queue is not None else queue not in self.others

    @property
    def worker(self) -> str:
        """The name of its worker."""
        name = self.kind if self.queue is None else f"{self.kind}-{self.queue}"
        return name if self.parts == 1 else f"{name}-{self.part + 1}"


class _FirstDue(NamedTuple):
    """A bucket of a queue, and when the first of it is due."""

    due_time: datetime
    queue: str
    bucket: int


class _QueueRow(NamedTuple):
    kind: str
    queue: str
    # Each with something due at its time.
    buckets: Sequence[int]
    times: Sequence[datetime]


# `first_due` is of the service's migrations: by kind of work, queue and bucket, when the first is due.
_FIRST_DUE = Query(
    """
    SELECT kind, queue, array_agg(bucket) AS buckets, array_agg(due_time) AS times
    FROM first_due WHERE kind = ANY(CAST(:kinds AS text[])) AND due_time IS NOT NULL
    GROUP BY kind, queue
    """,
    _QueueRow,
)


class DueTimes:
    """When something is due first, by bucket: one read for all workers that ask at a moment.

    Workers that have been woken together ask together.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        # The read that is about to begin, and what it is to read.
        self._reading: asyncio.Task[dict[str, list[_FirstDue]]] | None = None
        self._kinds: set[str] = set()

    async def read(self, kinds: Collection[str]) -> dict[str, list[_FirstDue]]:
        """By kind, the buckets with work, each with the time of its first; the earliest first."""
        if self._reading is None:
            self._kinds = set()
            self._reading = asyncio.create_task(self._read(self._kinds))
        self._kinds.update(kinds)
        # Whoever is cut off leaves the read to the others.
        read = await asyncio.shield(self._reading)
        return {kind: read.get(kind, []) for kind in kinds}

    async def _read(self, kinds: Collection[str]) -> dict[str, list[_FirstDue]]:
        # Whoever asks from here on may know of a later commit, and waits for the next read.
        self._reading = None
        async with self._database.read() as connection:
            rows = await _FIRST_DUE.all(connection, kinds=sorted(kinds))
        first: dict[str, list[_FirstDue]] = {}
        for row in rows:
            first.setdefault(row.kind, []).extend(
                _FirstDue(due_time, row.queue, bucket)
                for bucket, due_time in zip(row.buckets, row.times, strict=True)
            )
        return {kind: sorted(of_kind) for kind, of_kind in first.items()}


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
    of_kind = (await due_times.read((due.kind,)))[due.kind]
    first = [it for it in of_kind if due.takes(it.queue)]
    own = [it for it in first if it.bucket in leased]
    if due_now := [it for it in own if it.due_time <= now]:
        queue = due_now[0].queue
        buckets = [it.bucket for it in due_now if it.queue == queue]
        worked = await due.work(Batch(now, buckets, deadline, queue))
        # Nothing, if what is due has failed alone and waits.
        return Step(worked, elsewhere=not worked)
    if first and first[0].due_time <= now:
        return Step(wake_at=own[0].due_time if own else None, elsewhere=True)
    return Step(wake_at=first[0].due_time if first else None)


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
        # Workers with something due as of the last look, whoever leases its bucket.
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
                if due.worker in self._due or not worker.is_idle
            )
        )
        return min(filter(None, (next_time, *wakes)), default=None)

    async def run(self) -> None:
        """Work until cancelled."""
        await run_together(self._watch.run(), *(worker.run() for _, worker in self._workers))

    async def _look(self) -> Step:
        first = await self._due_times.read(self._kinds)
        now, leased = self._clock.now(), self._leases.buckets
        due_now = {
            kind: [it for it in of_kind if it.due_time <= now] for kind, of_kind in first.items()
        }
        for due, worker in self._workers:
            if any(it.bucket in leased and due.is_for(*it[1:]) for it in due_now[due.kind]):
                worker.wake()
        self._due = frozenset(
            due.worker
            for due, _ in self._workers
            if any(due.takes(it.queue) for it in due_now[due.kind])
        )
        return Step(
            wake_at=min(
                (it.due_time for of_kind in first.values() for it in of_kind if it.due_time > now),
                default=None,
            )
        )
