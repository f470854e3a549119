"""Workers do due work in steps, on any number of replicas, and stop cleanly."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.runtime.observability import metrics, outages
from services.runtime.workers.clock import Activity, Clock
from services.runtime.workers.tasks import run_together

log = logging.getLogger(__name__)

# Work from other replicas is found by polling; a commit of this process wakes its workers.
POLL_SECONDS = 1.0
PENDING_SECONDS = 0.05
BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 5.0
# For a step without a lease.
STEP_DEADLINE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of a worker did: the rows it processed, and when there will be more."""

    worked: int = 0
    wake_at: datetime | None = None
    # There is work that can be done in a moment: the present instant is not settled.
    pending: bool = False
    # Something is due that another replica works on, a dead one left, or that waits after a failure:
    # the instant is not settled either, but nothing is won by looking often.
    elsewhere: bool = False


class Worker(Protocol):
    """Background work that runs until it is cancelled."""

    @property
    def activity(self) -> int:
        """A number that grows with its work."""

    async def run(self) -> None:
        """Work until cancelled."""

    def wake(self) -> None:
        """There may be something to do."""

    async def settle(self) -> datetime | None:
        """Return, with the next instant of work, once there is nothing to do at the present one."""


class WorkerLoop:
    """Repeats a step: at once while there is work, else when woken, due or polling.

    A step that fails, or exceeds its deadline, is retried for as long as it takes, with pauses that
    grow up to BACKOFF_MAX_SECONDS.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        step: Callable[[], Awaitable[Step]],
        poll_seconds: float = POLL_SECONDS,
        deadline_seconds: float = STEP_DEADLINE_SECONDS,
    ) -> None:
        self.name = name
        self._poll_seconds = poll_seconds
        self.activity = 0
        # Whether it waits for work, and not in the middle of a step or after one that failed.
        self.is_idle = False
        self._clock = clock
        self._step = step
        self._deadline_seconds = deadline_seconds
        self._woken = asyncio.Event()
        self._settling: list[asyncio.Future[datetime | None]] = []
        self._outage = outages.Reporter()

    def wake(self) -> None:
        """There may be something to do."""
        self._woken.set()

    async def settle(self) -> datetime | None:
        """Wait until a step that began after this call found nothing to do."""
        future: asyncio.Future[datetime | None] = asyncio.get_running_loop().create_future()
        self._settling.append(future)
        self.wake()
        return await future

    async def run(self) -> None:
        """Work until cancelled."""
        failures = 0
        while True:
            settling, self._settling = self._settling, []
            self._woken.clear()
            started = time.perf_counter()
            deadline = asyncio.timeout(self._deadline_seconds)
            try:
                async with deadline:
                    step = await self._step()
            except Exception as error:
                failures += 1
                self._settling = settling + self._settling
                pause = min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(failures, 10))
                if deadline.expired():
                    log.warning("step cut off at its deadline", extra={"worker": self.name})
                elif what := outages.out_of_reach(error):
                    self._outage.failed(what, error)
                else:
                    log.exception("step failed", extra={"worker": self.name, "failures": failures})
                self._measure("error", started)
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter only
                continue
            failures = 0
            self._outage.works()
            self._measure("ok", started)
            if step.worked:
                metrics.ROWS_PROCESSED.add(step.worked, {"worker": self.name})
                self.activity += step.worked
            if step.worked or step.pending or step.elsewhere:
                self._settling = settling + self._settling
            else:
                for future in settling:
                    if not future.done():
                        future.set_result(step.wake_at)
            if not step.worked:
                self.is_idle = True
                await self._idle(step)
                self.is_idle = False

    def _measure(self, outcome: str, started: float) -> None:
        metrics.STEP_SECONDS.record(
            time.perf_counter() - started, {"worker": self.name, "outcome": outcome}
        )

    async def _idle(self, step: Step) -> None:
        if step.pending or (step.elsewhere and self._settling):
            await asyncio.sleep(PENDING_SECONDS)
            return
        until_wake = self._clock.seconds_until(step.wake_at) if step.wake_at else None
        # The wake time may have passed since the step looked.
        seconds = self._poll_seconds
        if until_wake is not None:
            seconds = min(seconds, max(until_wake, 0.01))
        # Not wait_for, which before Python 3.12 loses a cancellation that coincides with a wake-up.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()


class PeriodicWorker(WorkerLoop):
    """Repeats a step at an interval. No commit wakes it; the simulated clock does not wait for it."""

    def wake(self) -> None:
        """Keep to the interval."""

    async def settle(self) -> datetime | None:
        """Report at once that there is nothing to wait for."""
        return None


class Workers:
    """The background work of one process."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = tuple(workers)

    def wake(self) -> None:
        """Wake every worker, since something was committed."""
        for worker in self._workers:
            worker.wake()

    async def settle(self, seconds: float) -> Activity:
        """Wait up to so many seconds until no worker has anything to do at the present instant."""
        tasks = [asyncio.create_task(worker.settle()) for worker in self._workers]
        if not tasks:
            return Activity(quiet=True, count=0, wake_at=None)
        _, pending = await asyncio.wait(tasks, timeout=seconds)
        for task in pending:
            task.cancel()
        wakes = [] if pending else [wake for task in tasks if (wake := task.result())]
        return Activity(
            quiet=not pending,
            count=sum(worker.activity for worker in self._workers),
            wake_at=min(wakes, default=None),
        )

    async def run(self) -> None:
        """Run all workers until cancelled."""
        await run_together(*(worker.run() for worker in self._workers))
