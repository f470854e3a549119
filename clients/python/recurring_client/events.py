"""A merchant's events, read as they come or later: durable, each until it is dealt with."""

import asyncio
import base64
import json
import logging
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import nats
from google.protobuf import descriptor_pool, json_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import APIError, ServiceUnavailableError

# Imported for their descriptors, by which an event is read from its type.
from recurring.catalog.v1 import events_pb2 as _catalog  # noqa: F401
from recurring.notify.v1 import events_pb2 as _notify  # noqa: F401
from recurring.payments.v1 import events_pb2 as _payments  # noqa: F401
from recurring.scheduler.v1 import events_pb2 as _scheduler  # noqa: F401

log = logging.getLogger(__name__)

STREAM = "MERCHANTS"
DOMAIN = "events"
FETCH_EVENTS = 100
FETCH_TIMEOUT_SECONDS = 5.0
RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class Event:
    """An event that a service published (CloudEvents 1.0)."""

    # The same whenever it is published again: remember it to do something once.
    id: str
    type: str
    source: str
    time: datetime
    merchant: str
    # The message of that type; None if the type is newer than this client.
    message: Any
    # The message as it came.
    encoded: bytes

    def to_json(self) -> str:
        """The event in CloudEvents' JSON format, its data in protobuf JSON.

        Of a type that this client does not know, the data is the message as it came, in base64.
        """
        if self.message is None:
            content: dict[str, Any] = {
                "datacontenttype": "application/protobuf",
                "data_base64": base64.b64encode(self.encoded).decode(),
            }
        else:
            content = {
                "datacontenttype": "application/json",
                "data": json_format.MessageToDict(self.message),
            }
        return json.dumps({
            "specversion": "1.0",
            "id": self.id,
            "type": self.type,
            "source": self.source,
            "time": self.time.isoformat(),
            "tenant": self.merchant,
            **content,
        })  # fmt: skip


async def subscribe(
    nats_url: str, *, merchant: str, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Event, None]:
    """All events of a merchant, from the first that is kept, as they come.

    What has been read is remembered by the broker in the merchant's one durable consumer, also while
    nobody reads; several readers share the events. Who runs Recurring makes it, and it is waited for
    until then. An event counts as dealt with when the next one is asked for, and is given again if the
    reader ends before. `tls` says whom to trust, where the broker's certificate is of an authority of
    its own.
    """
    client = await nats.connect(
        nats_url, tls=tls, reconnect_time_wait=RETRY_SECONDS, max_reconnect_attempts=-1
    )
    try:
        jetstream = client.jetstream(domain=DOMAIN)
        subscription = await jetstream.pull_subscribe_bind(merchant, STREAM)
        while True:
            await _until_there(jetstream, merchant)
            while messages := await _fetch(subscription):
                for message in messages:
                    yield read_event(dict(message.headers or {}), message.data)
                    await message.ack()
    finally:
        await client.close()


async def _until_there(jetstream: JetStreamContext, durable: str) -> None:
    """Wait for the durable, saying once what is missing."""
    text = ""
    while True:
        try:
            await jetstream.consumer_info(STREAM, durable)
        except (APIError, TimeoutError) as error:
            if repr(error) != text:
                text = repr(error)
                log.warning("waiting for the durable consumer %s of %s: %s", durable, STREAM, text)
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


async def _fetch(subscription: JetStreamContext.PullSubscription) -> list[Msg]:
    """The next events; none if there are none for a while, or nobody serves the durable consumer."""
    try:
        return await subscription.fetch(FETCH_EVENTS, timeout=FETCH_TIMEOUT_SECONDS)
    except TimeoutError:
        return []
    except ServiceUnavailableError:
        # A broker that has just started answers so, and one whose durable consumer was deleted.
        await asyncio.sleep(RETRY_SECONDS)
        return []


def read_event(headers: dict[str, str], data: bytes) -> Event:
    """An event from a message of NATS. Raises KeyError or DecodeError if it is none of ours."""
    return Event(
        id=headers["ce-id"],
        type=headers["ce-type"],
        source=headers["ce-source"],
        time=datetime.fromisoformat(headers["ce-time"]),
        merchant=headers["ce-tenant"],
        message=_message(headers["ce-type"], data),
        encoded=data,
    )


def _message(event_type: str, data: bytes) -> Message | None:
    """The message of a type; None for a type that a later release of the services has added."""
    try:
        description = descriptor_pool.Default().FindMessageTypeByName(event_type)
    except KeyError:
        return None
    return GetMessageClass(description).FromString(data)
