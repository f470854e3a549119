"""What an outbox holds, for tests of all services."""

from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.message import Message

from services.runtime.messaging.batches import read_batch

M = TypeVar("M", bound=Message)


def messages(message_type: type[M], batches: Iterable[bytes]) -> list[M]:
    """The messages of stored batches, in their order."""
    return [
        message_type.FromString(event.proto_data.value)
        for data in batches
        for event in read_batch(bytes(data))
    ]
