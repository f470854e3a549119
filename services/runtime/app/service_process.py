"""The life of a process that serves: settings, connections, server, workers, drain."""

import asyncio
import logging
import random
from contextlib import AsyncExitStack, suppress
from typing import Generic

import aiohttp
import tzdata

from services.runtime import crash_points
from services.runtime.app.components import (
    Assemble,
    Components,
    Runtime,
    S,
    Subscribe,
    open_runtime,
)
from services.runtime.app.gauge_collector import GAUGE_INTERVAL_SECONDS, GaugeCollector
from services.runtime.app.readiness import (
    BROKER_AWAY_SECONDS,
    DATABASE_AWAY_SECONDS,
    STREAMS_MISSING_SECONDS,
    BrokerProbe,
    Readiness,
    Steady,
)
from services.runtime.app.settings import Environment, RuntimeSettings, load, settings_may_change
from services.runtime.app.shutdown import shutdown_requested, wait_for_shutdown
from services.runtime.auth.authenticator import Authenticator
from services.runtime.auth.call_context import act_for_all
from services.runtime.auth.key_sets import KeyFile, KeySet, KeyUrl
from services.runtime.db import leases, migrations
from services.runtime.db.migrations import SchemaMisfitError
from services.runtime.db.pool import Database
from services.runtime.errors import SettingsError
from services.runtime.messaging import outbox, streams
from services.runtime.messaging.broker import Broker
from services.runtime.messaging.events import Subscriptions
from services.runtime.messaging.inbox import Consumer
from services.runtime.messaging.streams import Make
from services.runtime.observability import metrics, structured_logging
from services.runtime.rpc.health import PROBE_INTERVAL_SECONDS, Health
from services.runtime.rpc.limits import RateLimit
from services.runtime.rpc.server import Addresses, Server
from services.runtime.workers.clock import Clock, SandboxClock
from services.runtime.workers.loop import PeriodicWorker, Step, Worker, WorkerLoop, Workers
from services.runtime.workers.retry import in_one_line, retry_until_success
from services.runtime.workers.tasks import end, run_together

log = logging.getLogger(__name__)

SETTINGS_POLL_SECONDS = 5.0
PURGE_POLL_SECONDS = 60.0
# Longer than what is under way takes to stop at the first word.
STOP_AGAIN_SECONDS = 10.0


class ServiceProcess(Generic[S]):
    """A process from its first moment to its last."""

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
        """Start, serve, and stop when asked to, in an order that loses no call."""
        self._health = Health(health_address)
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
                await self._health.leave()
                if was_ready:
                    # Callers see it and turn to other replicas; until then they are answered.
                    await asyncio.sleep(self._stop_delay_seconds)
                await end([serving], STOP_AGAIN_SECONDS)
            try:
                await serving
            except asyncio.CancelledError:
                log.info("stopped")

    async def _start_and_serve(self, resources: AsyncExitStack) -> None:
        """Start in an order in which nothing is asked of a part that is not there, and serve."""
        settings = await retry_until_success("settings", self._load)
        structured_logging.set_level(settings.log_level)
        crash_points.arm(settings.crash_point)
        self._stop_delay_seconds = settings.stop_delay_seconds
        metrics.start(self._service, settings.metrics_address, migrations.head(self._service))
        self._health.show()
        async with asyncio.TaskGroup() as group:
            if settings_may_change():
                group.create_task(self._follow(settings))
            await self._serve(settings, resources, group)

    async def _load(self) -> S:
        return load(self._settings_type)

    async def _follow(self, settings: S) -> None:
        """Request a restart when the files differ from what this process was started with."""
        said = ""
        while True:
            await asyncio.sleep(SETTINGS_POLL_SECONDS)
            try:
                if load(self._settings_type) != settings:
                    break
            except SettingsError as error:
                why = in_one_line(error)
                if why != said:
                    log.warning("settings have become bad: %s", why)
                    said = why
        await self._wait_its_turn(settings.restart_jitter_seconds)
        log.info("settings have changed: restarting")
        self._settings_changed.set()

    async def _wait_its_turn(self, seconds: float) -> None:
        """Wait for a moment of this replica's own, since all see the same files.

        One that is not ready, since it may be the old settings that keep it from that, waits no longer.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(random.uniform(0, seconds)):  # noqa: S311 - no secret
                while self._health.ready:  # noqa: ASYNC110 - it is looked at once a second, too
                    await asyncio.sleep(PROBE_INTERVAL_SECONDS)

    async def _serve(
        self, settings: S, resources: AsyncExitStack, group: asyncio.TaskGroup
    ) -> None:
        service = self._service
        runtime = await open_runtime(service, settings, resources)
        database, clock = runtime.database, runtime.clock
        components = await self._assemble(runtime)
        server = await retry_until_success("keys", lambda: self._server(runtime, components))
        await server.start()
        group.create_task(server.watch())
        # From here on; calls, which come by the server, each act for their own caller.
        act_for_all(service)
        resources.push_async_callback(server.stop, settings.drain_seconds)

        async def schema_fits() -> None:
            async with database.check() as connection:
                await migrations.check(connection, service)

        async def have_schema() -> None:
            """Make the schema where the service may, and see that the code fits it."""
            if settings.migrate_on_start:
                await migrations.upgrade_async(service, settings.migration_database_url)
            await schema_fits()

        await retry_until_success("database", have_schema)
        broker = await self._broker(runtime, settings.nats_url)
        subscriptions = self._subscribe(clock)
        make = await self._maker(runtime, subscriptions)
        relay = outbox.Relay(
            database, broker, service, by_merchant=settings.merchant_events, make=make
        )
        await retry_until_success("nats", relay.ensure_streams)
        consumers = [
            Consumer(database, broker, stream, service, handled, make=make)
            for stream, handled in subscriptions.items()
        ]
        for consumer in consumers:
            await retry_until_success("nats", consumer.check_durable)
        watch = GaugeCollector(database, clock, components.gauge_queries)
        watch.consumers(broker, service, subscriptions)
        watch.show()
        workers = Workers(
            [*_workers(settings, database, clock, components, relay, watch), *consumers]
        )
        nats = BrokerProbe(
            broker, [relay.check_streams, *(consumer.check_durable for consumer in consumers)]
        )
        database.on_commit(workers.wake)
        if isinstance(clock, SandboxClock):
            group.create_task(clock.run(workers.settle))
        while True:
            await server.ready(serving=True)
            log.info(
                "serving",
                extra={"address": settings.grpc_address, "zone_data": tzdata.IANA_VERSION},
            )
            probes = {
                "database": (schema_fits, Steady(DATABASE_AWAY_SECONDS)),
                "nats": (nats.answers, Steady(BROKER_AWAY_SECONDS)),
                "streams": (nats.is_complete, Steady(STREAMS_MISSING_SECONDS)),
            }
            try:
                await run_together(workers.run(), Readiness(self._health, probes).run())
            except SchemaMisfitError as misfit:
                await server.ready(serving=False)
                log.warning("no longer serving: %s", misfit)
            await retry_until_success("database", have_schema)

    async def _maker(self, runtime: Runtime[S], subscriptions: Subscriptions) -> Make | None:
        """What makes streams and durables, where a service may."""
        settings = runtime.settings
        if not settings.migration_nats_url:
            return None
        broker = await self._broker(runtime, settings.migration_nats_url)
        merchants = settings.platform_merchants.split()
        durables = streams.wanted(self._service, subscriptions, merchants)
        return lambda: streams.make(broker, durables)

    async def _broker(self, runtime: Runtime[S], url: str) -> Broker:
        trust, replicas = runtime.identity.trust, runtime.settings.nats_stream_replicas
        broker = await retry_until_success(
            "nats", lambda: Broker.connect(url, self._service, trust, replicas)
        )
        runtime.resources.push_async_callback(broker.close)
        return broker

    async def _server(self, runtime: Runtime[S], components: Components) -> Server:
        settings = runtime.settings
        authenticator = Authenticator(
            await _keys(settings, runtime.resources),
            settings.auth_issuer,
            settings.auth_audience,
            {
                f"/{components.grpc_service}/{name}": access
                for name, access in components.access.items()
            },
            settings.auth_algorithms.split(),
        )
        rate_limit = RateLimit(
            settings.caller_calls_per_second,
            settings.caller_burst_calls,
            settings.caller_calls_at_once,
        )
        addresses = Addresses(
            platforms=settings.grpc_address,
            peers=settings.peer_address,
            plaintext=settings.grpc_plaintext,
            behind_proxy=settings.behind_proxy,
        )
        server = Server(
            self._service, authenticator, addresses, runtime.identity, self._health, rate_limit
        )
        server.add(components.register, components.servicer)
        if settings.reflection_enabled:
            server.reflect([components.grpc_service])
        return server


async def _keys(settings: RuntimeSettings, resources: AsyncExitStack) -> KeySet:
    """The keys that callers' tokens are signed with; raises if they cannot be had."""
    production = settings.environment is Environment.PRODUCTION
    if settings.auth_jwks_file is not None:
        return KeyFile(settings.auth_jwks_file, production=production)
    async with AsyncExitStack() as opened:
        http = await opened.enter_async_context(aiohttp.ClientSession())
        keys = KeyUrl(http, settings.auth_jwks_url, production=production)
        await keys.fetch()
        resources.push_async_exit(opened.pop_all())
    return keys


def _workers(
    settings: RuntimeSettings,
    database: Database,
    clock: Clock,
    components: Components,
    relay: outbox.Relay,
    watch: GaugeCollector,
) -> list[Worker]:
    async def purge() -> Step:
        return await outbox.purge(database, settings.outbox_retention_days)

    steps = [
        ("relay", relay.step, leases.BROKER),
        *((name, step, components.lease) for name, step in components.workers.items()),
    ]
    return [
        *(
            WorkerLoop(name, clock, step, deadline_seconds=lease.step_deadline_seconds)
            for name, step, lease in steps
        ),
        PeriodicWorker("purge", clock, purge, PURGE_POLL_SECONDS),
        PeriodicWorker("watch", clock, watch.step, GAUGE_INTERVAL_SECONDS),
    ]
