"""What customers may ask for: which requests of a method are a customer's own, and what they may set.

A token with the claim `customer` is a customer's. It is admitted only to methods whose `Access` has a
`CustomerAccess`, and each request is checked against that before its method runs. Whose a standing
order is, only its row says: row-level security shows a customer no row of another.

Sources: the OpenID Connect practice of a token for one End-User beside those for a client; customer
sessions of Stripe, the Customer Account API of Shopify.
"""

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

import grpc
from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from services.runtime.auth.call_context import Caller
from services.runtime.errors import FieldViolation, Problem

CUSTOMER_FORBIDDEN = "CUSTOMER_FORBIDDEN"
# Fields that say which resource and how to answer, and set nothing of it.
PLAIN_FIELDS = frozenset(
    {"parent", "name", "request_id", "etag", "page_size", "page_token", "update_mask"}
)
_MASK = "google.protobuf.FieldMask"
_IGNORED = frozenset({field_behavior_pb2.OUTPUT_ONLY, field_behavior_pb2.IDENTIFIER})
_NAME = "merchants/"


class Ownership(Enum):
    """How a request shows that it is a customer's own."""

    # A field names the customer, or a resource below them.
    BY_NAME = auto()
    # A field names a resource whose row names the customer. Row-level security shows no other.
    BY_ROW = auto()
    # What it asks for is no customer's, and the same for all.
    OF_NOBODY = auto()


@dataclass(frozen=True, slots=True)
class CustomerAccess:
    """Which requests of a method a customer may make.

    `field` has the name that shows whose the request is. `fields` are the others that a customer may
    set, by their paths from the request, each with all below it. Every other field is the merchant's to
    set, so one that is added to a contract is closed to customers at first.
    """

    ownership: Ownership
    field: str
    fields: frozenset[str] = frozenset()

    def allows(self, path: str) -> bool:
        """Whether a customer may set the field, by itself or as a part of one."""
        if path in PLAIN_FIELDS or path == self.field:
            return True
        return any(f"{path}.".startswith(f"{allowed}.") for allowed in self.fields)

    def leads_to(self, path: str) -> bool:
        """Whether a customer may set some field below this one."""
        return any(allowed.startswith(f"{path}.") for allowed in (self.field, *self.fields))


def by_name(field: str, *fields: str) -> CustomerAccess:
    """Requests whose field names the customer, or a resource below them."""
    return CustomerAccess(Ownership.BY_NAME, field, frozenset(fields))


def by_row(field: str, *fields: str) -> CustomerAccess:
    """Requests whose field names a resource that is the customer's by its row."""
    return CustomerAccess(Ownership.BY_ROW, field, frozenset(fields))


def of_nobody(field: str, *fields: str) -> CustomerAccess:
    """Requests for what every customer of the merchant may see."""
    return CustomerAccess(Ownership.OF_NOBODY, field, frozenset(fields))


def check_request(caller: Caller, access: CustomerAccess | None, request: Message) -> None:
    """Refuse what is not the customer's. Raises PERMISSION_DENIED; does nothing for other callers."""
    if not caller.customer:
        return
    if access is None:
        raise closed()
    if access.ownership is Ownership.BY_NAME:
        owner = _value(request, access.field)
        if owner:
            caller.check(_merchant(owner))
        if not _is_own(caller, owner):
            raise forbidden([access.field], "must name the customer whose token it is")
    foreign = [
        path for path, name in _names(request) if not _is_own(caller, name) and _has_customer(name)
    ]
    if foreign:
        raise forbidden(foreign, "must not name another customer")
    if merchants_own := list(_unsettable(access, request)):
        raise forbidden(merchants_own, "only the merchant may set it")


def closed() -> Problem:
    """The method is the merchant's alone."""
    return Problem(
        grpc.StatusCode.PERMISSION_DENIED,
        CUSTOMER_FORBIDDEN,
        "the token is a customer's, and the method is the merchant's alone",
    )


def forbidden(paths: Iterable[str], rule: str) -> Problem:
    """A field of a request has what is not the customer's, by a rule."""
    fields = list(dict.fromkeys(paths))
    return Problem(
        grpc.StatusCode.PERMISSION_DENIED,
        CUSTOMER_FORBIDDEN,
        f"the token is a customer's: {', '.join(fields)}: {rule}",
        tuple(FieldViolation(field, CUSTOMER_FORBIDDEN, rule) for field in fields),
    )


def _merchant(name: str) -> str:
    """The merchant in a name; empty if it has none."""
    return name.split("/")[1] if name.startswith(_NAME) else ""


def _has_customer(name: str) -> bool:
    return name.split("/")[2:3] == ["customers"]


def _is_own(caller: Caller, name: str) -> bool:
    return f"{name}/".startswith(f"{caller.customer_name}/")


def _value(message: Message, path: str) -> str:
    """The text in a field of a message; empty if it is not given."""
    value: object = message
    for name in path.split("."):
        value = getattr(value, name)
    return str(value)


def _names(message: Message, path: str = "") -> Iterator[tuple[str, str]]:
    """Each resource name in a message and below it, with the path of its field."""
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        if field.type == FieldDescriptor.TYPE_STRING:
            yield from ((f"{path}{field.name}", text) for text in values if text.startswith(_NAME))
        elif _is_ours(field):
            for part in values:
                yield from _names(part, f"{path}{field.name}.")


def _is_ours(field: FieldDescriptor) -> bool:
    """Whether a field has messages of the contracts; those of Google hold no names of resources."""
    kind = field.message_type
    return (
        kind is not None
        and not kind.GetOptions().map_entry
        and not kind.full_name.startswith("google.")
    )


def _unsettable(access: CustomerAccess, request: Message) -> Iterator[str]:
    """The fields that a request sets or empties, and that the customer may not set.

    Of a message that a mask is about, what the mask names counts, and nothing else.
    """
    given = [field for field, _ in request.ListFields()]
    paths = [
        path
        for field in given
        if field.message_type is not None and field.message_type.full_name == _MASK
        for path in getattr(request, field.name).paths
    ]
    masked = [field for field in given if paths and _has_fields(field, paths)]
    named = {f"{field.name}.{path}" for field in masked for path in paths}
    yield from sorted(path for path in named if not access.allows(path))
    if paths and not masked:
        # Such as "*", which is all fields, those of the merchant too.
        yield "update_mask"
    yield from _set_beyond(access, request, "", {field.name for field in masked})


def _has_fields(field: FieldDescriptor, paths: Iterable[str]) -> bool:
    """Whether paths are those of fields of the message in a field."""
    kind = field.message_type
    return (
        kind is not None
        and _is_ours(field)
        and all(path.partition(".")[0] in kind.fields_by_name for path in paths)
    )


def _set_beyond(
    access: CustomerAccess, message: Message, above: str, masked: Container[str] = ()
) -> Iterator[str]:
    """The fields that are set in a message and that the customer may not set."""
    for field, value in message.ListFields():
        path = f"{above}{field.name}"
        if path in masked or access.allows(path) or (above and _is_ignored(field)):
            continue
        if access.leads_to(path) and not field.is_repeated:
            yield from _set_beyond(access, value, f"{path}.")
        else:
            yield path


def _is_ignored(field: FieldDescriptor) -> bool:
    """Whether the field of a resource says what it is, and not what it is to be (AIP-203)."""
    behaviours = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return not _IGNORED.isdisjoint(behaviours)
