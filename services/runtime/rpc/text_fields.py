"""Which fields of a message are human text, and whether they keep its rule.

Every string is, unless the contract says what form it has (an identifier), or it is one of the few
that are judged by those who read them.
"""

import functools
from enum import Enum, auto

from buf.validate import validate_pb2
from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from services.runtime import text
from services.runtime.card_numbers import is_in_identifier

# Of a text for which the contract has no number, such as a line of an address.
TEXT_MAX_CHARACTERS = 200
# Of what has a form or a grammar; each has a limit of its own below this.
FORM_MAX_CHARACTERS = 4_000
# A text with room for as much has room for paragraphs.
LINES_FROM_CHARACTERS = 1000
# Rules of the contract that are judged here instead, on what will be shown.
RULES_JUDGED = frozenset({"string.max_len", "string.not_contains"})
# Made by us and given back, or members of a list that the service has: nothing else gets past it.
_JUDGED_BY_READER = frozenset(
    {
        "country", "currency_code", "etag", "name", "page_token", "product", "subdivision",
        "substitute", "time_zone",
    }
)  # fmt: skip
# Digits that have to be.
_NUMBERS = frozenset({"phone", "code"})
_TOKENS = frozenset({"provider_token"})
# Read by a grammar of their own, and shown to people too.
_PROGRAMS = frozenset({"expression", "rrule"})
_PACKAGE_WITHOUT_TEXT = "google.protobuf."


class Kind(Enum):
    """What a string is for."""

    TEXT = auto()
    # An id, or a name made of ids: its form is in the contract.
    IDENTIFIER = auto()
    # What a payment provider knows somebody's card by.
    TOKEN = auto()
    PROGRAM = auto()
    # Judged by who reads it.
    OTHER = auto()


@functools.cache
def kind_of(field: FieldDescriptor) -> Kind:
    """What a field that holds one string or many is for."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    form = rules.repeated.items.string if field.is_repeated else rules.string
    if form.uuid or field.name in _NUMBERS:
        return Kind.OTHER
    if field.name in _TOKENS:
        return Kind.TOKEN
    if form.pattern:
        return Kind.IDENTIFIER
    if field.name in _PROGRAMS:
        return Kind.PROGRAM
    return Kind.OTHER if field.name in _JUDGED_BY_READER else Kind.TEXT


def judge(message: Message) -> dict[str, list[str]]:
    """Each text in a message that is given, by its path, with the rules that it breaks.

    What is text is put into NFC. What only the service writes is left alone.
    """
    found: dict[str, list[str]] = {}
    _judge(message, "", found)
    return found


def _judge(message: Message, path: str, found: dict[str, list[str]]) -> None:
    for field, kind in _fields(message.DESCRIPTOR):
        name = field.name
        value = getattr(message, name)
        if kind is None:
            if not field.is_repeated:
                if message.HasField(name):
                    _judge(value, f"{path}{name}.", found)
                continue
            for index, entry in enumerate(value):
                _judge(entry, f"{path}{name}[{index}].", found)
        elif field.is_repeated:
            for index, given in enumerate(value):
                value[index] = _judge_string(field, kind, f"{path}{name}[{index}]", given, found)
        elif value and (kept := _judge_string(field, kind, f"{path}{name}", value, found)) != value:
            setattr(message, name, kept)


def _judge_string(
    field: FieldDescriptor, kind: Kind, path: str, given: str, found: dict[str, list[str]]
) -> str:
    """The string as it is kept; its faults are added to those that were found."""
    if kind is Kind.TEXT:
        kept = text.normalised(given)
        most, lines = _room(field)
        found[path] = [*text.faults(kept, most, lines=lines)] if kept else []
        return kept
    faults: list[str] = []
    if len(given) > FORM_MAX_CHARACTERS:
        faults = [f"must have at most {FORM_MAX_CHARACTERS} characters"]
    elif kind is Kind.IDENTIFIER:
        if is_in_identifier(given):
            faults = [text.CARD_RULE]
    else:
        faults = [*text.card_faults(given)]
        if kind is Kind.PROGRAM:
            faults = [*text.unseen_faults(given, lines=True), *faults]
    if faults:
        found[path] = faults
    return given


@functools.cache
def _fields(
    descriptor: Descriptor, above: frozenset[str] = frozenset()
) -> tuple[tuple[FieldDescriptor, Kind | None], ...]:
    """The fields of a message that are judged: strings with their kinds, messages that hold some."""
    found: list[tuple[FieldDescriptor, Kind | None]] = []
    above |= {descriptor.full_name}
    for field in descriptor.fields:
        if _is_output(field):
            continue
        below = field.message_type
        if field.type == FieldDescriptor.TYPE_STRING:
            if (kind := kind_of(field)) is not Kind.OTHER:
                found.append((field, kind))
        elif (
            below is not None
            and not below.full_name.startswith(_PACKAGE_WITHOUT_TEXT)
            and (below.full_name in above or _fields(below, above))
        ):
            found.append((field, None))
    return tuple(found)


@functools.cache
def _room(field: FieldDescriptor) -> tuple[int, bool]:
    """How many characters a text may have, and whether lines."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    most = int(rules.string.max_len) or TEXT_MAX_CHARACTERS
    return most, most >= LINES_FROM_CHARACTERS


@functools.cache
def _is_output(field: FieldDescriptor) -> bool:
    behaviours = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.OUTPUT_ONLY in behaviours
