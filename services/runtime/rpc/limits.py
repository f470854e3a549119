"""Limits of one caller or tenant, so that the others are served."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

import grpc

from services.runtime.auth import call_context
from services.runtime.errors import Problem

# Batches between services, and every answer.
MESSAGE_MAX_BYTES = 4 * 1024**2
CALLERS_MAX = 10_000
# Answers that callers have not read yet: of one caller, and of all.
CALLER_UNREAD_MAX_BYTES = 16 * 1024**2
UNREAD_MAX_BYTES = 64 * 1024**2
# Smaller answers are always sent, so that a call that changed something does not look as if it failed.
SMALL_ANSWER_BYTES = 64 * 1024
# Calls of a tenant that wait for a limiter; each counts as a running call meanwhile.
QUEUE_MAX_CALLS = 20
# Suggested when too many calls run, since it is unknown when one ends.
BUSY_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The limits of one caller at one process."""

    calls_per_second: float
    # Calls at once after an idle time.
    burst_calls: int
    calls_at_once: int


@dataclass(slots=True)
class _Account:
    """A caller's token bucket, its running calls and its unread answers."""

    tokens: float
    refilled_at: float
    running_calls: int = 0
    unread_bytes: int = 0


class Limits:
    """Counts each caller's calls; forgets the caller whose last call is the longest ago first."""

    def __init__(self, rate_limit: RateLimit) -> None:
        self._rate_limit = rate_limit
        self._accounts: OrderedDict[tuple[str, str], _Account] = OrderedDict()
        self.unread_bytes = 0

    def call(self, caller: tuple[str, str]) -> "Call":
        """Begin a call, which counts until it ends. Raises RESOURCE_EXHAUSTED if it exceeds a limit."""
        account = self._account(caller)
        if account.running_calls >= self._rate_limit.calls_at_once:
            raise exhausted(
                "TOO_MANY_CALLS_AT_ONCE",
                f"more than {self._rate_limit.calls_at_once} calls are running",
                BUSY_RETRY_SECONDS,
            )
        self._take(account)
        return Call(self, account)

    def _account(self, caller: tuple[str, str]) -> _Account:
        account = self._accounts.get(caller)
        if account is None:
            account = self._accounts[caller] = _Account(
                self._rate_limit.burst_calls, time.monotonic()
            )
            if len(self._accounts) > CALLERS_MAX:
                self._accounts.popitem(last=False)
        else:
            self._accounts.move_to_end(caller)
        return account

    def _take(self, account: _Account) -> None:
        now, rate = time.monotonic(), self._rate_limit.calls_per_second
        elapsed = now - account.refilled_at
        account.tokens = min(self._rate_limit.burst_calls, account.tokens + elapsed * rate)
        account.refilled_at = now
        if account.tokens < 1:
            raise exhausted(
                "RATE_EXCEEDED", f"more than {rate:g} calls a second", (1 - account.tokens) / rate
            )
        account.tokens -= 1


class Call:
    """A call, from its start until the caller has read the answer."""

    __slots__ = ("_account", "_limits", "_unread_bytes")

    def __init__(self, limits: Limits, account: _Account) -> None:
        self._limits, self._account, self._unread_bytes = limits, account, 0
        account.running_calls += 1

    def answer(self, size_bytes: int) -> None:
        """Count the answer. Raises RESOURCE_EXHAUSTED if too many bytes are unread already."""
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
        """Stop counting: the caller has read the answer, or disconnected."""
        self._account.running_calls -= 1
        self._keep(-self._unread_bytes)

    def _keep(self, size_bytes: int) -> None:
        self._unread_bytes += size_bytes
        self._account.unread_bytes += size_bytes
        self._limits.unread_bytes += size_bytes


class _TenantQueue(asyncio.Semaphore):
    """The calls of a tenant that run in a limiter, and those that wait."""

    calls = 0


class ConcurrencyLimiter:
    """Bounds how many calls that take much memory run at once, in all and for each tenant."""

    def __init__(self, at_once: int, of_tenant: int) -> None:
        self._all = asyncio.Semaphore(at_once)
        self._of_tenant = of_tenant
        # Each queue is dropped with its last call.
        self._queues: WeakValueDictionary[str, _TenantQueue] = WeakValueDictionary()
        # The customers who have a call in their tenant's queue: with one each, none of them fills it.
        self._customers: set[tuple[str, str]] = set()

    @asynccontextmanager
    async def of(self, tenant: str) -> AsyncIterator[None]:
        """Wait for a turn of the tenant. Raises RESOURCE_EXHAUSTED if too many calls wait already."""
        with self._one_of_customer(tenant):
            async with self._turn(tenant):
                yield

    @contextmanager
    def _one_of_customer(self, tenant: str) -> Iterator[None]:
        """Count the call of a customer. Raises RESOURCE_EXHAUSTED if they have one already."""
        customer = call_context.customer()
        if not customer:
            yield
            return
        if (tenant, customer) in self._customers:
            raise exhausted(
                "TOO_MANY_CALLS_AT_ONCE",
                "such a call of the customer is running or waits",
                BUSY_RETRY_SECONDS,
            )
        self._customers.add((tenant, customer))
        try:
            yield
        finally:
            self._customers.remove((tenant, customer))

    @asynccontextmanager
    async def _turn(self, tenant: str) -> AsyncIterator[None]:
        queue = self._queues.setdefault(tenant, _TenantQueue(self._of_tenant))
        if queue.calls >= self._of_tenant + QUEUE_MAX_CALLS:
            raise exhausted(
                "TOO_MANY_CALLS_AT_ONCE",
                f"{QUEUE_MAX_CALLS} such calls of the merchant wait already",
                BUSY_RETRY_SECONDS,
            )
        queue.calls += 1
        try:
            async with queue, self._all:
                yield
        finally:
            queue.calls -= 1


def exhausted(reason: str, message: str, retry_seconds: float) -> Problem:
    """A limit is exceeded at this moment."""
    return Problem(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        reason,
        f"{message}; try again later",
        # Rounded up to milliseconds, so that a retry is not too early.
        retry_seconds=math.ceil(retry_seconds * 1000) / 1000,
    )
