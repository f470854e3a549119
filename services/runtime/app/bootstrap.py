"""The entry point of a service: it serves, or runs an operator's command."""

import gc
import logging
import ssl
import sys
from argparse import Namespace
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import uvloop

from services.runtime.app import commands
from services.runtime.app.commands import EXIT_FAILED, Command, CommandContext
from services.runtime.app.components import Assemble, S, Subscribe, open_runtime
from services.runtime.app.service_process import ServiceProcess
from services.runtime.app.settings import (
    HealthSettings,
    MigrationSettings,
    load,
    settings_may_change,
)
from services.runtime.app.shutdown import keep_pending
from services.runtime.auth.call_context import act_for_all
from services.runtime.auth.tls import AUTHORITY_FILE
from services.runtime.errors import SettingsError
from services.runtime.messaging import streams
from services.runtime.observability import structured_logging, tracing
from services.runtime.observability.outages import is_outage
from services.runtime.workers.clock import SystemClock
from services.runtime.workers.retry import in_one_line, retry_until_success

log = logging.getLogger(__name__)

EXIT_BAD_SETTINGS = 78  # EX_CONFIG of sysexits(3).
# Settings have changed: the supervisor restarts the process with the new ones.
EXIT_RESTART = 75  # EX_TEMPFAIL of sysexits(3).
# A batch creates and drops some hundred thousand objects; none of them needs the garbage collector.
COLLECTION_THRESHOLD_OBJECTS = 100_000

R = TypeVar("R")


def main(
    service: str,
    settings_type: type[S],
    assemble: Assemble[S],
    subscribe: Subscribe,
    own_commands: Mapping[str, Command] = MappingProxyType({}),
) -> None:
    """Run `python -m services.<service>`: without a command it serves."""
    arguments = sys.argv[1:]
    options = commands.parse(service, own_commands, arguments) if arguments else None
    # A command prints JSON on standard output.
    structured_logging.start_logging(service, sys.stderr if options else sys.stdout)
    try:
        if options and options.command == commands.MIGRATE:
            run_loop(_migrate(service, load(MigrationSettings), subscribe))
        elif options:
            settings = load(settings_type)
            run_loop(_operate(service, settings, assemble, subscribe, own_commands, options))
        else:
            _serve(service, settings_type, assemble, subscribe)
    except SettingsError as error:
        sys.stderr.write(f"recurring {service}: cannot start\n{error}\n")
        sys.exit(EXIT_BAD_SETTINGS)


def _serve(
    service: str, settings_type: type[S], assemble: Assemble[S], subscribe: Subscribe
) -> None:
    """Serve until stopped; exit with EXIT_RESTART when settings in files have changed."""
    if settings_may_change():
        address = load(HealthSettings).health_address
    else:
        address = load(settings_type).health_address
    keep_pending()
    tracing.start_tracing(service)
    process = ServiceProcess(service, settings_type, assemble, subscribe)
    run_loop(process.run(address))
    if process.must_restart:
        sys.exit(EXIT_RESTART)


async def _migrate(service: str, settings: MigrationSettings, subscribe: Subscribe) -> None:
    """Upgrade schema, streams and durable consumers when their servers are there.

    Exits with status 1 if a migration fails.
    """
    # Imported here, since processes that serve need neither it nor what it needs.
    from services.runtime.db import migrations  # noqa: PLC0415

    url = settings.migration_database_url
    try:
        await retry_until_success(
            "database", lambda: migrations.upgrade_async(service, url), is_transient=is_outage
        )
    except Exception as error:  # noqa: BLE001 - whatever PostgreSQL or alembic say
        log.error("the schema was left as it was: %s", in_one_line(error))  # noqa: TRY400 - one line
        sys.exit(EXIT_FAILED)
    if settings.migration_nats_url:
        file = settings.tls_folder / AUTHORITY_FILE if settings.tls_folder else None
        trust = partial(ssl.create_default_context, cafile=file)
        merchants = settings.platform_merchants.split()
        durables = streams.durables(service, subscribe(SystemClock()), merchants)
        make = partial(
            streams.make_at,
            settings.migration_nats_url,
            service,
            trust,
            settings.nats_stream_replicas,
            durables,
        )
        await retry_until_success("nats", make)


def run_loop(work: Coroutine[Any, Any, R]) -> R:
    """Run in an event loop, with the garbage collector set for work in batches."""
    # Imported modules stay, so the collector need not traverse them.
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTION_THRESHOLD_OBJECTS)
    return uvloop.run(work)


async def _operate(
    service: str,
    settings: S,
    assemble: Assemble[S],
    subscribe: Subscribe,
    own_commands: Mapping[str, Command],
    options: Namespace,
) -> None:
    """Run a command beside the processes that serve."""
    act_for_all(service)
    async with AsyncExitStack() as resources:
        runtime = await open_runtime(service, settings, resources)
        await runtime.read_clock()
        components = await assemble(runtime)
        context = CommandContext(
            service,
            runtime.database,
            runtime.clock,
            settings.nats_url,
            runtime.identity.trust,
            subscribe(runtime.clock),
            components.gauge_queries,
            components.encrypted,
            components.clients,
        )
        await commands.run(context, own_commands, options)
