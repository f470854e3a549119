"""A merchant's events, read as they come or later: durable, each until it is dealt with."""

import json
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import nats
from google.protobuf import descriptor_pool, json_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

# Imported for their descriptors, by which an event is read from its type.
from recurring.catalog.v1 import events_pb2 as _catalog  # noqa: F401
from recurring.notify.v1 import events_pb2 as _notify  # noqa: F401
from recurring.payments.v1 import events_pb2 as _payments  # noqa: F401
from recurring.scheduler.v1 import events_pb2 as _scheduler  # noqa: F401

STREAM = "MERCHANTS"
FETCH_EVENTS = 100
FETCH_TIMEOUT_SECONDS = 5.0
# An event that is not acknowledged in this time is given again.
ACK_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Event:
    """A fact that a service told (CloudEvents 1.0)."""

    # The same whenever it is told again: remember it to do something once.
    id: str
    type: str
    source: str
    time: datetime
    merchant: str
    # The message of that type.
    message: Any

    def to_json(self) -> str:
        """The event in CloudEvents' JSON format, its data in protobuf JSON."""
        return json.dumps({
            "specversion": "1.0",
            "id": self.id,
            "type": self.type,
            "source": self.source,
            "time": self.time.isoformat(),
            "tenant": self.merchant,
            "datacontenttype": "application/json",
            "data": json_format.MessageToDict(self.message),
        })  # fmt: skip


async def subscribe(
    nats_url: str, *, merchant: str, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Event, None]:
    """All events of a merchant, from the first that is kept, as they come.

    What has been read is remembered by the broker in the merchant's one durable consumer, also while
    nobody reads; several readers share the events. An event counts as dealt with when the next one is
    asked for, and is given again if the reader ends before. `tls` says whom to trust, where the
    broker's certificate is of an authority of its own.
    """
    user = urlsplit(nats_url).username
    inbox = f"_INBOX_{user}" if user else "_INBOX"
    client = await nats.connect(nats_url, inbox_prefix=inbox, tls=tls)
    try:
        jetstream = client.jetstream()
        config = ConsumerConfig(
            # With both names and one filter, the request for it is on a subject of the merchant's own.
            name=merchant,
            durable_name=merchant,
            filter_subject=f"merchants.{merchant}.>",
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_SECONDS,
            deliver_policy=DeliverPolicy.ALL,
        )
        await jetstream.add_consumer(STREAM, config)
        subscription = await jetstream.pull_subscribe_bind(merchant, STREAM)
        while True:
            try:
                told = await subscription.fetch(FETCH_EVENTS, timeout=FETCH_TIMEOUT_SECONDS)
            except TimeoutError:
                continue
            for one in told:
                yield read_event(dict(one.headers or {}), one.data)
                await one.ack()
    finally:
        await client.close()


def read_event(headers: dict[str, str], data: bytes) -> Event:
    """An event from a message of NATS. Raises KeyError or DecodeError if it is none of ours."""
    description = descriptor_pool.Default().FindMessageTypeByName(headers["ce-type"])
    message: Message = GetMessageClass(description).FromString(data)
    return Event(
        id=headers["ce-id"],
        type=headers["ce-type"],
        source=headers["ce-source"],
        time=datetime.fromisoformat(headers["ce-time"]),
        merchant=headers["ce-tenant"],
        message=message,
    )
