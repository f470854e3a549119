"""Time comes from one injected clock.

In production it is the system's. In the sandbox it is simulated and shared by all services, and stands
still between advances. Each service reports when it has nothing left to do at the present instant, and
when it needs to wake next. The clock jumps from one such instant to the next.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import aiohttp

from services.runtime.observability.outages import Reporter

SETTLE_SECONDS = 2.0
RETRY_SECONDS = 0.5
REPORT_TIMEOUT_SECONDS = 30.0


class Clock(Protocol):
    """A source of the time."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""

    def seconds_until(self, moment: datetime) -> float | None:
        """Real seconds until an instant; None if real time does not bring it."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        return datetime.now(UTC)

    def seconds_until(self, moment: datetime) -> float | None:
        """Real seconds until an instant."""
        return max(0.0, (moment - self.now()).total_seconds())


@dataclass(frozen=True, slots=True)
class Activity:
    """The report of a service to the simulated clock."""

    quiet: bool
    # Grows with the work of the process.
    count: int
    # The earliest instant for which there is work; None: none is known.
    wake_at: datetime | None


class SandboxClock:
    """The simulated clock as one process sees it; `run` follows it."""

    def __init__(self, base_url: str, service: str) -> None:
        # Replicas and restarts of a service differ by this: in containers all have the same process id.
        instance = uuid.uuid4().hex[:8]
        self._url = f"{base_url.rstrip('/')}/clock"
        self._participant = f"{self._url}/participants/{service}/{instance}"
        self._now: datetime | None = None

    def now(self) -> datetime:
        """The simulated instant, aware, in UTC."""
        if self._now is None:
            msg = "the simulated clock has not been read yet"
            raise RuntimeError(msg)
        return self._now

    def seconds_until(self, moment: datetime) -> float | None:
        """Simulated time stands still until it is advanced."""
        return 0.0 if moment <= self.now() else None

    async def read(self) -> None:
        """Read the time once, before the first use of `now`."""
        async with aiohttp.ClientSession() as http, http.get(self._url) as response:
            response.raise_for_status()
            self._take(await response.json())

    async def run(self, settle: Callable[[float], Awaitable[Activity]]) -> None:
        """Follow the clock until cancelled.

        `settle` has every worker look for work at the present instant, waits up to so many seconds
        until none has any, and returns the report.
        """
        timeout = aiohttp.ClientTimeout(total=REPORT_TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            round_seen = 0
            outage = Reporter()
            while True:
                activity = await settle(SETTLE_SECONDS)
                try:
                    answer = await self._report(http, round_seen, activity)
                except (aiohttp.ClientError, TimeoutError) as error:
                    outage.failed("sandbox clock", error)
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                outage.works()
                self._take(answer)
                round_seen = answer["round"]

    async def _report(
        self, http: aiohttp.ClientSession, round_seen: int, activity: Activity
    ) -> dict[str, Any]:
        report = {
            "round": round_seen,
            "quiet": activity.quiet,
            "activity": activity.count,
            "wake_at": activity.wake_at.isoformat() if activity.wake_at else None,
        }
        async with http.post(self._participant, json=report) as response:
            response.raise_for_status()
            answer: dict[str, Any] = await response.json()
            return answer

    def _take(self, answer: dict[str, Any]) -> None:
        self._now = datetime.fromisoformat(answer["now"]).astimezone(UTC)
