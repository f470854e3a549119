"""The life of a service's process: settings, connections, server, loops, drain."""

import asyncio
import gc
import logging
import os
import random
import signal
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import aiohttp
import grpc
import uvloop
from sqlalchemy.exc import DBAPIError

from services.runtime import commands, metrics, migrations, outbox, telemetry
from services.runtime.access import Access, Gate, act_for_all
from services.runtime.broker import Broker
from services.runtime.channel import open_channel
from services.runtime.clock import Clock, SandboxClock, SystemClock
from services.runtime.commands import EXIT_FAILED, Command, Desk
from services.runtime.database import Database, connect, is_outage
from services.runtime.events import Subscription
from services.runtime.health import Health
from services.runtime.identity import AUTHORITY_FILE, Identity
from services.runtime.inbox import Consumer
from services.runtime.keysets import KeyFile, KeySet, KeyUrl
from services.runtime.limits import Allowance
from services.runtime.loops import Chore, Loop, Step, Worker, Workers
from services.runtime.migrations import SchemaMisfitError
from services.runtime.readiness import (
    BROKER_AWAY_SECONDS,
    DATABASE_AWAY_SECONDS,
    Readiness,
    Steady,
)
from services.runtime.server import Addresses, Server
from services.runtime.settings import (
    HealthSettings,
    MigrationSettings,
    RuntimeSettings,
    SettingsError,
    load,
    settings_may_change,
)
from services.runtime.watch import WATCH_SECONDS, Look, Watch

log = logging.getLogger(__name__)

START_RETRY_SECONDS = 1.0
SETTINGS_POLL_SECONDS = 5.0
# Replicas that begin anew for the same reason do so within this time.
ANEW_SPREAD_SECONDS = 10.0
PURGE_POLL_SECONDS = 60.0
EXIT_BAD_SETTINGS = 78  # EX_CONFIG of sysexits(3).
# A batch makes some hundred thousand objects and drops them all; none of them needs the collector.
COLLECTION_THRESHOLD_OBJECTS = 100_000

R = TypeVar("R")
S = TypeVar("S", bound=RuntimeSettings)


@dataclass(frozen=True)
class Parts:
    """What a service is made of, beyond what every process has."""

    servicer: object
    register: Callable[[Any, grpc.aio.Server], None]
    # Full name of the gRPC service.
    grpc_service: str
    # Method name -> who may call it.
    access: Mapping[str, Access]
    # Name of a loop -> its step.
    loops: Mapping[str, Callable[[], Awaitable[Step]]] = field(default_factory=dict)
    # Stream of another service -> what is done with its events.
    subscriptions: Mapping[str, Sequence[Subscription]] = field(default_factory=dict)
    # What operators watch of its database.
    looks: Sequence[Look] = ()


@dataclass(frozen=True)
class Runtime(Generic[S]):
    """What a service is given to be wired with."""

    settings: S
    database: Database
    clock: Clock
    identity: Identity
    # Whatever is entered here is closed when the process ends.
    resources: AsyncExitStack

    def channel(self, target: str) -> grpc.aio.Channel:
        """A channel to another service."""
        channel = open_channel(target, self.identity)
        self.resources.push_async_callback(channel.close)
        return channel


Assemble = Callable[[Runtime[S]], Awaitable[Parts]]


def main(
    service: str,
    settings_type: type[S],
    assemble: Assemble[S],
    own_commands: Mapping[str, Command] = MappingProxyType({}),
) -> None:
    """Run the process: `python -m services.<service>` serves, with a command it does that and ends."""
    arguments = sys.argv[1:]
    options = commands.parse(service, own_commands, arguments) if arguments else None
    # What a command prints is for programs to read.
    telemetry.start_logging(service, sys.stderr if options else sys.stdout)
    try:
        if options and options.command == commands.MIGRATE:
            run_loop(_migrate(service, load(MigrationSettings).migration_database_url))
        elif options:
            settings = load(settings_type)
            run_loop(_operate(service, settings, assemble, own_commands, options))
        else:
            _serve(service, settings_type, assemble)
    except SettingsError as error:
        sys.stderr.write(f"recurring {service}: cannot start\n{error}\n")
        sys.exit(EXIT_BAD_SETTINGS)


def _serve(service: str, settings_type: type[S], assemble: Assemble[S]) -> None:
    """Serve until stopped; when settings in files change, stop and begin anew with them."""
    if settings_may_change():
        address = load(HealthSettings).health_address
    else:
        address = load(settings_type).health_address
    telemetry.start_tracing(service)
    life = Life(service, settings_type, assemble)
    run_loop(life.run(address))
    if life.begins_anew:
        telemetry.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606


async def _migrate(service: str, database_url: str) -> None:
    """Bring the schema up to date, once the database is there. Ends with status 1 if that fails."""
    try:
        await until_it_works(
            "database", lambda: migrations.upgrade_async(service, database_url), passing=is_outage
        )
    except Exception as error:  # noqa: BLE001 - whatever PostgreSQL or alembic say
        log.error("the schema was left as it was: %s", in_one_line(error))  # noqa: TRY400 - one line
        sys.exit(EXIT_FAILED)


def run_loop(work: Coroutine[Any, Any, R]) -> R:
    """Run a process's work in an event loop, with everything set for work in batches."""
    # What has been imported stays; the collector need not look through it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTION_THRESHOLD_OBJECTS)
    return uvloop.run(work)


async def _operate(
    service: str,
    settings: S,
    assemble: Assemble[S],
    own_commands: Mapping[str, Command],
    options: Namespace,
) -> None:
    """Do what an operator asks for, beside the processes that serve."""
    act_for_all(service)
    async with AsyncExitStack() as resources:
        runtime = await _open(service, settings, resources)
        parts = await assemble(runtime)
        desk = Desk(
            service,
            runtime.database,
            runtime.clock,
            settings.nats_url,
            settings.tls_folder / AUTHORITY_FILE,
            parts.subscriptions,
            parts.looks,
        )
        await commands.run(desk, own_commands, options)


async def _open(service: str, settings: S, resources: AsyncExitStack) -> Runtime[S]:
    """What a service is wired with; nothing has been asked of the database yet."""
    engine = connect(
        settings.database_url,
        application=f"recurring-{service}",
        pool_size=settings.database_pool_size,
    )
    telemetry.trace_statements(engine.sync_engine)
    database = Database(engine)
    resources.push_async_callback(database.close)
    clock: Clock = SystemClock()
    if settings.clock_url:
        clock = SandboxClock(settings.clock_url, service)
        await until_it_works("sandbox clock", clock.read)

    async def identity() -> Identity:
        return Identity(settings.tls_folder)

    return Runtime(
        settings, database, clock, await until_it_works("certificate", identity), resources
    )


class Life(Generic[S]):
    """A process from its first moment to its last."""

    def __init__(self, service: str, settings_type: type[S], assemble: Assemble[S]) -> None:
        # Whether the process is to be run again, with other settings.
        self.begins_anew = False
        self._service = service
        self._settings_type = settings_type
        self._assemble = assemble
        self._stop = asyncio.Event()
        self._stop_delay_seconds = 0.0

    async def run(self, health_address: str) -> None:
        """Start, serve, and stop when asked to, in an order that loses no call."""
        self._health = Health(health_address)
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, self._stop.set)
        async with AsyncExitStack() as resources:
            await self._health.start()
            resources.push_async_callback(self._health.stop)
            serving = asyncio.create_task(self._start_and_serve(resources))
            stopped = asyncio.create_task(self._stop.wait())
            await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if self._stop.is_set():
                was_ready = self._health.ready
                await self._health.report(ready=False)
                if was_ready:
                    # Callers see it and turn to other replicas; until then they are answered.
                    await asyncio.sleep(self._stop_delay_seconds)
                serving.cancel()
            try:
                await serving
            except asyncio.CancelledError:
                log.info("stopped")

    async def _start_and_serve(self, resources: AsyncExitStack) -> None:
        """Start in an order in which nothing is asked of a part that is not there, and serve."""
        settings = await until_it_works("settings", self._load)
        telemetry.set_level(settings.log_level)
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
        """Begin anew when the files say something else than what this process was started with."""
        while True:
            await asyncio.sleep(SETTINGS_POLL_SECONDS)
            try:
                changed = load(self._settings_type) != settings
            except SettingsError as error:
                log.warning("settings have become bad: %s", in_one_line(error))
                continue
            if changed:
                break
        if self._health.ready:
            # All replicas see the same files: not all of them at once.
            await asyncio.sleep(random.uniform(0, ANEW_SPREAD_SECONDS))  # noqa: S311 - no secret
        log.info("settings have changed: beginning anew")
        self.begins_anew = True
        self._stop.set()

    async def _serve(
        self, settings: S, resources: AsyncExitStack, group: asyncio.TaskGroup
    ) -> None:
        service = self._service
        runtime = await _open(service, settings, resources)
        database, clock = runtime.database, runtime.clock
        parts = await self._assemble(runtime)
        server = await until_it_works("keys", lambda: self._door(runtime, parts))
        await server.start()
        # From here on; calls, which come by the server, each act for their own caller.
        act_for_all(service)
        resources.push_async_callback(server.stop, settings.drain_seconds)

        async def schema_fits() -> None:
            async with database.read() as connection:
                await migrations.check(connection, service)

        async def broker_is_there() -> None:
            if not broker.connected:
                raise ConnectionError("not connected")

        if settings.migrate_on_start:
            url = settings.migration_database_url
            await until_it_works("database", lambda: migrations.upgrade_async(service, url))
        await until_it_works("database", schema_fits)
        broker = await until_it_works(
            "nats",
            lambda: Broker.connect(
                settings.nats_url,
                service,
                settings.tls_folder / AUTHORITY_FILE,
                settings.nats_stream_replicas,
            ),
        )
        resources.push_async_callback(broker.close)
        relay = outbox.Relay(database, broker, service, by_merchant=settings.merchant_events)
        await until_it_works("nats", relay.ensure_stream)
        workers = Workers(_workers(service, settings, database, broker, clock, parts, relay))
        database.on_commit(workers.nudge)
        if isinstance(clock, SandboxClock):
            group.create_task(clock.run(workers.settle))
        while True:
            await server.ready(serving=True)
            log.info("serving", extra={"address": settings.grpc_address})
            looks = {
                "database": (schema_fits, Steady(DATABASE_AWAY_SECONDS)),
                "nats": (broker_is_there, Steady(BROKER_AWAY_SECONDS)),
            }
            try:
                async with asyncio.TaskGroup() as work:
                    work.create_task(workers.run())
                    work.create_task(Readiness(self._health, looks).run())
            except* SchemaMisfitError as misfit:
                await server.ready(serving=False)
                log.warning("no longer serving: %s", misfit.exceptions[0])
            await until_it_works("database", schema_fits)

    async def _door(self, runtime: Runtime[S], parts: Parts) -> Server:
        settings = runtime.settings
        gate = Gate(
            await _keys(settings, runtime.resources),
            settings.auth_issuer,
            settings.auth_audience,
            {f"/{parts.grpc_service}/{name}": access for name, access in parts.access.items()},
            settings.auth_algorithms.split(),
        )
        allowance = Allowance(
            settings.caller_calls_per_second,
            settings.caller_burst_calls,
            settings.caller_calls_at_once,
        )
        addresses = Addresses(
            platforms=settings.grpc_address,
            peers=settings.peer_address,
            plaintext=settings.grpc_plaintext,
        )
        server = Server(self._service, gate, addresses, runtime.identity, self._health, allowance)
        server.add(parts.register, parts.servicer)
        if settings.reflection_enabled:
            server.reflect([parts.grpc_service])
        return server


async def _keys(settings: RuntimeSettings, resources: AsyncExitStack) -> KeySet:
    """The keys that callers' tokens are signed with; raises if they cannot be had."""
    if settings.auth_jwks_file is not None:
        return KeyFile(settings.auth_jwks_file)
    async with AsyncExitStack() as opened:
        http = await opened.enter_async_context(aiohttp.ClientSession())
        keys = KeyUrl(http, settings.auth_jwks_url)
        await keys.fetch()
        resources.push_async_exit(opened.pop_all())
    return keys


def _workers(
    service: str,
    settings: RuntimeSettings,
    database: Database,
    broker: Broker,
    clock: Clock,
    parts: Parts,
    relay: outbox.Relay,
) -> list[Worker]:
    async def purge() -> Step:
        return await outbox.purge(database, settings.outbox_retention_days)

    steps = {"relay": relay.step, **parts.loops}
    workers: list[Worker] = [Loop(name, clock, step) for name, step in steps.items()]
    watch = Watch(database, clock, parts.looks)
    watch.consumers(broker, service, parts.subscriptions)
    watch.show()
    workers.append(Chore("purge", clock, purge, PURGE_POLL_SECONDS))
    workers.append(Chore("watch", clock, watch.step, WATCH_SECONDS))
    workers += [
        Consumer(database, broker, stream, service, subscriptions)
        for stream, subscriptions in parts.subscriptions.items()
    ]
    return workers


async def until_it_works(
    what: str,
    start: Callable[[], Awaitable[R]],
    passing: Callable[[Exception], bool] = lambda _error: True,
) -> R:
    """Try to start something for as long as it takes, saying in one line what is missing, once.

    Raises an error that is not of the passing kind.
    """
    said = ""
    while True:
        try:
            return await start()
        except Exception as error:
            if not passing(error):
                raise
            why = in_one_line(error)
            if why != said:
                log.warning("waiting for %s: %s", what, why)
                said = why
        await asyncio.sleep(START_RETRY_SECONDS)


def in_one_line(error: Exception) -> str:
    """What is wrong, for a line of a log."""
    if isinstance(error, SettingsError):
        return "; ".join(str(error).splitlines())
    cause = error.driver_exception if isinstance(error, DBAPIError) else error
    return f"{type(cause).__name__}: {next(iter(str(cause).splitlines()), '')}"
