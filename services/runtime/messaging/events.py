"""Events: CloudEvents 1.0 in NATS binary mode, a protobuf message as the body.

Sources: CloudEvents 1.0 core and its NATS protocol binding (attributes as `ce-` headers); the
`partitionkey` extension; W3C trace context for `traceparent`.
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

CONTENT_TYPE = "application/protobuf"
SPEC_VERSION = "1.0"
# Event ids are derived from the fact, so telling a fact again makes the same event.
EVENT_NAMESPACE = uuid.UUID("5f0e64a6-0d1c-5b53-9c2a-6a2b7d5a1e10")

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """Something that happened, to be told in the transaction that made it happen."""

    # What makes the fact unique among those of its type, for example the order's name.
    key: str
    message: Message
    tenant: str
    partition_key: str
    occur_time: datetime
    # The trace that it belongs to; empty: the current one.
    traceparent: str = ""

    @property
    def type(self) -> str:
        """The CloudEvents type and NATS subject: the message's full name."""
        return self.message.DESCRIPTOR.full_name

    @property
    def event_id(self) -> uuid.UUID:
        """The same for the same fact, whenever it is told."""
        return uuid.uuid5(EVENT_NAMESPACE, f"{self.type}|{self.tenant}|{self.key}")


@dataclass(frozen=True, slots=True)
class Event(Generic[M]):
    """A fact as another service told it."""

    id: uuid.UUID
    tenant: str
    partition_key: str
    occur_time: datetime
    traceparent: str
    message: M


Handler = Callable[[AsyncConnection, Sequence[Event[Any]]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a service does, in a transaction, with a set of new events of one type."""

    message_type: type[Message]
    handler: Handler

    @property
    def type(self) -> str:
        """The CloudEvents type and NATS subject."""
        return self.message_type.DESCRIPTOR.full_name


# Stream of another service -> what is done with its events.
Subscriptions = Mapping[str, Sequence[Subscription]]


def read(message_type: type[M], head: Mapping[str, str], data: bytes) -> Event[M]:
    """An event from the wire. Raises ValueError, KeyError or DecodeError if it is not well-formed."""
    message = message_type()
    message.ParseFromString(data)
    return Event(
        id=uuid.UUID(head["ce-id"]),
        tenant=head["ce-tenant"],
        partition_key=head["ce-partitionkey"],
        occur_time=datetime.fromisoformat(head["ce-time"]),
        traceparent=head.get("traceparent", ""),
        message=message,
    )
