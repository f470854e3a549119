"""An event that nobody can read, published by the owner of its stream beside one that everybody can."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence

from recurring.cloudevents.v1.cloudevents_pb2 import CloudEvent, CloudEventBatch

from cli.errors import CommandError
from cli.faults.target import Fault, does, nothing
from cli.prove.motion import SUBSCRIBERS

# The first bytes of a field that never comes.
UNREADABLE = b"\xff"
# A subscriber tries an event eight times in some seconds before it is a dead letter.
DEAD_LETTER_MAX_SECONDS = 60.0
POLL_SECONDS = 0.1

_LAST = """
    SELECT encode(data, 'hex') FROM outbox WHERE type = '{}' ORDER BY transaction_id DESC LIMIT 1
"""
# Batches are messages that may follow each other: together they are one.
_PUBLISH = """
    INSERT INTO outbox (
        batch_id, type, event_count, tenants, event_ids, partition_keys, occur_time, data)
    SELECT uuid '{1}', type, event_count + 1, tenants, event_ids || uuid '{3}',
           partition_keys || partition_keys[1], occur_time, data || decode('{4}', 'hex')
    FROM outbox WHERE type = '{0}' AND event_ids[1] = '{2}' LIMIT 1
"""
# As services derive the id of a batch from those of its events.
EVENT_NAMESPACE = uuid.UUID("5f0e64a6-0d1c-5b53-9c2a-6a2b7d5a1e10")

# Runs a statement on the database of a service and returns what it prints.
Ask = Callable[[str, str], Awaitable[str]]
# Runs an operator's command of a service.
Operate = Callable[..., Awaitable[None]]


def batch_id(event_ids: Sequence[str]) -> uuid.UUID:
    """The id that a batch of these events has."""
    return uuid.uuid5(EVENT_NAMESPACE, "|".join(event_ids))


class PoisonedEvents:
    """Each becomes a dead letter of each subscriber, which an operator discards in the end.

    What came in the same batch was published before, and changes nothing.
    """

    def __init__(self, ask: Ask, operate: Operate) -> None:
        self._ask = ask
        self._operate = operate
        # Event id -> who subscribes to its type.
        self._published: dict[str, tuple[str, ...]] = {}
        # All that there have been.
        self.event_ids: set[str] = set()

    def faults(self) -> dict[str, Fault]:
        """One for each service that others subscribe to."""
        publishers = sorted({event_type.split(".")[1] for event_type in SUBSCRIBERS})
        return {
            f"poison an event of {publisher}": Fault(does(self._publish, publisher), nothing)
            for publisher in publishers
        }

    async def _publish(self, publisher: str) -> None:
        """Publish the last batch of the first type of which there is one again, with another event."""
        types = [name for name in SUBSCRIBERS if name.split(".")[1] == publisher]
        for event_type in types:
            last = await self._ask(publisher, _LAST.format(event_type))
            if not last:
                continue
            events = CloudEventBatch.FromString(bytes.fromhex(last)).events
            poison = CloudEvent()
            poison.CopyFrom(events[0])
            poison.id = str(uuid.uuid4())
            poison.proto_data.value = UNREADABLE
            self._published[poison.id] = tuple(SUBSCRIBERS[event_type])
            self.event_ids.add(poison.id)
            batch = batch_id([*(event.id for event in events), poison.id])
            data = CloudEventBatch(events=[poison]).SerializeToString().hex()
            await self._ask(
                publisher, _PUBLISH.format(event_type, batch, events[0].id, poison.id, data)
            )
            return

    async def discard(self) -> None:
        """Do what an operator does about them.

        Raises CommandError if one is not a dead letter after a minute.
        """
        for event_id, subscribers in self._published.items():
            for subscriber in subscribers:
                if await self._is_dead_letter(subscriber, event_id):
                    await self._operate(
                        subscriber, "dead-letters", "--event", event_id, "--discard"
                    )
        self._published.clear()

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
