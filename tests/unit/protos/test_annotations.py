"""Fields say which resources they name (AIP-4231), and methods how they are called (AIP-4232)."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from buf.validate import validate_pb2
from google.api import client_pb2, field_behavior_pb2, resource_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from protos import contracts
from protos.generate import PACKAGE, PROTOS

ANY_RESOURCE = "*"
NAMED_BY = re.compile(r"merchants/")
FILES = [
    import_module(".".join(path.relative_to(PROTOS).with_suffix("").parts) + "_pb2").DESCRIPTOR
    for path in sorted(Path(PROTOS, PACKAGE).rglob("*.proto"))
]
COMMENTS = {
    (contract.package, message.name, field.name): field.comment
    for contract in contracts.read()
    for message in (*contract.messages, *contract.events, *contract.event_parts)
    for field in message.fields
}


def messages() -> Iterator[Descriptor]:
    pending = [message for file in FILES for message in file.message_types_by_name.values()]
    while pending:
        message = pending.pop()
        pending.extend(message.nested_types)
        yield message


def definitions() -> Iterator[resource_pb2.ResourceDescriptor]:
    for file in FILES:
        yield from file.GetOptions().Extensions[resource_pb2.resource_definition]
    for message in messages():
        if definition := resource(message):
            yield definition


def resource(message: Descriptor) -> resource_pb2.ResourceDescriptor | None:
    options = message.GetOptions()
    return (
        options.Extensions[resource_pb2.resource]
        if options.HasExtension(resource_pb2.resource)
        else None
    )


def message_of(field: FieldDescriptor) -> Descriptor:
    assert field.containing_type is not None
    return field.containing_type


TYPES = {definition.type: definition for definition in definitions()}
# What fields are called that name a resource: `standing_order`, `list_price`, `products`, `parent`.
NOUNS = {
    re.sub(r"(?<!^)(?=[A-Z])", "_", noun).lower()
    for definition in TYPES.values()
    for noun in (definition.singular, definition.plural)
} | {"resource"}
FIELDS = [
    pytest.param(field, id=f"{message.full_name}.{field.name}")
    for message in messages()
    for field in message.fields
    if field.type == field.TYPE_STRING
]
METHODS = [
    pytest.param(method, id=method.full_name)
    for file in FILES
    for service in file.services_by_name.values()
    for method in service.methods
]


def names_a_resource(field: FieldDescriptor) -> bool:
    message = message_of(field)
    rules = field.GetOptions().Extensions[validate_pb2.field]
    pattern = rules.string.pattern or rules.repeated.items.string.pattern
    package = message.file.package
    comment = COMMENTS.get((package, message.full_name.removeprefix(f"{package}."), field.name), "")
    by_name = field.name in {"name", "parent"} or any(
        field.name == noun or field.name.endswith(f"_{noun}") for noun in NOUNS
    )
    return by_name or bool(NAMED_BY.search(pattern + comment))


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_names_a_resource_says_of_which_type(field: FieldDescriptor) -> None:
    if not names_a_resource(field):
        return
    if field.name == "name" and resource(message_of(field)):
        return
    reference = field.GetOptions().Extensions[resource_pb2.resource_reference]
    assert reference.type or reference.child_type
    for named in filter(None, (reference.type, reference.child_type)):
        assert named == ANY_RESOURCE or named in TYPES


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_takes_the_names_that_its_resource_has(field: FieldDescriptor) -> None:
    options = field.GetOptions()
    rules = options.Extensions[validate_pb2.field]
    pattern = rules.string.pattern or rules.repeated.items.string.pattern
    reference = options.Extensions[resource_pb2.resource_reference]
    if not NAMED_BY.search(pattern) or not (reference.type or reference.child_type):
        return
    [shape] = TYPES[reference.type or reference.child_type].pattern
    example = re.sub(r"\{[a-z_]+\}", "1", shape)
    if reference.child_type:
        example = example.rsplit("/", 2)[0]
    assert re.fullmatch(pattern, example)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_called_with_what_it_requires(method: MethodDescriptor) -> None:
    signatures = list(method.GetOptions().Extensions[client_pb2.method_signature])
    if method.client_streaming:
        # A stream has no fields to be called with.
        assert not signatures
        return
    [signature] = signatures
    named = signature.split(",")
    fields = method.input_type.fields_by_name
    required = {
        name
        for name, field in fields.items()
        if field_behavior_pb2.REQUIRED
        in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    }
    assert set(fields) >= set(named)
    # Clients make the request id themselves (AIP-4235).
    assert set(named) >= required - {"request_id"}
