"""Whether a process is to be sent calls: it follows the database and the broker, but no hiccup.

One failing look at either is no reason: clients would all turn to other replicas, which look at the
same servers. Readiness goes when something has been away for as long as callers can bear, and comes
back once it has been there for a while. Calls are answered all the same (what needs the database is
refused as UNAVAILABLE), and liveness asks neither: starting a process anew brings no server back.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from services.runtime.db.migrations import SchemaMisfitError
from services.runtime.messaging.broker import Broker
from services.runtime.messaging.streams import DurableMissingError, StreamMissingError
from services.runtime.rpc.health import PROBE_INTERVAL_SECONDS, Health
from services.runtime.workers.retry import in_one_line

log = logging.getLogger(__name__)

LOOK_TIMEOUT_SECONDS = 3.0
# Every call needs the database.
DATABASE_AWAY_SECONDS = 10.0
# No call needs the broker: what is told waits in the outbox. But a process that has been without it for
# so long, alone, hears of nothing that others tell.
BROKER_AWAY_SECONDS = 60.0
# Nor does a call need a stream or a durable, but one that is missing does not come back by itself: what
# may make it has done so by then.
STREAMS_MISSING_SECONDS = 10.0
BACK_SECONDS = 5.0


@dataclass(slots=True)
class Steady:
    """A state that follows what is seen of it only when that lasts."""

    away_seconds: float
    back_seconds: float = BACK_SECONDS
    there: bool = True
    # Since when what is seen differs from the state.
    _differs_since: float | None = field(default=None, init=False)

    def see(self, *, there: bool, at: float) -> bool:
        """Take note of what is seen at a moment; returns the state."""
        if there == self.there:
            self._differs_since = None
            return self.there
        if self._differs_since is None:
            self._differs_since = at
        lasting = self.away_seconds if self.there else self.back_seconds
        if at - self._differs_since >= lasting:
            self.there = there
            self._differs_since = None
        return self.there


# Raises if what it looks at is away.
Probe = Callable[[], Awaitable[None]]


class BrokerProbe:
    """Looks at the broker, and whether it has what the service publishes to and reads from.

    What is missing there is another thing than a broker that is away, which keeps what it has.
    """

    def __init__(self, broker: Broker, checks: Sequence[Probe]) -> None:
        self._broker = broker
        self._checks = checks
        self._missing: Exception | None = None

    async def answers(self) -> None:
        """Raise if the broker does not say what it has."""
        if not self._broker.connected:
            raise ConnectionError("not connected")
        missing: Exception | None = None
        for check in self._checks:
            try:
                await check()
            except (StreamMissingError, DurableMissingError) as error:
                missing = error
        self._missing = missing

    async def is_complete(self) -> None:
        """Raise if something was missing when the broker answered last."""
        if self._missing is not None:
            raise self._missing


class Readiness:
    """Looks at what the process needs, again and again, and reports whether it is ready."""

    def __init__(self, health: Health, probes: Mapping[str, tuple[Probe, Steady]]) -> None:
        self._health = health
        self._probes = probes
        # What the last look that failed said, by name.
        self._why: dict[str, str] = {}

    async def run(self) -> None:
        """Be ready for as long as what is needed is there; until cancelled.

        Raises SchemaMisfitError when the database gets a schema that the code must not serve on.
        """
        while True:
            await asyncio.sleep(PROBE_INTERVAL_SECONDS)
            away = [name for name in self._probes if not await self._is_there(name)]
            if away and self._health.ready:
                log.info("not ready: %s", "; ".join(f"{name}: {self._why[name]}" for name in away))
            elif not away and not self._health.ready:
                log.info("ready again")
            await self._health.report(ready=not away)

    async def _is_there(self, name: str) -> bool:
        look, steady = self._probes[name]
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_SECONDS):
                await look()
        except SchemaMisfitError:
            raise
        except Exception as error:  # noqa: BLE001 - each client library has errors of its own
            self._why[name] = in_one_line(error)
            return steady.see(there=False, at=time.monotonic())
        return steady.see(there=True, at=time.monotonic())
