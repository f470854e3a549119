"""How much one caller may ask, so that there is something left for the others."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

import grpc

from services.runtime.errors import Problem

CALLERS_MAX = 10_000
# Answers that callers have asked for and do not read: of one caller, and of all.
CALLER_UNREAD_MAX_BYTES = 16 * 1024**2
UNREAD_MAX_BYTES = 64 * 1024**2
# Smaller ones are never refused: what a call has changed must not look as if it had not.
SMALL_ANSWER_BYTES = 64 * 1024
# Of a tenant, that wait for room: each has a place among all calls meanwhile.
QUEUE_MAX_CALLS = 20
# Whoever has too many calls under way does not know when one ends.
BUSY_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What one caller may ask of one process."""

    calls_per_second: float
    # How many calls may come at once after a quiet time.
    burst_calls: int
    calls_at_once: int


@dataclass(slots=True)
class _Account:
    """A caller's bucket of calls (a token bucket), its calls under way, and its unread answers."""

    left: float
    at: float
    under_way: int = 0
    unread_bytes: int = 0


class Limits:
    """Counts each caller's calls. Whoever has not called for longest is forgotten first."""

    def __init__(self, rate_limit: RateLimit) -> None:
        self._allowance = rate_limit
        self._accounts: OrderedDict[tuple[str, str], _Account] = OrderedDict()
        self.unread_bytes = 0

    def call(self, caller: tuple[str, str]) -> "Call":
        """A call, which counts until it ends. Raises RESOURCE_EXHAUSTED if it is one too many."""
        account = self._account(caller)
        if account.under_way >= self._allowance.calls_at_once:
            raise exhausted(
                "TOO_MANY_CALLS_AT_ONCE",
                f"more than {self._allowance.calls_at_once} calls are under way",
                BUSY_RETRY_SECONDS,
            )
        self._take(account)
        return Call(self, account)

    def _account(self, caller: tuple[str, str]) -> _Account:
        account = self._accounts.get(caller)
        if account is None:
            account = self._accounts[caller] = _Account(
                self._allowance.burst_calls, time.monotonic()
            )
            if len(self._accounts) > CALLERS_MAX:
                self._accounts.popitem(last=False)
        else:
            self._accounts.move_to_end(caller)
        return account

    def _take(self, account: _Account) -> None:
        now, rate = time.monotonic(), self._allowance.calls_per_second
        account.left = min(self._allowance.burst_calls, account.left + (now - account.at) * rate)
        account.at = now
        if account.left < 1:
            raise exhausted(
                "RATE_EXCEEDED", f"more than {rate:g} calls a second", (1 - account.left) / rate
            )
        account.left -= 1


class Call:
    """A call under way, until its answer has gone out: a caller may be in no hurry to read it."""

    __slots__ = ("_account", "_limits", "_unread_bytes")

    def __init__(self, limits: Limits, account: _Account) -> None:
        self._limits, self._account, self._unread_bytes = limits, account, 0
        account.under_way += 1

    def answer(self, size_bytes: int) -> None:
        """Keep an answer for the caller. Raises RESOURCE_EXHAUSTED if too much is kept already."""
        if size_bytes > SMALL_ANSWER_BYTES and (
            self._account.unread_bytes + size_bytes > CALLER_UNREAD_MAX_BYTES
            or self._limits.unread_bytes + size_bytes > UNREAD_MAX_BYTES
        ):
            raise exhausted(
                "TOO_MANY_CALLS_AT_ONCE",
                "earlier answers have not been read yet",
                BUSY_RETRY_SECONDS,
            )
        self._keep(size_bytes)

    def end(self) -> None:
        """The caller has its answer, or went without."""
        self._account.under_way -= 1
        self._keep(-self._unread_bytes)

    def _keep(self, size_bytes: int) -> None:
        self._unread_bytes += size_bytes
        self._account.unread_bytes += size_bytes
        self._limits.unread_bytes += size_bytes


class _Line(asyncio.Semaphore):
    """Those of a tenant who are in a room, and those who wait for it."""

    calls = 0


class ConcurrencyLimiter:
    """Bounds how many calls that take much memory run at once, in all and for each tenant."""

    def __init__(self, at_once: int, of_tenant: int) -> None:
        self._all = asyncio.Semaphore(at_once)
        self._of_tenant = of_tenant
        # Forgotten with the last call that is in it or waits for it.
        self._lines: WeakValueDictionary[str, _Line] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, tenant: str) -> AsyncIterator[None]:
        """A place, as soon as there is one. Raises RESOURCE_EXHAUSTED if too many wait already."""
        line = self._lines.setdefault(tenant, _Line(self._of_tenant))
        if line.calls >= self._of_tenant + QUEUE_MAX_CALLS:
            raise exhausted(
                "TOO_MANY_CALLS_AT_ONCE",
                f"{QUEUE_MAX_CALLS} calls of the merchant that take as much are in line",
                BUSY_RETRY_SECONDS,
            )
        line.calls += 1
        try:
            async with line, self._all:
                yield
        finally:
            line.calls -= 1


def exhausted(reason: str, message: str, retry_seconds: float) -> Problem:
    """It is too much at this moment."""
    return Problem(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        reason,
        f"{message}; try again later",
        # Not before it will do, and in milliseconds.
        retry_seconds=math.ceil(retry_seconds * 1000) / 1000,
    )


# Batches of the other services, and every answer.
MESSAGE_MAX_BYTES = 4 * 1024**2
