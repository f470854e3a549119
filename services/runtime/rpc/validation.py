"""What a request must be before its method sees it: readable, and within the rules that the contract
puts on its fields (protovalidate), and that all human text keeps (`text_fields.py`).

The rules say what a field that is given must look like; what depends on stored facts, on other fields
or on the time is for the services.
"""

import functools
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from typing import Any, TypeAlias

import grpc
import protovalidate
from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from services.runtime.errors import FIELD_INVALID, Problem, Violations
from services.runtime.rpc import text_fields

# Of a list for which the contract has no number.
LIST_MAX_ENTRIES = 1000

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


def admitted(request: Any) -> Message:  # noqa: ANN401 - whatever was read
    """A request that keeps the rules. Raises INVALID_ARGUMENT."""
    message = _readable(request)
    check(message)
    return message


async def admitted_each(requests: AsyncIterable[Any]) -> AsyncIterator[Message]:
    """A stream of readable messages; one that is not raises INVALID_ARGUMENT.

    What a message must be beyond that is for the method to look at, which says what becomes of a bad
    one.
    """
    async for request in requests:
        yield _readable(request)


def _readable(request: Any) -> Message:  # noqa: ANN401 - whatever was read
    # Whoever sends no message at all has it read as the end of a stream.
    if not isinstance(request, Message):
        raise Problem(
            grpc.StatusCode.INVALID_ARGUMENT,
            "MESSAGE_MALFORMED",
            "the bytes that were sent are not the method's message",
        )
    return request


def note(violations: Violations, message: Message) -> None:
    """Note every rule that a message breaks, or only that a list in it is too long.

    A rule whose id is in upper case is a reason of its own; every other is FIELD_INVALID. Human text in
    the message is in NFC afterwards.
    """
    too_long = next(_long_lists(message, ""), None)
    if too_long is not None:
        violations.add(*too_long)
        return
    judged = text_fields.judge(message)
    for found in _validator.collect_violations(message):
        broken, path = found.proto, _path(found.proto.field)
        if path in judged and broken.rule_id in text_fields.RULES_JUDGED:
            continue
        reason = broken.rule_id if broken.rule_id.isupper() else FIELD_INVALID
        violations.add(path, broken.message, reason)
    for path, faults in judged.items():
        for fault in faults:
            violations.add(path, fault)


def check(message: Message) -> None:
    """Raise INVALID_ARGUMENT with every rule that a request breaks."""
    violations = Violations()
    note(violations, message)
    violations.check()


def _long_lists(message: Message, path: str) -> Iterator[tuple[str, str]]:
    """The lists that are longer than they may be, each with its path and its rule.

    The validator looks at each entry of a list whatever its length, and a message has room for more of
    them than it can look at in good time.
    """
    for name, most, deep in _lists_below(message.DESCRIPTOR):
        value = getattr(message, name)
        if not most:
            yield from _long_lists(value, f"{path}{name}.")
        elif len(value) > most:
            yield f"{path}{name}", f"must contain no more than {most} item(s)"
        elif deep:
            for index, entry in enumerate(value):
                yield from _long_lists(entry, f"{path}{name}[{index}].")


@functools.cache
def _lists_below(
    descriptor: Descriptor, above: frozenset[str] = frozenset()
) -> tuple[tuple[str, int, bool], ...]:
    """The fields of a message that are lists or hold some: name, length (0: no list), lists below.

    A message within itself (google.protobuf.Struct) is not followed: no rule looks into one.
    """
    found = []
    above |= {descriptor.full_name}
    for field in descriptor.fields:
        below = field.message_type
        follow = below is not None and below.full_name not in above
        deep = follow and bool(_lists_below(below, above))
        if field.is_repeated:
            rules: Any = field.GetOptions().Extensions[validate_pb2.field]
            found.append((field.name, rules.repeated.max_items or LIST_MAX_ENTRIES, deep))
        elif deep:
            found.append((field.name, 0, deep))
    return tuple(found)


def _path(field: Any) -> str:  # noqa: ANN401 - a message of another protobuf library
    """The path of a field, for example `standing_order.items[2].quantity`."""
    steps = []
    for element in field.elements if field else ():
        steps.append(f".{element.field_name}")
        if element.subscript:
            steps.append(f"[{element.subscript.value}]")
    return "".join(steps).removeprefix(".")
