"""The process of a service: what it starts, in which order, and how it stops."""

import asyncio
import logging
import random
import socket
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Generic

import tzdata

from services.runtime import crash_points
from services.runtime.app.components import (
    Assemble,
    Components,
    HttpAddress,
    PeriodicWork,
    Runtime,
    S,
    Subscribe,
    open_runtime,
)
from services.runtime.app.gauge_collector import GAUGE_INTERVAL_SECONDS, GaugeCollector
from services.runtime.app.messaging import Messaging, start_messaging
from services.runtime.app.readiness import Readiness
from services.runtime.app.server import build_server
from services.runtime.app.settings import load, settings_may_change
from services.runtime.app.shutdown import shutdown_requested, wait_for_shutdown
from services.runtime.auth.call_context import act_for_all
from services.runtime.db import digests, revisions, schema
from services.runtime.db.due_work import DueWorkers
from services.runtime.db.leases import RENEW_SECONDS, BucketLeases
from services.runtime.db.schema import SchemaMisfitError
from services.runtime.errors import SettingsError
from services.runtime.messaging import outbox
from services.runtime.messaging.relay import STEP_DEADLINE_SECONDS
from services.runtime.observability import metrics, structured_logging
from services.runtime.rpc.health import PROBE_INTERVAL_SECONDS, Health
from services.runtime.workers.clock import SandboxClock
from services.runtime.workers.loop import PeriodicWorker, Step, WorkerLoop, Workers
from services.runtime.workers.retry import in_one_line, retry_until_success
from services.runtime.workers.tasks import end, run_together

log = logging.getLogger(__name__)

SETTINGS_POLL_SECONDS = 5.0
PURGE_POLL_SECONDS = 60.0
# Longer than a step takes to stop when it is cancelled once.
STOP_AGAIN_SECONDS = 10.0


class ServiceProcess(Generic[S]):
    """A process that serves until it is asked to stop, or its settings have changed."""

    def __init__(
        self, service: str, settings_type: type[S], assemble: Assemble[S], subscribe: Subscribe
    ) -> None:
        self._service = service
        self._settings_type = settings_type
        self._assemble = assemble
        self._subscribe = subscribe
        self._settings_changed = asyncio.Event()
        self._stop_delay_seconds = 0.0

    @property
    def must_restart(self) -> bool:
        """Whether settings have changed, and nobody has asked the process to shut down."""
        return self._settings_changed.is_set() and not shutdown_requested()

    async def run(self, health_address: str) -> None:
        """Start, serve, and stop in an order that loses no call.

        Health is answered from the start to the end. On the way out readiness ends first. Calls are
        answered for STOP_DELAY_SECONDS more. Then workers end, and `resources` closes the rest, the
        newest first: NATS, the server with its running calls, the database.
        """
        self._health = Health(health_address)
        # Another process that has this name is the one before, since it has the address.
        self._name = f"{socket.gethostname()} {health_address}"
        async with AsyncExitStack() as resources:
            await self._health.start()
            resources.push_async_callback(self._health.stop)
            serving = asyncio.create_task(self._start_and_serve(resources))
            stop = asyncio.create_task(wait_for_shutdown())
            changed = asyncio.create_task(self._settings_changed.wait())
            await asyncio.wait({serving, stop, changed}, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            changed.cancel()
            if not serving.done():
                was_ready = self._health.ready
                await self._health.drain()
                if was_ready:
                    await asyncio.sleep(self._stop_delay_seconds)
                await end([serving], STOP_AGAIN_SECONDS)
            try:
                await serving
            except asyncio.CancelledError:
                log.info("stopped")

    async def _start_and_serve(self, resources: AsyncExitStack) -> None:
        """Start each part after those that it needs, then serve."""
        service = self._service
        settings = await retry_until_success("settings", self._load_settings)
        structured_logging.set_level(settings.log_level)
        crash_points.arm(settings.crash_point)
        self._stop_delay_seconds = settings.stop_delay_seconds
        metrics.start(service, settings.metrics_address, revisions.head(service))
        self._health.export()
        async with asyncio.TaskGroup() as group:
            if settings_may_change():
                group.create_task(self._follow_settings(settings))
            runtime = await open_runtime(service, settings, resources)
            components = await self._assemble(runtime)
            server = await retry_until_success(
                "keys", lambda: build_server(service, runtime, components, self._health)
            )
            await server.start()
            group.create_task(server.wait_for_termination())
            resources.push_async_callback(server.stop, settings.drain_seconds)
            # From here on this task acts for every merchant; each call acts for its own caller.
            act_for_all(service)
            migration_url = settings.migration_database_url if settings.migrate_on_start else ""

            async def check_database() -> None:
                await schema.check(runtime.database, service)
                await runtime.read_clock()

            async def ensure_schema() -> None:
                await schema.ensure(runtime.database, service, migration_url)
                await runtime.read_clock()

            await retry_until_success("database", ensure_schema)
            if components.http is not None:
                await _serve_http(runtime, components.http, resources)
            subscriptions = self._subscribe(runtime.clock)
            messaging = await start_messaging(service, self._name, runtime, subscriptions)
            gauges = GaugeCollector(
                runtime.database, runtime.clock, components.gauge_queries,
                messaging.broker, service, subscriptions,
            )  # fmt: skip
            gauges.export()
            buckets = BucketLeases(runtime.database, runtime.lease(components.lease), self._name)
            workers = _workers(runtime, components, messaging, gauges, buckets)
            runtime.database.on_commit(workers.wake)
            if isinstance(runtime.clock, SandboxClock):
                group.create_task(runtime.clock.run(workers.settle))
            while True:
                await server.ready(serving=True)
                log.info(
                    "serving",
                    extra={"address": settings.grpc_address, "zone_data": tzdata.IANA_VERSION},
                )
                readiness = Readiness(self._health, check_database, messaging)
                try:
                    async with buckets.held(workers.wake):
                        await run_together(workers.run(), readiness.run())
                except SchemaMisfitError as misfit:
                    await server.ready(serving=False)
                    log.warning("no longer serving: %s", misfit)
                await retry_until_success("database", ensure_schema)

    async def _load_settings(self) -> S:
        return load(self._settings_type)

    async def _follow_settings(self, settings: S) -> None:
        """Request a restart when the files differ from what this process was started with."""
        logged = ""
        while True:
            await asyncio.sleep(SETTINGS_POLL_SECONDS)
            try:
                if load(self._settings_type) != settings:
                    break
            except SettingsError as error:
                reason = in_one_line(error)
                if reason != logged:
                    log.warning("settings have become bad: %s", reason)
                    logged = reason
        # All replicas see the same files, so each restarts at a random moment. A replica that is not
        # ready restarts at once: the old settings may be the cause.
        jitter_seconds = random.uniform(0, settings.restart_jitter_seconds)  # noqa: S311 - no secret
        with suppress(TimeoutError):
            async with asyncio.timeout(jitter_seconds):
                while self._health.ready:  # noqa: ASYNC110 - readiness changes once a second
                    await asyncio.sleep(PROBE_INTERVAL_SECONDS)
        log.info("settings have changed: restarting")
        self._settings_changed.set()


async def _serve_http(runtime: Runtime[S], http: HttpAddress, resources: AsyncExitStack) -> None:
    settings = runtime.settings
    tls = None if settings.grpc_plaintext else runtime.identity.server_context()
    await http.server.start(http.address, tls)
    resources.push_async_callback(http.server.stop, settings.drain_seconds)


def _workers(
    runtime: Runtime[S],
    components: Components,
    messaging: Messaging,
    gauges: GaugeCollector,
    buckets: BucketLeases,
) -> Workers:
    async def purge() -> Step:
        return await outbox.purge(runtime.database, runtime.settings.outbox_retention_days)

    def periodic(each: PeriodicWork) -> PeriodicWorker:
        async def step() -> Step:
            await each.work()
            # What is left waits for the next interval, so that it does not hold up due work.
            return Step()

        return PeriodicWorker(
            each.name, runtime.clock, step, each.poll_seconds, each.deadline_seconds
        )

    keep_digests = PeriodicWork(
        "digests",
        partial(digests.keep, runtime.database, runtime.clock),
        digests.POLL_SECONDS,
        digests.DEADLINE_SECONDS,
    )
    buckets.export()
    clock = runtime.clock
    return Workers([
        PeriodicWorker("leases", clock, buckets.renew, RENEW_SECONDS),
        DueWorkers(runtime.database, clock, buckets, components.due_work),
        WorkerLoop("relay", clock, messaging.relay.step, deadline_seconds=STEP_DEADLINE_SECONDS),
        PeriodicWorker("purge", clock, purge, PURGE_POLL_SECONDS),
        *map(periodic, (keep_digests, *components.periodic_work)),
        PeriodicWorker("gauges", clock, gauges.step, GAUGE_INTERVAL_SECONDS),
        *messaging.consumers,
        messaging.failed_events,
    ])  # fmt: skip
