"""Commands of operators: `python -m services.<service> <command>`.

Each command prints one JSON object a line, and can be repeated: it changes nothing twice.
"""

import argparse
import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import tzdata
from nats.errors import Error as NatsError

from services.runtime.app.gauge_collector import GaugeCollector
from services.runtime.db import idempotency, key_rotation, revisions, schema
from services.runtime.db.key_rotation import EncryptedTable
from services.runtime.db.pool import Database
from services.runtime.messaging import failed_events, outbox
from services.runtime.messaging.broker import Broker, Trust
from services.runtime.messaging.events import Subscriptions, by_type
from services.runtime.observability.gauges import GaugeQuery
from services.runtime.workers.clock import Clock

BROKER_TIMEOUT_SECONDS = 5.0
EXIT_FAILED = 1
MIGRATE = "migrate"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Line = Mapping[str, Any]


class CommandFailed(Exception):
    """The command failed, at least in part; it has printed why."""


@dataclass(frozen=True, slots=True)
class CommandContext:
    """The parts of a service that commands use."""

    service: str
    database: Database
    clock: Clock
    nats_url: str
    trust: Trust
    subscriptions: Subscriptions
    gauge_queries: Sequence[GaugeQuery]
    encrypted: Sequence[EncryptedTable]
    # As the servicer of the service calls others; None: it calls none.
    clients: Any = None


@dataclass(frozen=True, slots=True)
class Command:
    """A command; its work yields the lines to print."""

    summary: str
    work: Callable[[CommandContext, argparse.Namespace], AsyncIterator[Line]]
    arguments: Callable[[argparse.ArgumentParser], None] = lambda _parser: None


def parse(
    service: str, commands: Mapping[str, Command], arguments: Sequence[str]
) -> argparse.Namespace:
    """Parse a command line; exits with status 2 and the usage if it is invalid."""
    parser = argparse.ArgumentParser(
        prog=f"python -m services.{service}",
        description=f"Without a command, run the service {service}. With one, do that and exit.",
    )
    names = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    names.add_parser(
        MIGRATE, help="upgrade the database schema, and create or update NATS streams and consumers"
    )
    for name, command in {**RUNTIME, **commands}.items():
        command.arguments(names.add_parser(name, help=command.summary, description=command.summary))
    return parser.parse_args(arguments)


async def run(
    context: CommandContext, commands: Mapping[str, Command], options: argparse.Namespace
) -> None:
    """Run a command and print its lines. Exits with status 1 if it failed."""
    command = {**RUNTIME, **commands}[options.command]
    try:
        async for line in command.work(context, options):
            sys.stdout.write(json.dumps(line, default=_plain, ensure_ascii=False) + "\n")
            sys.stdout.flush()
    except CommandFailed:
        sys.exit(EXIT_FAILED)


# --- status ------------------------------------------------------------------------------------


async def _status(context: CommandContext, _options: argparse.Namespace) -> AsyncIterator[Line]:
    """The schema, and the values that the service exports as gauges."""
    try:
        await schema.check(context.database, context.service)
    except schema.SchemaMisfitError as error:
        yield {"problem": str(error)}
        raise CommandFailed from None
    yield {
        "service": context.service,
        "schema": revisions.head(context.service),
        "zone_data": tzdata.IANA_VERSION,
        # For `replay --since`, if a backup is made now.
        "time": datetime.now(UTC),
    }
    broker = None
    try:
        async with asyncio.timeout(BROKER_TIMEOUT_SECONDS):
            broker = await Broker.connect(
                context.nats_url, f"{context.service}-status", context.trust
            )
    except (NatsError, OSError) as error:
        yield {"problem": f"nats: {error!r}"}
    gauges = GaugeCollector(
        context.database, context.clock, context.gauge_queries,
        broker, context.service, context.subscriptions,
    )  # fmt: skip
    try:
        for gauge, labels, value in await gauges.read():
            yield {"metric": gauge.name, **labels, "value": value, "unit": gauge.unit}
    finally:
        if broker is not None:
            await broker.close()
    if broker is None:
        raise CommandFailed


# --- replay ------------------------------------------------------------------------------------


def _replay_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--since", type=moment, metavar="TIME",
        help="events stored since then, for example 2026-11-24T08:00:00Z",
    )  # fmt: skip
    parser.add_argument(
        "--position", type=int, metavar="N", help="events from this position of the outbox on"
    )


async def _replay(context: CommandContext, options: argparse.Namespace) -> AsyncIterator[Line]:
    """Publish events again; consumers ignore those that they have handled."""
    if options.since is None and options.position is None:
        yield {"problem": "give --since TIME, --position N, or both"}
        raise CommandFailed
    replayed = await outbox.replay(context.database, options.since or _EPOCH, options.position or 0)
    yield {"replayed": replayed, "since": options.since, "position": options.position}


# --- dead letters ------------------------------------------------------------------------------


def _letters_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--event", type=uuid.UUID, metavar="ID", help="only the event with this id")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--replay", action="store_true", help="handle the events now")
    what.add_argument(
        "--discard", action="store_true", help="delete the event given by --event, unhandled"
    )


async def _letters(context: CommandContext, options: argparse.Namespace) -> AsyncIterator[Line]:
    """List dead letters, handle them again, or discard one."""
    if options.discard and options.event is None:
        yield {"problem": "--discard needs --event ID"}
        raise CommandFailed
    subscriptions = by_type(context.subscriptions)
    failed = False
    for letter in await failed_events.dead_letters(context.database, options.event):
        line = {
            "event": letter.event_id,
            "type": letter.type,
            "about": letter.partition_key,
            "dead_letter_time": letter.dead_letter_time,
        }
        if options.discard:
            await failed_events.discard(context.database, letter)
            yield {**line, "outcome": "discarded"}
        elif options.replay:
            error = await failed_events.retry(context.database, subscriptions, letter)
            failed |= bool(error)
            yield {**line, "outcome": error or "handled"}
        else:
            yield {**line, "error": letter.error}
    if failed:
        raise CommandFailed


# --- reencrypt ------------------------------------------------------------------------------------


def _reencrypt_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", action="store_true", help="only count the rows; change nothing")


async def _reencrypt(context: CommandContext, options: argparse.Namespace) -> AsyncIterator[Line]:
    """Re-encrypt rows table by table, so that old data keys can be removed."""
    failed = False
    for table in (idempotency.ENCRYPTED_TABLES, *context.encrypted):
        tally = await key_rotation.reencrypt(context.database, table, only_count=options.count)
        failed |= bool(tally.unreadable) or (bool(tally.left) and not options.count)
        yield {"table": table.name, **tally._asdict()}
    if failed:
        raise CommandFailed


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def moment(written: str) -> datetime:
    """An instant as people write it, for the arguments of commands."""
    read = datetime.fromisoformat(written)
    if read.tzinfo is None:
        raise argparse.ArgumentTypeError("add the time zone: …Z or …+02:00")
    return read


RUNTIME: Mapping[str, Command] = {
    "status": Command("show the schema revision and the service's gauges", _status),
    "replay": Command("publish events of the outbox again", _replay, _replay_arguments),
    "dead-letters": Command(
        "list events that could not be handled; handle them again, or discard one",
        _letters,
        _letters_arguments,
    ),
    "reencrypt": Command(
        "encrypt data of older data keys with the newest one", _reencrypt, _reencrypt_arguments
    ),
}
