"""The streams are made by whoever migrates, with a user of the broker's that has no other right.

Who may make a stream may have it take in others' messages and give them on under any name. So no
service may: it waits for its stream as it waits for its schema.
"""

from services.runtime.broker import Broker, Trust

# Each tells its facts in a stream of its own.
SERVICES = ("catalog", "scheduler", "payments", "notify")
# Where platforms hear what concerns one merchant, on a subject that names it.
MERCHANTS_STREAM = "MERCHANTS"
MERCHANTS_PREFIX = "merchants"

STREAMS = {
    **{service.upper(): f"recurring.{service}.v1.>" for service in SERVICES},
    MERCHANTS_STREAM: f"{MERCHANTS_PREFIX}.>",
}


class StreamMissingError(Exception):
    """The broker lacks a stream; the message says which, and what makes it."""


async def make_at(url: str, service: str, trust: Trust, replicas: int) -> None:
    """As `make`, by a connection of its own."""
    broker = await Broker.connect(url, f"{service}-migrator", trust, replicas)
    try:
        await make(broker)
    finally:
        await broker.close()


async def make(broker: Broker) -> None:
    """Make every stream that is not there, and bring the others to their configuration."""
    for stream, subject in STREAMS.items():
        await broker.ensure_stream(stream, [subject])


async def check(broker: Broker, *names: str) -> None:
    """Raise StreamMissingError unless these streams are there."""
    for name in names:
        if not await broker.has_stream(name):
            raise StreamMissingError(f"stream {name} is not there: migrate")
