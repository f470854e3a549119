"""Limits of the requests to one provider: how often it is asked, and when it is not asked at all.

The HTTP client of each provider limits how many are under way at once. A request that is not sent for a
limit is one without an answer: its attempt is unknown, and looked up.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus

from services.runtime.http_client import Answer, HttpError
from services.runtime.observability import metrics
from services.runtime.workers.clock import Clock

# So many requests one after the other without an answer, and the provider is left alone for a while.
FAILURES_MAX = 20
# For how long at first and, doubled each time that one more request fails, at most.
OPEN_FIRST_SECONDS = 5.0
OPEN_MAX_SECONDS = 60.0
# What may begin at once after an idle time, in seconds of the rate.
BURST_SECONDS = 1.0

_opened_counter = metrics.counter(
    "recurring.provider.circuit.opened",
    "{opening}",
    "How often a provider that does not answer was left alone",
    [{}],
)


class CircuitOpenError(HttpError):
    """The provider has not answered for a while, and was not asked."""


@dataclass(slots=True)
class CircuitBreaker:
    """Closed while requests are answered; open for a while after many were not; then tries one.

    Time is over by the service's clock or the machine's, whichever comes first: the simulated one may
    stand still, or pass in a moment what takes hours.
    """

    clock: Clock
    _failure_count: int = 0
    _opened_count: int = 0
    _open_until: datetime | None = None
    # By the clock of the event loop.
    _open_until_seconds: float = 0.0
    _is_trying: bool = field(default=False)

    def begin(self) -> bool:
        """Begin a request; returns whether it is the one that tries. Raises CircuitOpenError."""
        if self._open_until is None:
            return False
        if self._is_open(self._open_until) or self._is_trying:
            raise CircuitOpenError("the provider has not answered lately")
        self._is_trying = True
        return True

    def _is_open(self, until: datetime) -> bool:
        machine_seconds = asyncio.get_running_loop().time()
        return self.clock.now() < until and machine_seconds < self._open_until_seconds

    def succeeded(self) -> None:
        """A request was answered."""
        self._failure_count = self._opened_count = 0
        self._open_until = None
        self._is_trying = False

    def failed(self, *, was_trying: bool) -> None:
        """A request was not answered."""
        self._failure_count += 1
        # None of the others opens it once more: they may have been under way when it opened.
        if self._failure_count < FAILURES_MAX or (self._open_until and not was_trying):
            return
        self._is_trying = False
        seconds = min(OPEN_FIRST_SECONDS * 2**self._opened_count, OPEN_MAX_SECONDS)
        self._opened_count += 1
        self._open_until = self.clock.now() + timedelta(seconds=seconds)
        self._open_until_seconds = asyncio.get_running_loop().time() + seconds
        _opened_counter.add(1)


class RequestLimits:
    """The rate of one provider's requests and its circuit breaker."""

    def __init__(self, clock: Clock, turns_per_second: float) -> None:
        self._breaker = CircuitBreaker(clock)
        self._rate = turns_per_second
        self._tokens = turns_per_second * BURST_SECONDS
        self._refilled_at = 0.0

    def turns_within(self, seconds: float) -> int:
        """How many payments, look-ups or refunds may begin within so many seconds, at least one."""
        return max(1, int(self._rate * seconds))

    async def turn(self) -> None:
        """Wait until one more payment, look-up or refund may begin."""
        # Taken before the wait, so that those who wait come one after the other.
        self._tokens = self._refilled() - 1
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / self._rate)

    async def send(
        self, request: Callable[[], Awaitable[Answer]], *, holds_back: bool = True
    ) -> Answer:
        """Send a request. Raises HttpError; CircuitOpenError if it was held back.

        One that is not held back is sent in any case, and closes the circuit if it is answered. It does
        not wait: only whoever waited for a turn knows until when a request may begin.
        """
        was_trying = self._breaker.begin() if holds_back else False
        try:
            answer = await request()
        except BaseException:
            self._breaker.failed(was_trying=was_trying)
            raise
        too_busy = answer.status == HTTPStatus.TOO_MANY_REQUESTS
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or too_busy:
            self._breaker.failed(was_trying=was_trying)
        else:
            self._breaker.succeeded()
        return answer

    def _refilled(self) -> float:
        now = asyncio.get_running_loop().time()
        since, self._refilled_at = self._refilled_at or now, now
        return min(self._rate * BURST_SECONDS, self._tokens + (now - since) * self._rate)
