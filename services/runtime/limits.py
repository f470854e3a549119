"""How much one caller may ask, so that there is something left for the others."""

import math
import time
from collections import OrderedDict
from contextlib import AbstractContextManager
from dataclasses import dataclass

import grpc

from services.runtime.errors import Problem

CALLERS_MAX = 10_000
# Whoever has too many calls under way does not know when one ends.
BUSY_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one caller may ask of one process."""

    calls_per_second: float
    # How many calls may come at once after a quiet time.
    burst_calls: int
    calls_at_once: int


@dataclass(slots=True)
class _Account:
    """A caller's bucket of calls (a token bucket), and its calls under way: each is within it."""

    left: float
    at: float
    under_way: int = 0

    def __enter__(self) -> None:
        self.under_way += 1

    def __exit__(self, *_raised: object) -> None:
        self.under_way -= 1


class Limits:
    """Counts each caller's calls. Whoever has not called for longest is forgotten first."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._accounts: OrderedDict[tuple[str, str], _Account] = OrderedDict()

    def call(self, caller: tuple[str, str]) -> AbstractContextManager[None]:
        """What a call of a caller is within. Raises RESOURCE_EXHAUSTED if it is one too many."""
        account = self._account(caller)
        if account.under_way >= self._allowance.calls_at_once:
            raise exhausted(
                "TOO_MANY_CALLS_AT_ONCE",
                f"more than {self._allowance.calls_at_once} calls are under way",
                BUSY_RETRY_SECONDS,
            )
        self._take(account)
        return account

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


def exhausted(reason: str, message: str, retry_seconds: float) -> Problem:
    """It is too much at this moment."""
    return Problem(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        reason,
        f"{message}; try again later",
        # Not before it will do, and in milliseconds.
        retry_seconds=math.ceil(retry_seconds * 1000) / 1000,
    )
