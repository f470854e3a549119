"""Events that nobody can handle, each published by the owner of its stream beside one that all can.

One cannot be read. Another is well-formed and says nothing: each of its fields is empty.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from recurring.cloudevents.v1.cloudevents_pb2 import CloudEvent, CloudEventBatch

from cli.errors import CommandError
from cli.faults.target import Fault, nothing
from cli.prove.motion import SUBSCRIBERS

# By the first word of a fault: the first bytes of a field that never comes, and no field at all.
MESSAGES = {"poison": b"\xff", "malform": b""}
# A subscriber tries an event eight times in some seconds before it is a dead letter.
DEAD_LETTER_MAX_SECONDS = 60.0
POLL_SECONDS = 0.1

_TYPES = "SELECT DISTINCT type FROM outbox"
_LAST = """
    SELECT batch_id || ' ' || encode(data, 'hex')
    FROM outbox WHERE type = '{}' ORDER BY transaction_id DESC LIMIT 1
"""
# Batches are messages that may follow each other: together they are one.
_PUBLISH = """
    INSERT INTO outbox (
        batch_id, type, event_count, tenants, event_ids, partition_keys, occur_time, data)
    SELECT uuid '{1}', type, event_count + 1, tenants, event_ids || uuid '{3}',
           partition_keys || partition_keys[1], occur_time, data || decode('{4}', 'hex')
    FROM outbox WHERE type = '{0}' AND batch_id = '{2}' LIMIT 1
"""
# What the operator's command does, which takes seconds to start.
_DISCARD = "DELETE FROM failed_events WHERE event_id = '{}'"
# As services derive the id of a batch from those of its events.
EVENT_NAMESPACE = uuid.UUID("5f0e64a6-0d1c-5b53-9c2a-6a2b7d5a1e10")

# Runs a statement on the database of a service and returns what it prints.
Ask = Callable[[str, str], Awaitable[str]]


def batch_id(event_ids: Sequence[str]) -> uuid.UUID:
    """The id that a batch of these events has."""
    return uuid.uuid5(EVENT_NAMESPACE, "|".join(event_ids))


class PoisonedEvents:
    """Each becomes a dead letter of each subscriber that needs what it says.

    An operator discards these in the end. What came in the same batch was published before, and
    changes nothing.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        # Event id -> who subscribes to its type.
        self._published: dict[str, tuple[str, ...]] = {}
        # All that there have been.
        self.event_ids: set[str] = set()

    def faults(self) -> dict[str, Fault]:
        """One of each form for each service that others subscribe to."""
        publishers = sorted({event_type.split(".")[1] for event_type in SUBSCRIBERS})
        return {
            f"{word} an event of {publisher}": Fault(
                partial(self._publish, publisher, message), nothing
            )
            for word, message in MESSAGES.items()
            for publisher in publishers
        }

    async def _publish(self, publisher: str, message: bytes, step: Mapping[str, Any]) -> bool:
        """Publish the last batch of a type again, with another event that has this message."""
        there = (await self._ask(publisher, _TYPES)).split()
        types = [event_type for event_type in sorted(there) if event_type in SUBSCRIBERS]
        if not types:
            return False
        event_type = types[step["nth"] % len(types)]
        last_id, data = (await self._ask(publisher, _LAST.format(event_type))).split()
        events = CloudEventBatch.FromString(bytes.fromhex(data)).events
        poison = CloudEvent()
        poison.CopyFrom(events[0])
        poison.id = str(uuid.uuid4())
        poison.proto_data.value = message
        self._published[poison.id] = tuple(SUBSCRIBERS[event_type])
        self.event_ids.add(poison.id)
        batch = batch_id([*(event.id for event in events), poison.id])
        added = CloudEventBatch(events=[poison]).SerializeToString().hex()
        await self._ask(publisher, _PUBLISH.format(event_type, batch, last_id, poison.id, added))
        return True

    async def discard(self) -> None:
        """Do what an operator does about them.

        Raises CommandError if one is not a dead letter after a minute.
        """
        subscribers = {name for names in self._published.values() for name in names}
        await asyncio.gather(*map(self._discard, subscribers))
        self._published.clear()

    async def _discard(self, subscriber: str) -> None:
        for event_id, names in self._published.items():
            if subscriber in names and await self._is_dead_letter(subscriber, event_id):
                await self._ask(subscriber, _DISCARD.format(event_id))

    async def _is_dead_letter(self, subscriber: str, event_id: str) -> bool:
        """Whether it is one in the end, and was not lost with its stream or database."""
        state = (
            "SELECT dead_letter_time IS NOT NULL FROM failed_events "  # noqa: S608 - an id of our own
            f"WHERE event_id = '{event_id}'"
        )
        deadline = asyncio.get_running_loop().time() + DEAD_LETTER_MAX_SECONDS
        while (answer := await self._ask(subscriber, state)) == "f":
            if asyncio.get_running_loop().time() > deadline:
                raise CommandError(f"{subscriber}: {event_id} is not a dead letter after a minute")
            await asyncio.sleep(POLL_SECONDS)
        return answer == "t"
