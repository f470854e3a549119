"""The contracts as data: services, methods with their reasons, messages with their fields and rules.

Read from the descriptors with their comments, for the reference in docs/ and for the checks that every
method, reason and event is tested and that every deprecation carries a date.
"""

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from buf.validate import validate_pb2
from google.api import field_behavior_pb2
from google.protobuf import descriptor_pb2

from protos.generate import PACKAGE, write_image

# A dated deprecation, in the comment of what is deprecated.
DEPRECATION = re.compile(
    r"Deprecated since (\d{4}-\d{2}-\d{2}), kept until (\d{4}-\d{2}-\d{2}): \S"
)
_PARENTHESES = re.compile(r"\([^()]*\)")
_REASON = re.compile(r"\b[A-Z][A-Z0-9_]{3,}\b")
_CODES = frozenset({
    "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "UNAUTHENTICATED",
    "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE",
})  # fmt: skip
# Field numbers of descriptor.proto, in which the path of a comment is written.
_FILE_MESSAGE, _FILE_ENUM, _FILE_SERVICE = 4, 5, 6
_MESSAGE_FIELD, _MESSAGE_NESTED, _MESSAGE_ENUM = 2, 3, 4
_ENUM_VALUE = _SERVICE_METHOD = 2
_FILE_PACKAGE = 2
# Messages that every service uses as they are (AIP-213).
SHARED_PACKAGES = (f"{PACKAGE}.audit.v1",)

ContractPath: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Element:
    """Anything that has a name and a comment."""

    name: str
    comment: str
    deprecated: bool


@dataclass(frozen=True)
class Field(Element):
    """One field of a message."""

    type_name: str
    repeated: bool
    oneof: str
    behaviours: tuple[str, ...]
    # As they are written in the contract, for example `string.uuid: true`.
    rules: tuple[str, ...]


@dataclass(frozen=True)
class Message(Element):
    """A message; `name` is its path in the package, for example `StandingOrder.Schedule`."""

    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Enum(Element):
    """An enum; `name` is its path in the package."""

    values: tuple[Element, ...]


@dataclass(frozen=True)
class Method(Element):
    """One RPC."""

    service: str
    input: str
    output: str
    streams_in: bool

    @property
    def id(self) -> str:
        """For example `scheduler.GetOrder`."""
        return f"{self.service}.{self.name}"

    @cached_property
    def reasons(self) -> frozenset[str]:
        """Reasons of errors and of field violations that the comment documents for this method."""
        names: set[str] = set()
        for paragraph in self.comment.split("\n\n"):
            if paragraph.startswith("Reasons:"):
                names |= reasons_in(paragraph)
            elif paragraph.startswith(("Field violations", "Problems")):
                # No status codes stand here, and one field's reason has the name of one.
                names |= _named_in(paragraph)
        return frozenset(names)


@dataclass(frozen=True)
class Contract:
    """What one service offers."""

    # For example `catalog`.
    service: str
    # Its gRPC service, for example `recurring.catalog.v1.CatalogService`.
    full_name: str
    comment: str
    methods: tuple[Method, ...]
    messages: tuple[Message, ...]
    enums: tuple[Enum, ...]
    # What it publishes.
    events: tuple[Message, ...]
    # What events are made of.
    event_parts: tuple[Message, ...]

    @property
    def shared_reasons(self) -> frozenset[str]:
        """Reasons with which any method can answer."""
        _, _, shared = self.comment.partition("Any method can answer with")
        return reasons_in(shared)

    @property
    def package(self) -> str:
        """For example `recurring.catalog.v1`."""
        return self.full_name.rpartition(".")[0]

    @property
    def elements(self) -> Iterator[Element]:
        """Everything that can be deprecated."""
        yield from self.methods
        for message in (*self.messages, *self.events, *self.event_parts):
            yield message
            yield from message.fields
        for enum in self.enums:
            yield enum
            yield from enum.values


def reasons_in(text: str) -> frozenset[str]:
    """The reasons that a text names beside their status codes."""
    return _named_in(text) - _CODES


def _named_in(text: str) -> frozenset[str]:
    """What a text names in upper case; what stands in parentheses explains it."""
    while (shorter := _PARENTHESES.sub("", text)) != text:
        text = shorter
    return frozenset(_REASON.findall(text))


def read() -> tuple[Contract, ...]:
    """The contracts of all services, by name of the service."""
    with tempfile.TemporaryDirectory(prefix="recurring-contracts-") as folder:
        image = Path(folder) / "protos.binpb"
        write_image(image)
        files = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes()).file
    ours = {file.name: file for file in files if file.package.startswith(f"{PACKAGE}.")}
    shared = [_Source(file) for file in ours.values() if file.package in SHARED_PACKAGES]
    return tuple(
        _contract(_Source(file), shared, _Source(ours[f"{name.rpartition('/')[0]}/events.proto"]))
        for name, file in sorted(ours.items())
        if file.service
    )


class _Source:
    """A file with its comments."""

    def __init__(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        self.file = file
        self._comments = {
            tuple(location.path): location.leading_comments
            for location in file.source_code_info.location
        }

    def comment(self, *path: int) -> str:
        """What stands above an element, without the margin."""
        lines = self._comments.get(path, "").splitlines()
        return "\n".join(line.removeprefix(" ").rstrip() for line in lines).strip()

    def messages(self) -> Iterator[tuple[str, descriptor_pb2.DescriptorProto, ContractPath]]:
        """Every message with its name in the package; those of maps are left out."""
        for index, message in enumerate(self.file.message_type):
            yield from self._within("", message, (_FILE_MESSAGE, index))

    def _within(
        self, prefix: str, message: descriptor_pb2.DescriptorProto, path: ContractPath
    ) -> Iterator[tuple[str, descriptor_pb2.DescriptorProto, ContractPath]]:
        name = f"{prefix}{message.name}"
        yield name, message, path
        for index, nested in enumerate(message.nested_type):
            if not nested.options.map_entry:
                yield from self._within(f"{name}.", nested, (*path, _MESSAGE_NESTED, index))

    def enums(self) -> Iterator[tuple[str, descriptor_pb2.EnumDescriptorProto, ContractPath]]:
        """Every enum with its name in the package."""
        for index, enum in enumerate(self.file.enum_type):
            yield enum.name, enum, (_FILE_ENUM, index)
        for prefix, message, path in self.messages():
            for index, enum in enumerate(message.enum_type):
                yield f"{prefix}.{enum.name}", enum, (*path, _MESSAGE_ENUM, index)


def _contract(source: _Source, shared: list[_Source], events: _Source) -> Contract:
    package = source.file.package
    [service] = source.file.service
    name = package.split(".")[1]
    published = [_message(events, *message) for message in events.messages()]
    used = {field.type_name for message in published for field in message.fields}
    described = "\n\n".join(
        text for text in (source.comment(_FILE_PACKAGE), source.comment(_FILE_SERVICE, 0)) if text
    )
    return Contract(
        service=name,
        full_name=f"{package}.{service.name}",
        comment=described,
        methods=tuple(_methods(source, name, service)),
        messages=tuple(
            _message(file, *message) for file in (source, *shared) for message in file.messages()
        ),
        enums=tuple(_enum(file, *enum) for file in (source, events) for enum in file.enums()),
        events=tuple(event for event in published if f"{package}.{event.name}" not in used),
        event_parts=tuple(part for part in published if f"{package}.{part.name}" in used),
    )


def _methods(
    source: _Source, service: str, description: descriptor_pb2.ServiceDescriptorProto
) -> Iterator[Method]:
    for index, method in enumerate(description.method):
        yield Method(
            name=method.name,
            comment=source.comment(_FILE_SERVICE, 0, _SERVICE_METHOD, index),
            deprecated=method.options.deprecated,
            service=service,
            input=method.input_type.rpartition(".")[2],
            output=method.output_type.removeprefix("."),
            streams_in=method.client_streaming,
        )


def _message(
    source: _Source, name: str, message: descriptor_pb2.DescriptorProto, path: ContractPath
) -> Message:
    fields = tuple(
        Field(
            name=field.name,
            comment=source.comment(*path, _MESSAGE_FIELD, index),
            deprecated=field.options.deprecated,
            type_name=_type_name(field),
            repeated=field.label == descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED,
            oneof=_oneof(message, field),
            behaviours=tuple(
                field_behavior_pb2.FieldBehavior.Name(extension)
                for extension in field.options.Extensions[field_behavior_pb2.field_behavior]
            ),
            rules=tuple(_rules(field)),
        )
        for index, field in enumerate(message.field)
    )
    return Message(name, source.comment(*path), message.options.deprecated, fields)


def _enum(
    source: _Source, name: str, enum: descriptor_pb2.EnumDescriptorProto, path: ContractPath
) -> Enum:
    values = tuple(
        Element(value.name, source.comment(*path, _ENUM_VALUE, index), value.options.deprecated)
        for index, value in enumerate(enum.value)
    )
    return Enum(name, source.comment(*path), enum.options.deprecated, values)


def _type_name(field: descriptor_pb2.FieldDescriptorProto) -> str:
    if field.type_name:
        return field.type_name.removeprefix(".")
    kind = descriptor_pb2.FieldDescriptorProto.Type.Name(field.type)
    return kind.removeprefix("TYPE_").lower()


def _oneof(
    message: descriptor_pb2.DescriptorProto, field: descriptor_pb2.FieldDescriptorProto
) -> str:
    if not field.HasField("oneof_index") or field.proto3_optional:
        return ""
    return message.oneof_decl[field.oneof_index].name


def _rules(field: descriptor_pb2.FieldDescriptorProto) -> Iterator[str]:
    """The rules of a field, one text each."""
    rules = field.options.Extensions[validate_pb2.field]
    for description, value in rules.ListFields():
        if description.name == "cel":
            yield from (rule.message for rule in value)
        elif description.message_type is not None:
            text = " ".join(str(value).split())
            yield f"{description.name}: {text}"
        elif description.name == "required":
            yield "required"
