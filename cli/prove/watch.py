"""A proof at an interval, shown to Prometheus: so an alert can fire though nobody runs a command."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
    generate_latest,
    start_http_server,
)

from cli.errors import CommandError
from cli.prove.findings import Report

log = logging.getLogger(__name__)


class Watch:
    """Proves at an interval, and shows what the last proof came to."""

    def __init__(self, prove: Callable[[], Awaitable[Report]], interval: timedelta) -> None:
        self._prove = prove
        self._interval = interval
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(f"recurring_proof_{name}", meaning, labels, registry=registry)

        self._violations = gauge("violations", "What breaks a clause", "clause")
        self._checked = gauge("checked", "Rows that a clause is about", "clause")
        self._in_motion = gauge("in_motion", "Differences that an event explains", "clause")
        self._finish_time = gauge("timestamp_seconds", "When the last proof was done")
        self._seconds = gauge("duration_seconds", "How long the last proof took")
        self._failures = Counter(
            "recurring_proof_failures", "Proofs that could not read something", registry=registry
        )

    async def run(self, host: str, port: int) -> None:
        """Prove, and show the numbers over HTTP, until cancelled. Raises CommandError."""
        try:
            server, _ = start_http_server(port, host, self._registry)
        except OSError as error:
            raise CommandError(
                f"--metrics: cannot listen at {host} port {port}: {error}"
            ) from error
        try:
            while True:
                await self.step()
                await asyncio.sleep(self._interval.total_seconds())
        finally:
            server.shutdown()
            server.server_close()

    async def step(self) -> None:
        """Prove once; what cannot be read is tried again at the next interval."""
        begun = time.monotonic()
        try:
            report = await self._prove()
        except (CommandError, OSError) as error:
            self._failures.inc()
            log.warning("no proof: %s", error)
            return
        for verdict in report.verdicts:
            clause = verdict.clause.id
            self._violations.labels(clause).set(len(verdict.violations))
            self._checked.labels(clause).set(verdict.checked)
            self._in_motion.labels(clause).set(verdict.in_motion)
        self._seconds.set(time.monotonic() - begun)
        self._finish_time.set(time.time())
        for violation in report.violations:
            log.error("violation: %s", violation)

    def exposition(self) -> str:
        """The numbers as Prometheus reads them. Without a proof so far, none about clauses."""
        return generate_latest(self._registry).decode()
