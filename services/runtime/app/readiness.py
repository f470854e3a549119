"""Readiness of a process: whether it should receive calls.

It depends on the database and the broker, and changes only when their state lasts. Every replica uses
the same servers, so a short interruption is no reason for clients to turn to another replica. Calls are
answered all the same: those that need the database are refused with UNAVAILABLE. Liveness depends on
neither, since a restart brings no server back.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from services.runtime.app.messaging import Messaging
from services.runtime.db.schema import SchemaMisfitError
from services.runtime.messaging.streams import DurableMissingError, StreamMissingError
from services.runtime.rpc.health import PROBE_INTERVAL_SECONDS, Health
from services.runtime.workers.retry import in_one_line

log = logging.getLogger(__name__)

PROBE_TIMEOUT_SECONDS = 3.0
# Every call needs the database.
DATABASE_AWAY_SECONDS = 10.0
# No call needs the broker, since events wait in the outbox. But a process that alone is without it for
# so long receives no events of other services.
BROKER_AWAY_SECONDS = 60.0
# No call needs a stream or a durable consumer either, but a missing one does not come back by itself. A
# service that may create it has done so by then.
STREAMS_MISSING_SECONDS = 10.0
BACK_SECONDS = 5.0

# Raises if what it checks is away.
Probe = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Debounced:
    """A state that follows observations only when they last."""

    away_seconds: float
    back_seconds: float = BACK_SECONDS
    there: bool = True
    # Since when the observations differ from the state.
    _differs_since: float | None = field(default=None, init=False)

    def observe(self, *, there: bool, at: float) -> bool:
        """Note an observation; returns the state."""
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


class _BrokerProbe:
    """Checks the broker, and whether it has the streams and durable consumers of the service.

    These are two states: a broker that is away still has what it had.
    """

    def __init__(self, messaging: Messaging) -> None:
        self._broker = messaging.broker
        self._checks = [
            messaging.relay.check_streams,
            *(consumer.check_durable for consumer in messaging.consumers),
        ]
        self._missing: Exception | None = None

    async def answers(self) -> None:
        """Raise if the broker does not answer."""
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
        """Raise if something was missing when the broker last answered."""
        if self._missing is not None:
            raise self._missing


class Readiness:
    """Checks what the process needs once a second, and reports whether it is ready."""

    def __init__(self, health: Health, check_database: Probe, messaging: Messaging) -> None:
        broker = _BrokerProbe(messaging)
        self._health = health
        self._probes = {
            "database": (check_database, Debounced(DATABASE_AWAY_SECONDS)),
            "nats": (broker.answers, Debounced(BROKER_AWAY_SECONDS)),
            "streams": (broker.is_complete, Debounced(STREAMS_MISSING_SECONDS)),
        }
        # The last failure of each probe.
        self._why: dict[str, str] = {}

    async def run(self) -> None:
        """Report readiness until cancelled.

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
        probe, state = self._probes[name]
        there = True
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                await probe()
        except SchemaMisfitError:
            raise
        except Exception as error:  # noqa: BLE001 - each client library has errors of its own
            self._why[name] = in_one_line(error)
            there = False
        return state.observe(there=there, at=time.monotonic())
