"""A provider that does not answer is left alone, and none is asked more often than it allows."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from services.payments.clients import request_limits
from services.payments.clients.request_limits import (
    FAILURES_MAX,
    OPEN_FIRST_SECONDS,
    OPEN_MAX_SECONDS,
    CircuitOpenError,
    RequestLimits,
)
from services.runtime.http_client import Answer, HttpError, HttpTimeoutError


class StandingClock:
    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 29, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def seconds_until(self, moment: datetime) -> float | None:
        return (moment - self.moment).total_seconds()

    def pass_by(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


async def answered() -> Answer:
    return Answer(200, b"{}")


async def declined() -> Answer:
    return Answer(402, b"{}")


async def failed() -> Answer:
    return Answer(503, b"")


async def throttled() -> Answer:
    return Answer(429, b"")


async def timed_out() -> Answer:
    raise HttpTimeoutError


Request = Callable[[], Awaitable[Answer]]


async def send(limits: RequestLimits, request: Request, times: int) -> None:
    for _ in range(times):
        try:
            await limits.send(request)
        except CircuitOpenError:
            raise
        except HttpError:
            pass


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def limits(clock: StandingClock) -> RequestLimits:
    return RequestLimits(clock, 1000)


async def is_asked(limits: RequestLimits, request: Request = answered) -> bool:
    try:
        await limits.send(request)
    except CircuitOpenError:
        return False
    return True


@pytest.mark.parametrize("request_", [timed_out, failed, throttled])
async def test_after_many_requests_without_an_answer_it_is_not_asked(
    limits: RequestLimits, request_: Request
) -> None:
    await send(limits, request_, FAILURES_MAX)
    assert not await is_asked(limits)


async def test_declines_are_answers(limits: RequestLimits) -> None:
    await send(limits, declined, 2 * FAILURES_MAX)
    assert await is_asked(limits)


async def test_one_answer_between_them_counts_anew(limits: RequestLimits) -> None:
    await send(limits, timed_out, FAILURES_MAX - 1)
    await send(limits, answered, 1)
    await send(limits, timed_out, FAILURES_MAX - 1)
    assert await is_asked(limits)


async def test_after_a_while_one_request_tries_and_its_answer_closes_the_circuit(
    limits: RequestLimits, clock: StandingClock
) -> None:
    await send(limits, timed_out, FAILURES_MAX)
    clock.pass_by(OPEN_FIRST_SECONDS)
    hold = asyncio.Event()

    async def slow() -> Answer:
        await hold.wait()
        return Answer(200, b"{}")

    trying = asyncio.create_task(limits.send(slow))
    await asyncio.sleep(0)
    assert not await is_asked(limits)
    hold.set()
    await trying
    assert await is_asked(limits)


async def test_each_try_that_fails_doubles_the_time_up_to_a_minute(
    limits: RequestLimits, clock: StandingClock
) -> None:
    await send(limits, timed_out, FAILURES_MAX)
    wait_seconds = OPEN_FIRST_SECONDS
    for _ in range(6):
        clock.pass_by(wait_seconds - 0.01)
        assert not await is_asked(limits)
        clock.pass_by(0.01)
        await send(limits, timed_out, 1)
        wait_seconds = min(2 * wait_seconds, OPEN_MAX_SECONDS)
    assert wait_seconds == OPEN_MAX_SECONDS


async def test_a_try_that_is_cancelled_has_failed_and_lets_another_try(
    limits: RequestLimits, clock: StandingClock
) -> None:
    await send(limits, timed_out, FAILURES_MAX)
    clock.pass_by(OPEN_FIRST_SECONDS)
    trying = asyncio.create_task(limits.send(asyncio.Event().wait))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    trying.cancel()
    await asyncio.gather(trying, return_exceptions=True)
    assert not await is_asked(limits)
    clock.pass_by(OPEN_MAX_SECONDS)
    assert await is_asked(limits)


async def test_where_the_clock_stands_still_the_machines_time_counts(
    limits: RequestLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_limits, "OPEN_FIRST_SECONDS", 0.05)
    await send(limits, timed_out, FAILURES_MAX)
    assert not await is_asked(limits)
    await asyncio.sleep(0.06)
    assert await is_asked(limits)


async def test_turns_come_at_the_rate_after_a_burst_of_a_second(clock: StandingClock) -> None:
    limits = RequestLimits(clock, 100)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await asyncio.gather(*(limits.turn() for _ in range(100)))
    burst_seconds = loop.time() - started
    await asyncio.gather(*(limits.turn() for _ in range(30)))
    assert burst_seconds < 0.25
    assert loop.time() - started >= 0.29


async def test_what_is_not_held_back_goes_on_and_its_answer_closes_the_circuit(
    limits: RequestLimits,
) -> None:
    await send(limits, timed_out, FAILURES_MAX)
    with pytest.raises(HttpTimeoutError):
        await limits.send(timed_out, holds_back=False)
    assert not await is_asked(limits)
    await limits.send(answered, holds_back=False)
    assert await is_asked(limits)
