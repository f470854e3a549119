"""Workers work while there is work, wait efficiently, and report correctly when there is none."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from services.runtime.observability import outages
from services.runtime.workers.loop import Step, Worker, WorkerLoop, Workers

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
NEVER_POLL_SECONDS = 3600.0
# Far more than anything here takes; reached only when something hangs.
GRACE_SECONDS = 20.0

IDLE = Step()


class StoppedClock:
    """A simulated clock that nobody advances."""

    def now(self) -> datetime:
        return NOW

    def seconds_until(self, moment: datetime) -> float | None:
        return 0.0 if moment <= NOW else None


class Script:
    """A step that does what it is told, one thing after the other, and then finds nothing."""

    def __init__(self, *steps: Step | Exception) -> None:
        self.left = list(steps)
        self.begun = 0
        self._changed = asyncio.Condition()

    async def __call__(self) -> Step:
        async with self._changed:
            self.begun += 1
            self._changed.notify_all()
        step = self.left.pop(0) if self.left else IDLE
        if isinstance(step, Exception):
            raise step
        return step

    async def until_begun(self, count: int) -> None:
        async with self._changed, asyncio.timeout(GRACE_SECONDS):
            await self._changed.wait_for(lambda: self.begun >= count)


class HeldStep:
    """A step that stays under way until it is let go."""

    def __init__(self) -> None:
        self.begun = asyncio.Semaphore(0)
        self.let_go = asyncio.Semaphore(0)

    async def __call__(self) -> Step:
        self.begun.release()
        await self.let_go.acquire()
        return IDLE


@asynccontextmanager
async def running(*workers: Worker) -> AsyncIterator[Workers]:
    together = Workers(workers)
    task = asyncio.create_task(together.run())
    try:
        async with asyncio.timeout(GRACE_SECONDS):
            yield together
    finally:
        task.cancel()
        await asyncio.wait({task})


def worker(step: "Script | HeldStep", poll_seconds: float = NEVER_POLL_SECONDS) -> WorkerLoop:
    return WorkerLoop("test", StoppedClock(), step, poll_seconds)


async def test_work_is_done_at_once_while_there_is_any() -> None:
    script = Script(Step(worked=3), Step(worked=2))
    work = worker(script)
    async with running(work):
        await work.settle()
    assert work.activity == 5
    assert script.left == []


async def test_a_wake_up_wakes_an_idle_worker() -> None:
    script = Script()
    work = worker(script)
    async with running(work):
        await script.until_begun(1)
        work.wake()
        await script.until_begun(2)


async def test_a_wake_up_during_a_step_is_not_lost() -> None:
    step = HeldStep()
    work = worker(step)
    async with running(work):
        await step.begun.acquire()
        work.wake()
        step.let_go.release()
        await step.begun.acquire()


async def test_an_idle_loop_polls_again_by_itself() -> None:
    script = Script()
    async with running(worker(script, poll_seconds=0.001)):
        await script.until_begun(3)


async def test_a_worker_polls_again_when_its_time_has_come() -> None:
    script = Script(Step(wake_at=NOW))
    async with running(worker(script)):
        await script.until_begun(2)


async def test_rest_is_only_believed_of_a_step_that_began_after_the_question() -> None:
    step = HeldStep()
    work = worker(step)
    async with running(work):
        await step.begun.acquire()
        rest = asyncio.create_task(work.settle())
        # The step that was under way finds nothing, but it may have looked too early.
        step.let_go.release()
        await step.begun.acquire()
        assert not rest.done()
        step.let_go.release()
        await rest


async def test_a_worker_at_rest_knows_when_it_has_work_next() -> None:
    work = worker(Script(Step(worked=1), Step(wake_at=LATER), Step(wake_at=LATER)))
    async with running(work):
        assert await work.settle() == LATER


async def test_work_in_other_hands_is_no_rest() -> None:
    script = Script(Step(pending=True), Step(elsewhere=True), Step(elsewhere=True))
    work = worker(script)
    async with running(work):
        await work.settle()
    assert script.left == []


async def test_an_outage_has_no_stack_in_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "_outages", {})
    caplog.set_level("INFO")
    step = Script(ConnectionRefusedError("refused"), ConnectionRefusedError("refused"))
    async with running(worker(step)):
        await step.until_begun(3)
    assert [(record.getMessage(), record.exc_info) for record in caplog.records] == [
        ("waiting for database: ConnectionRefusedError: refused", None),
        ("database: back", None),
    ]


async def test_a_failing_step_is_tried_until_it_works(caplog: pytest.LogCaptureFixture) -> None:
    script = Script(ValueError("a bug"), ValueError("still there"), Step(worked=1))
    work = worker(script)
    async with running(work):
        await work.settle()
    assert work.activity == 1
    assert [record.getMessage() for record in caplog.records] == ["step failed"] * 2


async def test_a_worker_that_fails_is_not_at_rest() -> None:
    work = worker(Script(*[OSError("out")] * 100))
    async with running(work) as workers:
        activity = await workers.settle(0.05)
    assert not activity.quiet


async def test_a_process_is_at_rest_when_all_its_workers_are() -> None:
    held = HeldStep()
    workers: Sequence[Worker] = [worker(Script()), worker(held)]
    async with running(*workers) as together:
        assert not (await together.settle(0.05)).quiet
        held.let_go.release()
        held.let_go.release()
        held.let_go.release()
        assert (await together.settle(GRACE_SECONDS)).quiet


async def test_a_process_wakes_for_the_earliest_of_its_workers() -> None:
    sooner = LATER - timedelta(hours=1)
    work = [worker(Script(*[Step(wake_at=when)] * 9)) for when in (LATER, sooner)]
    async with running(*work, worker(Script())) as together:
        activity = await together.settle(GRACE_SECONDS)
    assert (activity.quiet, activity.wake_at) == (True, sooner)


async def test_a_process_counts_the_work_of_all_its_workers() -> None:
    work = [worker(Script(Step(worked=2))), worker(Script(Step(worked=3)))]
    async with running(*work) as together:
        assert (await together.settle(GRACE_SECONDS)).count == 5


async def test_a_process_without_workers_is_at_rest() -> None:
    assert (await Workers([]).settle(GRACE_SECONDS)).quiet


async def test_a_worker_stops_although_it_is_woken_at_that_moment() -> None:
    script = Script()
    work = worker(script)
    task = asyncio.create_task(work.run())
    await script.until_begun(1)
    await asyncio.sleep(0)
    work.wake()
    # The wake-up is on its way to the worker, which has not run since.
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=GRACE_SECONDS)
    assert done


async def test_workers_stop_although_a_step_fails_on_the_way_out() -> None:
    begun = asyncio.Event()

    async def step() -> Step:
        begun.set()
        try:
            await asyncio.sleep(GRACE_SECONDS)
        except asyncio.CancelledError:
            msg = "lost while it was given back"
            raise ConnectionError(msg) from None
        return IDLE

    task = asyncio.create_task(Workers([WorkerLoop("work", StoppedClock(), step)]).run())
    await begun.wait()
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=GRACE_SECONDS)
    assert done


async def test_a_step_that_hangs_is_cut_off_at_its_deadline_and_taken_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun = 0

    async def step() -> Step:
        nonlocal begun
        begun += 1
        if begun == 1:
            await asyncio.Event().wait()
        return Step()

    hanging = WorkerLoop("test", StoppedClock(), step, deadline_seconds=0.05)
    task = asyncio.create_task(hanging.run())
    await asyncio.wait_for(hanging.settle(), 5)
    task.cancel()
    assert begun >= 2
    assert [record.message for record in caplog.records] == ["step cut off at its deadline"]
