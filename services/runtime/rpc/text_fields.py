"""Validation of the strings of a message: human text, identifiers, tokens, programs.

A string is human text unless the contract gives it a pattern (an identifier), or it is one of the few
whose reader validates it.
"""

import functools
from enum import Enum, auto

from buf.validate import validate_pb2
from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from services.runtime import text
from services.runtime.card_numbers import is_in_identifier

# For a text for which the contract has no maximum, such as a line of an address.
TEXT_MAX_CHARACTERS = 200
# For a string with a pattern or a grammar; each has a limit of its own below this.
FORM_MAX_CHARACTERS = 4_000
# A text that may be as long may have several lines.
LINES_FROM_CHARACTERS = 1000
# Rules of the contract that are checked here instead, on the text as it will be shown.
OWN_RULES = frozenset({"string.max_len", "string.not_contains"})
# Made by the service, or members of a list that it has: their readers accept nothing else.
_VALIDATED_BY_READER = frozenset(
    {
        "country", "currency_code", "etag", "name", "page_token", "product", "subdivision",
        "substitute", "time_zone",
    }
)  # fmt: skip
# Fields that consist of digits.
_NUMBERS = frozenset({"phone", "code"})
_TOKENS = frozenset({"provider_token"})
# Strings with a grammar, which people see as well.
_PROGRAMS = frozenset({"expression", "rrule"})
_PACKAGE_WITHOUT_TEXT = "google.protobuf."


class Kind(Enum):
    """The kind of a string."""

    TEXT = auto()
    # An id, or a name made of ids: its form is in the contract.
    IDENTIFIER = auto()
    # A payment provider's name of a card.
    TOKEN = auto()
    PROGRAM = auto()
    # Validated by its reader.
    OTHER = auto()


@functools.cache
def kind_of(field: FieldDescriptor) -> Kind:
    """The kind of a field with one string or several."""
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
    return Kind.OTHER if field.name in _VALIDATED_BY_READER else Kind.TEXT


def validate(message: Message) -> dict[str, list[str]]:
    """The path of each given text, with the rules that it breaks. Output-only fields are ignored.

    Converts human text to NFC.
    """
    broken_rules: dict[str, list[str]] = {}
    _validate(message, "", broken_rules)
    return broken_rules


def _validate(message: Message, path: str, broken_rules: dict[str, list[str]]) -> None:
    for field, kind in _fields(message.DESCRIPTOR):
        name = field.name
        value = getattr(message, name)
        if kind is None:
            if not field.is_repeated:
                if message.HasField(name):
                    _validate(value, f"{path}{name}.", broken_rules)
                continue
            for index, entry in enumerate(value):
                _validate(entry, f"{path}{name}[{index}].", broken_rules)
        elif field.is_repeated:
            for index, given in enumerate(value):
                value[index] = _validated(
                    field, kind, f"{path}{name}[{index}]", given, broken_rules
                )
        elif (
            value
            and (kept := _validated(field, kind, f"{path}{name}", value, broken_rules)) != value
        ):
            setattr(message, name, kept)


def _validated(
    field: FieldDescriptor, kind: Kind, path: str, given: str, broken_rules: dict[str, list[str]]
) -> str:
    """The string as it is stored; the rules that it breaks are added to `found`."""
    if kind is Kind.TEXT:
        kept = text.normalised(given)
        most, lines = _limits(field)
        broken_rules[path] = [*text.broken_rules(kept, most, lines=lines)] if kept else []
        return kept
    broken: list[str] = []
    if len(given) > FORM_MAX_CHARACTERS:
        broken = [f"must have at most {FORM_MAX_CHARACTERS} characters"]
    elif kind is Kind.IDENTIFIER:
        if is_in_identifier(given):
            broken = [text.CARD_RULE]
    else:
        broken = [*text.card_number_rule(given)]
        if kind is Kind.PROGRAM:
            broken = [*text.visibility_rule(given, lines=True), *broken]
    if broken:
        broken_rules[path] = broken
    return given


@functools.cache
def _fields(
    descriptor: Descriptor, above: frozenset[str] = frozenset()
) -> tuple[tuple[FieldDescriptor, Kind | None], ...]:
    """The fields to validate: strings with their kinds, and messages that contain some."""
    text_fields: list[tuple[FieldDescriptor, Kind | None]] = []
    above |= {descriptor.full_name}
    for field in descriptor.fields:
        if _is_output(field):
            continue
        below = field.message_type
        if field.type == FieldDescriptor.TYPE_STRING:
            if (kind := kind_of(field)) is not Kind.OTHER:
                text_fields.append((field, kind))
        elif (
            below is not None
            and not below.full_name.startswith(_PACKAGE_WITHOUT_TEXT)
            and (below.full_name in above or _fields(below, above))
        ):
            text_fields.append((field, None))
    return tuple(text_fields)


@functools.cache
def _limits(field: FieldDescriptor) -> tuple[int, bool]:
    """The maximum of characters of a text, and whether it may have several lines."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    most = int(rules.string.max_len) or TEXT_MAX_CHARACTERS
    return most, most >= LINES_FROM_CHARACTERS


@functools.cache
def _is_output(field: FieldDescriptor) -> bool:
    behaviours = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.OUTPUT_ONLY in behaviours
