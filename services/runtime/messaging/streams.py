"""Streams and durable consumers, which `migrate` creates as a user who does nothing else.

A user who may create a stream can have it receive the messages of others and republish them under any
name. A user who may create a consumer decides where it delivers. So neither services nor platforms may:
they wait for streams and consumers as a service waits for its schema.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import datetime
from typing import TypeVar

from services.runtime.messaging.broker import Broker, Durable, Trust
from services.runtime.messaging.events import Subscriptions

# Each publishes to a stream of its own.
SERVICES = ("catalog", "scheduler", "payments", "notify")
# Platforms read the events of a merchant here, on a subject that names it.
MERCHANTS_STREAM = "MERCHANTS"
MERCHANTS_PREFIX = "merchants"
# A platform may take longer for an event than a service for a batch.
PLATFORM_ACK_WAIT_SECONDS = 60
PLATFORM_ACK_PENDING_MAX_MESSAGES = 1000

STREAMS = {
    **{service.upper(): f"recurring.{service}.v1.>" for service in SERVICES},
    MERCHANTS_STREAM: f"{MERCHANTS_PREFIX}.>",
}

T = TypeVar("T")
# Creates what the broker lacks.
Make = Callable[[], Awaitable[None]]


class StreamMissingError(Exception):
    """The broker lacks a stream; the message says which, and what creates it."""


class DurableMissingError(Exception):
    """The broker lacks a durable consumer, or subjects of it; the message says which."""


def durables(service: str, subscriptions: Subscriptions, merchants: Iterable[str]) -> list[Durable]:
    """The durable consumers of a service, and those of the platforms of merchants."""
    of_service = [
        Durable(stream, service, frozenset(subscription.type for subscription in handled))
        for stream, handled in subscriptions.items()
    ]
    of_platforms = [
        Durable(
            MERCHANTS_STREAM,
            merchant,
            frozenset({f"{MERCHANTS_PREFIX}.{merchant}.>"}),
            PLATFORM_ACK_WAIT_SECONDS,
            PLATFORM_ACK_PENDING_MAX_MESSAGES,
        )
        for merchant in merchants
    ]
    return of_service + of_platforms


async def make_at(
    url: str, service: str, trust: Trust, replicas: int, durables: Iterable[Durable]
) -> None:
    """As `make`, with a connection of its own."""
    broker = await Broker.connect(url, f"{service}-migrator", trust, replicas)
    try:
        await make(broker, durables)
    finally:
        await broker.close()


async def make(broker: Broker, durables: Iterable[Durable]) -> None:
    """Create every stream, and these durable consumers, or update their configuration."""
    for stream, subject in STREAMS.items():
        await broker.ensure_stream(stream, [subject])
    for durable in durables:
        await broker.ensure_durable(durable)


async def ensure(check: Callable[[], Awaitable[T]], make: Make | None) -> T:
    """Check that nothing is missing, and create what is, if the service may.

    Returns what the check does. Raises StreamMissingError or DurableMissingError otherwise.
    """
    try:
        return await check()
    except (StreamMissingError, DurableMissingError):
        if make is None:
            raise
        await make()
        return await check()


async def newest(broker: Broker, *names: str) -> datetime:
    """When the newest of these streams was created. Raises StreamMissingError unless all exist."""
    times = []
    for name in names:
        created = await broker.creation_time(name)
        if created is None:
            raise StreamMissingError(f"stream {name} is not there: migrate")
        times.append(created)
    return max(times)


async def check_durable(
    broker: Broker, stream: str, durable: str, subjects: Collection[str]
) -> None:
    """Raise DurableMissingError unless the durable consumer exists and has these subjects."""
    present = await broker.subjects_of(stream, durable)
    if not present:
        raise DurableMissingError(f"durable {durable} of stream {stream} is not there: migrate")
    if missing := sorted(set(subjects) - present):
        raise DurableMissingError(
            f"durable {durable} of stream {stream} does not have {', '.join(missing)}: migrate"
        )
