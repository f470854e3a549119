"""Time comes from one injected clock.

In production it is the database's, and goes on by the machine's monotonic clock from one reading to
the next. So all processes of a service have one time, and none charges early because the clock of its
machine was set wrong, or steps. In the sandbox it is simulated and shared by all services, and stands
still between advances. Each service reports when it has nothing left to do at the present instant, and
when it needs to wake next. The clock jumps from one such instant to the next.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from services.runtime.http_client import HttpClient, HttpError
from services.runtime.observability.outages import Reporter

log = logging.getLogger(__name__)

# A machine whose clock is off by more is worth a line in the log.
MACHINE_OFF_SECONDS = 2.0
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


class Machine:
    """The clocks of this machine."""

    def __init__(self) -> None:
        # What a fault suite lets the clock step by.
        self._step_seconds = 0.0

    def step(self, seconds: float) -> None:
        """Let its clock go on from another time, as an administrator or NTP does."""
        self._step_seconds += seconds

    def now(self) -> datetime:
        """The time that it is set to, aware, in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self._step_seconds)

    def elapsed_seconds(self) -> float:
        """Seconds since some moment, those of a suspended machine included; nobody sets them."""
        return time.clock_gettime(_NEVER_SET)


# Linux stops CLOCK_MONOTONIC while a machine is suspended; elsewhere there is no other.
_NEVER_SET = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class DatabaseClock(SystemClock):
    """The database's clock, as far as it was seen; the machine's until it was."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._zero: datetime | None = None
        self._machine_is_off = False

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        if self._zero is None:
            return self._machine.now()
        return self._zero + timedelta(seconds=self._machine.elapsed_seconds())

    async def read(self, ask: Callable[[], Awaitable[datetime]]) -> None:
        """Ask the database, and keep as near to its clock as the duration of the question allows."""
        before_seconds = self._machine.elapsed_seconds()
        answer = await ask()
        after_seconds = self._machine.elapsed_seconds()
        # The time at 0 elapsed seconds, if the answer was given at once, and if it took until now.
        latest = answer - timedelta(seconds=before_seconds)
        earliest = answer - timedelta(seconds=after_seconds)
        self._zero = min(max(self._zero or earliest, earliest), latest)
        self._compare()

    def _compare(self) -> None:
        """Log when the machine's clock comes to differ, and when it no longer does."""
        ahead_seconds = (self._machine.now() - self.now()).total_seconds()
        is_off = abs(ahead_seconds) > MACHINE_OFF_SECONDS
        if is_off and not self._machine_is_off:
            log.warning(
                "this machine's clock differs from the database's, which counts",
                extra={"ahead_seconds": round(ahead_seconds, 1)},
            )
        elif self._machine_is_off and not is_off:
            log.info("this machine's clock is the database's again")
        self._machine_is_off = is_off


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
        async with self._client() as http:
            answer = await http.request("GET", self._url)
            self._take(answer.expect_ok().json())

    async def run(self, settle: Callable[[float], Awaitable[Activity]]) -> None:
        """Follow the clock until cancelled.

        `settle` has every worker look for work at the present instant, waits up to so many seconds
        until none has any, and returns the report.
        """
        async with self._client() as http:
            round_seen = 0
            outage = Reporter()
            while True:
                activity = await settle(SETTLE_SECONDS)
                try:
                    answer = await self._report(http, round_seen, activity)
                except (HttpError, ValueError) as error:
                    outage.failed("sandbox clock", error)
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                outage.works()
                self._take(answer)
                round_seen = answer["round"]

    async def _report(
        self, http: HttpClient, round_seen: int, activity: Activity
    ) -> dict[str, Any]:
        report = {
            "round": round_seen,
            "quiet": activity.quiet,
            "activity": activity.count,
            "wake_at": activity.wake_at.isoformat() if activity.wake_at else None,
        }
        answered = await http.request("POST", self._participant, json=report)
        answer: dict[str, Any] = answered.expect_ok().json()
        return answer

    def _client(self) -> HttpClient:
        return HttpClient(connections_max=1, timeout_seconds=REPORT_TIMEOUT_SECONDS)

    def _take(self, answer: dict[str, Any]) -> None:
        self._now = datetime.fromisoformat(answer["now"]).astimezone(UTC)
