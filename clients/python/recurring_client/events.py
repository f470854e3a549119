"""Events, read as they come or later: durable, in order, each until it is dealt with."""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import nats
from google.protobuf import json_format
from google.protobuf.message import Message
from nats.errors import TimeoutError as NothingNew
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

FETCH_EVENTS = 100
FETCH_TIMEOUT_SECONDS = 5.0
# An event that is not acknowledged in this time is given again, to whoever reads by the same name.
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
    nats_url: str,
    *types: type[Message],
    durable: str,
    merchant: str,
    from_the_beginning: bool = False,
) -> AsyncGenerator[Event, None]:
    """A merchant's events of some types of one service, as they come.

    What has been read is remembered under the name `durable`, also while nobody reads; several readers
    of one name share the events. An event counts as dealt with when the next one is asked for, and is
    given again if the reader ends before.
    """
    subjects = [each.DESCRIPTOR.full_name for each in types]
    by_subject = dict(zip(subjects, types, strict=True))
    [stream] = {subject.split(".")[1].upper() for subject in subjects}
    config = ConsumerConfig(
        durable_name=durable,
        filter_subjects=subjects,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT_SECONDS,
        deliver_policy=DeliverPolicy.ALL if from_the_beginning else DeliverPolicy.NEW,
    )
    client = await nats.connect(nats_url)
    try:
        jetstream = client.jetstream()
        await jetstream.add_consumer(stream, config)
        subscription = await jetstream.pull_subscribe_bind(durable, stream)
        while True:
            try:
                told = await subscription.fetch(FETCH_EVENTS, timeout=FETCH_TIMEOUT_SECONDS)
            except NothingNew:
                continue
            for one in told:
                headers = dict(one.headers or {})
                if headers["ce-tenant"] == merchant:
                    yield _event(headers, by_subject[one.subject].FromString(one.data))
                await one.ack()
    finally:
        await client.close()


def _event(headers: dict[str, str], message: Message) -> Event:
    return Event(
        id=headers["ce-id"],
        type=headers["ce-type"],
        source=headers["ce-source"],
        time=datetime.fromisoformat(headers["ce-time"]),
        merchant=headers["ce-tenant"],
        message=message,
    )
