"""Events: those that a service publishes, and those of other services that it handles."""

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from services.runtime.db.pool import Connection

# Event ids are derived from their content's key, so an event that is published again has the same id.
EVENT_NAMESPACE = uuid.UUID("5f0e64a6-0d1c-5b53-9c2a-6a2b7d5a1e10")

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """An event to publish, stored in the transaction of the change that it reports."""

    # Unique among the events of its type and tenant, for example the order's name.
    key: str
    message: Message
    tenant: str
    partition_key: str
    occur_time: datetime
    # Its trace; empty: the current one.
    traceparent: str = ""

    @property
    def type(self) -> str:
        """The CloudEvents type and NATS subject: the message's full name."""
        return self.message.DESCRIPTOR.full_name

    @property
    def event_id(self) -> uuid.UUID:
        """Derived from type, tenant and key."""
        return uuid.uuid5(EVENT_NAMESPACE, f"{self.type}|{self.tenant}|{self.key}")


@dataclass(frozen=True, slots=True)
class Event(Generic[M]):
    """An event of another service."""

    id: uuid.UUID
    tenant: str
    partition_key: str
    occur_time: datetime
    traceparent: str
    message: M


Handler = Callable[[Connection, Sequence[Event[Any]]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Subscription:
    """A handler of events of one type, which it gets as a set, in a transaction.

    An event may come again, in another batch after a replay: the handler's own constraints and states
    make that harmless.
    """

    message_type: type[Message]
    handler: Handler

    @property
    def type(self) -> str:
        """The CloudEvents type and NATS subject."""
        return self.message_type.DESCRIPTOR.full_name


# Stream of another service -> the handlers of its events.
Subscriptions = Mapping[str, Sequence[Subscription]]


def by_type(subscriptions: Subscriptions) -> dict[str, Subscription]:
    """Subscriptions to all streams, by the type of events."""
    return {
        subscription.type: subscription
        for handled in subscriptions.values()
        for subscription in handled
    }
