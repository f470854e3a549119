"""The life of a service's process: settings, connections, server, loops, drain."""

import asyncio
import gc
import logging
import signal
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import grpc
import uvloop

from services.runtime import commands, metrics, migrations, outbox, telemetry
from services.runtime.access import Access, Gate
from services.runtime.broker import Broker
from services.runtime.channel import open_channel
from services.runtime.clock import Clock, SandboxClock, SystemClock
from services.runtime.commands import Command, Desk
from services.runtime.database import Database, connect
from services.runtime.events import Subscription
from services.runtime.identity import Identity
from services.runtime.inbox import Consumer
from services.runtime.loops import Chore, Loop, Step, Worker, Workers
from services.runtime.server import Addresses, Server
from services.runtime.settings import MigrationSettings, RuntimeSettings, SettingsError, load
from services.runtime.watch import WATCH_SECONDS, Look, Watch

log = logging.getLogger(__name__)

START_RETRY_SECONDS = 1.0
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
    try:
        if options and options.command == commands.MIGRATE:
            _migrate(service, load(MigrationSettings))
            return
        settings = load(settings_type)
    except SettingsError as error:
        sys.stderr.write(f"recurring {service}: cannot start\n{error}\n")
        sys.exit(EXIT_BAD_SETTINGS)
    # What a command prints is for programs to read.
    telemetry.start_logging(service, settings.log_level, sys.stderr if options else sys.stdout)
    if options:
        run_loop(_operate(service, settings, assemble, own_commands, options))
        return
    telemetry.start_tracing(service)
    metrics.start(service, settings.metrics_address, migrations.head(service))
    run_loop(_serve(service, settings, assemble))


def _migrate(service: str, settings: MigrationSettings) -> None:
    telemetry.start_logging(service, settings.log_level, sys.stderr)
    migrations.upgrade(service, settings.migration_database_url)


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
    async with AsyncExitStack() as resources:
        runtime = await _open(service, settings, resources)
        parts = await assemble(runtime)
        desk = Desk(
            service,
            runtime.database,
            runtime.clock,
            settings.nats_url,
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
        await _until_it_works("sandbox clock", clock.read)
    return Runtime(settings, database, clock, Identity(settings.tls_folder), resources)


async def _serve(service: str, settings: S, assemble: Assemble[S]) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with AsyncExitStack() as resources:
        run = asyncio.create_task(_run(service, settings, assemble, resources))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({run, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if stop.is_set():
            run.cancel()
        try:
            await run
        except asyncio.CancelledError:
            log.info("stopped")


async def _run(service: str, settings: S, assemble: Assemble[S], resources: AsyncExitStack) -> None:
    """Start in an order in which nothing is asked of a part that is not there, and serve."""
    runtime = await _open(service, settings, resources)
    database, clock = runtime.database, runtime.clock
    parts = await assemble(runtime)
    gate = Gate(
        settings.auth_jwks_file,
        settings.auth_issuer,
        settings.auth_audience,
        {f"/{parts.grpc_service}/{name}": access for name, access in parts.access.items()},
    )
    addresses = Addresses(
        platforms=settings.grpc_address,
        peers=settings.peer_address,
        health=settings.health_address,
        plaintext=settings.grpc_plaintext,
    )
    server = Server(service, gate, addresses, runtime.identity)
    server.add(parts.register, parts.servicer)
    if settings.reflection_enabled:
        server.reflect([parts.grpc_service])
    await server.start()
    resources.push_async_callback(server.stop, settings.drain_seconds)
    if settings.migrate_on_start:
        await _until_it_works(
            "database", lambda: migrations.upgrade_async(service, settings.migration_database_url)
        )
    await _until_it_works("database", database.ping)
    broker = await _until_it_works("nats", lambda: Broker.connect(settings.nats_url, service))
    resources.push_async_callback(broker.close)
    relay = outbox.Relay(database, broker, service)
    await _until_it_works("nats", relay.ensure_stream)
    workers = Workers(_workers(service, settings, database, broker, clock, parts, relay))
    database.on_commit(workers.nudge)
    await server.ready(serving=True)
    log.info("serving", extra={"address": settings.grpc_address})
    async with asyncio.TaskGroup() as group:
        group.create_task(workers.run())
        if isinstance(clock, SandboxClock):
            group.create_task(clock.run(workers.settle))


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


async def _until_it_works(what: str, start: Callable[[], Awaitable[R]]) -> R:
    """Try to start something for as long as it takes, saying in one line what is missing, once."""
    said = ""
    while True:
        try:
            return await start()
        except Exception as error:  # noqa: BLE001 - each client library has errors of its own
            why = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
            if why != said:
                log.warning("waiting for %s: %s", what, why)
                said = why
        await asyncio.sleep(START_RETRY_SECONDS)
