"""Validation of requests before their methods: the contract's rules for fields (protovalidate), and the
rules of human text (`text_fields.py`).

Services check what depends on stored data, on other fields or on the time.
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
from services.runtime.text import CARD_RULE

# For a list for which the contract has no maximum.
LIST_MAX_ENTRIES = 1000

# A text that reads as the number of a payment card; nothing else that is refused harms people so much.
CARD_NUMBER = "CARD_NUMBER"

# Caches the compiled rules of each type of message.
_validator = protovalidate.Validator()


class Unreadable:
    """Stands for bytes that are not the message of the method."""


Deserialize: TypeAlias = Callable[[bytes], Any]


def reader(deserialize: Deserialize | None) -> Deserialize | None:
    """Read bytes as `deserialize` does, and return Unreadable if it fails.

    Otherwise gRPC answers INTERNAL by itself, before the caller is authenticated.
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
    """A valid request. Raises INVALID_ARGUMENT."""
    message = _readable(request)
    check(message)
    return message


async def admitted_each(requests: AsyncIterable[Any]) -> AsyncIterator[Message]:
    """A stream of readable messages; another one raises INVALID_ARGUMENT.

    The method validates each message, since it decides what becomes of an invalid one.
    """
    async for request in requests:
        yield _readable(request)


def _readable(request: Any) -> Message:  # noqa: ANN401 - whatever was read
    # A caller that sends no message gives the end of a stream.
    if not isinstance(request, Message):
        raise Problem(
            grpc.StatusCode.INVALID_ARGUMENT,
            "MESSAGE_MALFORMED",
            "the bytes that were sent are not the method's message",
        )
    return request


def note(violations: Violations, message: Message) -> None:
    """Add every violation of a message, or only that a list in it is too long.

    A rule whose id is in upper case is a reason of its own, and so is that against card numbers; every
    other is FIELD_INVALID. Human text in the message is converted to NFC.
    """
    too_long = next(_long_lists(message, ""), None)
    if too_long is not None:
        violations.add(*too_long)
        return
    texts = text_fields.validate(message)
    for violation in _validator.collect_violations(message):
        rule, path = violation.proto, _path(violation.proto.field)
        if path in texts and rule.rule_id in text_fields.OWN_RULES:
            continue
        reason = rule.rule_id if rule.rule_id.isupper() else FIELD_INVALID
        violations.add(path, rule.message, reason)
    for path, broken_rules in texts.items():
        for description in broken_rules:
            is_card = description == CARD_RULE
            violations.add(path, description, CARD_NUMBER if is_card else FIELD_INVALID)


def check(message: Message) -> None:
    """Raise INVALID_ARGUMENT with every violation of a request."""
    violations = Violations()
    note(violations, message)
    violations.check()


def _long_lists(message: Message, path: str) -> Iterator[tuple[str, str]]:
    """The lists that are too long, each with its path and rule.

    The validator checks each entry of a list whatever its length, and a message can hold more entries
    than it can check in time.
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
    """The fields of a message that are lists or contain some: name, maximum (0: no list), lists below.

    Recursive messages (google.protobuf.Struct) are not followed: no rule applies within one.
    """
    lists = []
    above |= {descriptor.full_name}
    for field in descriptor.fields:
        below = field.message_type
        follow = below is not None and below.full_name not in above
        deep = follow and bool(_lists_below(below, above))
        if field.is_repeated:
            rules: Any = field.GetOptions().Extensions[validate_pb2.field]
            lists.append((field.name, rules.repeated.max_items or LIST_MAX_ENTRIES, deep))
        elif deep:
            lists.append((field.name, 0, deep))
    return tuple(lists)


def _path(field: Any) -> str:  # noqa: ANN401 - a message of another protobuf library
    """The path of a field, for example `standing_order.items[2].quantity`."""
    steps = []
    for element in field.elements if field else ():
        steps.append(f".{element.field_name}")
        if element.subscript:
            steps.append(f"[{element.subscript.value}]")
    return "".join(steps).removeprefix(".")
