"""A proof at an interval, shown to Prometheus: so an alert can fire though nobody runs a command."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta

from aiohttp import web

from cli.errors import CommandError
from cli.prove.findings import Report

log = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Watch:
    """Proves at an interval, and keeps what the last proof came to."""

    def __init__(self, prove: Callable[[], Awaitable[Report]], interval: timedelta) -> None:
        self._prove = prove
        self._interval = interval
        self._report: Report | None = None
        self._finish_time = 0.0
        self._seconds = 0.0
        self._failure_count = 0

    async def run(self, host: str, port: int) -> None:
        """Prove, and serve `/metrics` and `/healthz`, until cancelled."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            while True:
                await self.step()
                await asyncio.sleep(self._interval.total_seconds())
        finally:
            await runner.cleanup()

    async def step(self) -> None:
        """Prove once; what cannot be read is tried again at the next interval."""
        begun = time.monotonic()
        try:
            self._report = await self._prove()
        except (CommandError, OSError) as error:
            self._failure_count += 1
            log.warning("no proof: %s", error)
            return
        self._seconds = time.monotonic() - begun
        self._finish_time = time.time()
        for violation in self._report.violations:
            log.error("violation: %s", violation)

    def exposition(self) -> str:
        """The numbers as Prometheus reads them. Without a proof so far, none about clauses."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        verdicts = self._report.verdicts if self._report else ()
        of_clauses = {
            "violations": ("What breaks a clause", [len(each.violations) for each in verdicts]),
            "checked": ("Rows that a clause is about", [each.checked for each in verdicts]),
            "in_motion": ("Differences that an event explains", [v.in_motion for v in verdicts]),
        }
        for name, (meaning, counts) in of_clauses.items():
            yield f"# HELP recurring_proof_{name} {meaning}"
            yield f"# TYPE recurring_proof_{name} gauge"
            for verdict, count in zip(verdicts, counts, strict=True):
                yield f'recurring_proof_{name}{{clause="{verdict.clause.id}"}} {count}'
        yield "# HELP recurring_proof_timestamp_seconds When the last proof was done"
        yield "# TYPE recurring_proof_timestamp_seconds gauge"
        yield f"recurring_proof_timestamp_seconds {self._finish_time:.3f}"
        yield "# HELP recurring_proof_duration_seconds How long the last proof took"
        yield "# TYPE recurring_proof_duration_seconds gauge"
        yield f"recurring_proof_duration_seconds {self._seconds:.3f}"
        yield "# HELP recurring_proof_failures_total Proofs that could not read something"
        yield "# TYPE recurring_proof_failures_total counter"
        yield f"recurring_proof_failures_total {self._failure_count}"

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self.exposition(), headers={"Content-Type": CONTENT_TYPE})

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")
