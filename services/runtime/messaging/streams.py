"""Streams and durables are made by whoever migrates, with a user of the broker's who does nothing else.

Who may make a stream may have it take in others' messages and give them on under any name, and who may
make a consumer says to whom it delivers. So no service may, and no platform: it waits for them as a
service waits for its schema.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable

from services.runtime.messaging.broker import Broker, Durable, Trust
from services.runtime.messaging.events import Subscription, Subscriptions

# Each tells its facts in a stream of its own.
SERVICES = ("catalog", "scheduler", "payments", "notify")
# Where platforms hear what concerns one merchant, on a subject that names it.
MERCHANTS_STREAM = "MERCHANTS"
MERCHANTS_PREFIX = "merchants"
# A platform may take longer over an event than a service over a batch of them.
PLATFORM_ACK_WAIT_SECONDS = 60
PLATFORM_ACK_PENDING_MAX_MESSAGES = 1000

STREAMS = {
    **{service.upper(): f"recurring.{service}.v1.>" for service in SERVICES},
    MERCHANTS_STREAM: f"{MERCHANTS_PREFIX}.>",
}

# Makes what the broker lacks.
Make = Callable[[], Awaitable[None]]


class StreamMissingError(Exception):
    """The broker lacks a stream; the message says which, and what makes it."""


class DurableMissingError(Exception):
    """The broker lacks a durable, or what it should hear; the message says so, and what makes it."""


def wanted(service: str, heard: Subscriptions, merchants: Iterable[str]) -> list[Durable]:
    """The durables by which a service hears others, and those by which platforms hear merchants."""
    return [
        *(_of_service(service, stream, handled) for stream, handled in heard.items()),
        *(_of_platform(merchant) for merchant in merchants),
    ]


def _of_service(service: str, stream: str, handled: Iterable[Subscription]) -> Durable:
    return Durable(stream, service, frozenset(each.type for each in handled))


def _of_platform(merchant: str) -> Durable:
    """It stays, however long nobody reads: what it has not given yet is in the stream for its time."""
    return Durable(
        MERCHANTS_STREAM,
        merchant,
        frozenset({f"{MERCHANTS_PREFIX}.{merchant}.>"}),
        PLATFORM_ACK_WAIT_SECONDS,
        PLATFORM_ACK_PENDING_MAX_MESSAGES,
    )


async def make_at(
    url: str, service: str, trust: Trust, replicas: int, durables: Iterable[Durable]
) -> None:
    """As `make`, by a connection of its own."""
    broker = await Broker.connect(url, f"{service}-migrator", trust, replicas)
    try:
        await make(broker, durables)
    finally:
        await broker.close()


async def make(broker: Broker, durables: Iterable[Durable]) -> None:
    """Make every stream, and these durables, where they are not there; bring the others up to date."""
    for stream, subject in STREAMS.items():
        await broker.ensure_stream(stream, [subject])
    for durable in durables:
        await broker.ensure_durable(durable)


async def ensure(check: Callable[[], Awaitable[None]], make: Make | None) -> None:
    """See that nothing is missing: what is, is made, where the service may do that.

    Raises StreamMissingError or DurableMissingError otherwise.
    """
    try:
        await check()
    except (StreamMissingError, DurableMissingError):
        if make is None:
            raise
        await make()
        await check()


async def check(broker: Broker, *names: str) -> None:
    """Raise StreamMissingError unless these streams are there."""
    for name in names:
        if not await broker.has_stream(name):
            raise StreamMissingError(f"stream {name} is not there: migrate")


async def check_durable(
    broker: Broker, stream: str, durable: str, subjects: Collection[str]
) -> None:
    """Raise DurableMissingError unless the durable is there and hears these subjects."""
    heard = await broker.heard_by(stream, durable)
    if not heard:
        raise DurableMissingError(f"durable {durable} of stream {stream} is not there: migrate")
    if unheard := sorted(set(subjects) - heard):
        raise DurableMissingError(
            f"durable {durable} of stream {stream} does not hear {', '.join(unheard)}: migrate"
        )
