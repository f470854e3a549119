"""What a request must be before its method sees it: readable, and within the rules that the contract
puts on its fields (protovalidate).

The rules say what a field that is given must look like; what depends on stored facts, on other fields
or on the time is for the services.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any, TypeAlias

import grpc
import protovalidate
from google.protobuf.message import DecodeError, Message

from services.runtime.errors import FIELD_INVALID, Problem, Violations

# Its compiled rules are kept for each type of message.
_validator = protovalidate.Validator()


class Unreadable:
    """Stands for bytes that are not the method's message."""


Deserialize: TypeAlias = Callable[[bytes], Any]


def reader(deserialize: Deserialize | None) -> Deserialize | None:
    """Read bytes as `deserialize` does, and give Unreadable where it fails.

    gRPC would answer INTERNAL by itself, to anybody, and before it is known who calls.
    """

    if deserialize is None:
        return None

    def read(data: bytes) -> Any:  # noqa: ANN401 - any message
        try:
            return deserialize(data)
        except DecodeError:
            return Unreadable()

    return read


def admitted(request: Any) -> Any:  # noqa: ANN401 - any message, or a stream of them
    """A request that keeps the rules, or a stream of readable messages.

    Raises INVALID_ARGUMENT. What a message of a stream must be beyond that is for the method to look
    at, which says what becomes of a bad one.
    """
    if isinstance(request, AsyncIterable):
        return _readable_each(request)
    check(_readable(request))
    return request


async def _readable_each(requests: AsyncIterable[Message | Unreadable]) -> AsyncIterator[Message]:
    async for request in requests:
        yield _readable(request)


def _readable(request: Message | Unreadable) -> Message:
    if isinstance(request, Unreadable):
        raise Problem(
            grpc.StatusCode.INVALID_ARGUMENT,
            "MESSAGE_MALFORMED",
            "the bytes that were sent are not the method's message",
        )
    return request


def note(violations: Violations, message: Message) -> None:
    """Note every rule that a message breaks.

    A rule whose id is in upper case is a reason of its own; every other is FIELD_INVALID.
    """
    for found in _validator.collect_violations(message):
        broken = found.proto
        reason = broken.rule_id if broken.rule_id.isupper() else FIELD_INVALID
        violations.add(_path(broken.field), broken.message, reason)


def check(message: Message) -> None:
    """Raise INVALID_ARGUMENT with every rule that a request breaks."""
    violations = Violations()
    note(violations, message)
    violations.check()


def _path(field: Any) -> str:  # noqa: ANN401 - a message of another protobuf library
    """The path of a field, for example `standing_order.items[2].quantity`."""
    steps = []
    for element in field.elements if field else ():
        steps.append(f".{element.field_name}")
        if element.subscript:
            steps.append(f"[{element.subscript.value}]")
    return "".join(steps).removeprefix(".")
