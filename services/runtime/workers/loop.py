"""Due work, done in steps by workers that run on any number of replicas and stop cleanly."""

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

# Other replicas' work is found by polling; this process's own is announced by a wake-up.
POLL_SECONDS = 1.0
PENDING_SECONDS = 0.05
BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 5.0
# Of a step without a lease.
STEP_DEADLINE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of a worker did: rows worked on, and when there will be more to do."""

    worked: int = 0
    wake_at: datetime | None = None
    # There is due work that somebody else has claimed (or died over): the present is not settled.
    pending: bool = False


class Worker(Protocol):
    """Something that works in the background until it is stopped."""

    activity: int

    async def run(self) -> None:
        """Work until cancelled."""

    def wake(self) -> None:
        """There may be something to do."""

    async def settle(self) -> datetime | None:
        """Return, with the next instant of work, once there is nothing to do at the present one."""


class WorkerLoop:
    """Calls a step again and again: at once while there is work, else when woken, due or polling.

    A step that fails, or that runs into its deadline, is tried again, later and later up to
    BACKOFF_MAX_SECONDS apart, for as long as it takes: what an outage interrupts goes on by itself.
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
            waiting, self._settling = self._settling, []
            self._woken.clear()
            started = time.perf_counter()
            deadline = asyncio.timeout(self._deadline_seconds)
            try:
                async with deadline:
                    step = await self._step()
            except Exception as error:
                failures += 1
                self._settling = waiting + self._settling
                pause = min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(failures, 10))
                if deadline.expired():
                    log.warning("step cut off at its deadline", extra={"worker": self.name})
                elif what := outages.out_of_reach(error):
                    self._outage.failed(what, error)
                else:
                    log.exception("step failed", extra={"worker": self.name, "failures": failures})
                metrics.step_done(self.name, "error", 0, time.perf_counter() - started)
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter only
                continue
            failures = 0
            self._outage.works()
            metrics.step_done(self.name, "ok", step.worked, time.perf_counter() - started)
            if step.worked:
                self.activity += step.worked
                self._settling = waiting + self._settling
                continue
            if step.pending:
                self._settling = waiting + self._settling
                await asyncio.sleep(PENDING_SECONDS)
                continue
            for future in waiting:
                if not future.done():
                    future.set_result(step.wake_at)
            await self._idle(step.wake_at)

    async def _idle(self, wake_at: datetime | None) -> None:
        until_wake = self._clock.seconds_until(wake_at) if wake_at else None
        # A wake time that has passed although the step found nothing is somebody else's work.
        seconds = self._poll_seconds
        if until_wake is not None:
            seconds = min(seconds, max(until_wake, 0.01))
        # Not wait_for, which before Python 3.12 forgets a cancellation that meets a wake-up.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()


class PeriodicWorker(WorkerLoop):
    """House-keeping, done now and then: nothing announces it and nobody waits for it."""

    def wake(self) -> None:
        """Nothing that happens makes it more pressing."""

    async def settle(self) -> datetime | None:
        """The present is settled without it."""
        return None


class Workers:
    """The background work of one process."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = tuple(workers)

    def wake(self) -> None:
        """Something was committed: let every worker look."""
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
