"""Requests of every kind for any method: sound, nearly sound, made up, and no message at all."""

from collections.abc import Callable
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from tests.contract.every_call import Call
from tests.suite import new_id

DEPTH_MAX = 4
LIST_MAX = 4
FIELDS_MAX = 6
CHANGES_MAX = 3
BYTES_MAX = 300
# Where arithmetic, calendars and databases end.
EDGES = (
    0, 1, -1, 2, 28, 31, 366, 500, 10_000, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63),
    253_402_300_799, 253_402_300_800, -62_135_596_800, -62_135_596_801, 999_999_999, -999_999_999,
)  # fmt: skip
WORDS = (
    "", "-", "tea", "EUR", "eur", "XXX", "JPY", "Europe/Berlin", "../../etc/passwd", "*", "title",
    "items", "schedule", "name", "\x00", "a\x00b", "é" * 200, "x" * 5000, "\u202e", "\U0001f375",
    "' OR 1=1 --",
    "%s%n", "total > 0", "1/0 > 0", "items.all(i, i.quantity > 0)", "((((((((((((((((((((", "PT1H",
    "DTSTART;TZID=Europe/Berlin:20900101T090000\nRRULE:FREQ=DAILY", "RRULE:FREQ=SECONDLY;COUNT=-1",
    "+491701234567", "ann@example.com", "pm_card_visa", '"1"', "W10=", "MTIzNB8x",
)  # fmt: skip
_RANGES: dict[int, tuple[int, int]] = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def payloads(calls: list[Call]) -> st.SearchStrategy[tuple[Call, list[bytes]]]:
    """A call, and the bytes of the messages that are sent instead of its own."""
    return st.sampled_from(calls).flatmap(_payload)


def _payload(call: Call) -> st.SearchStrategy[tuple[Call, list[bytes]]]:
    payload = st.one_of(
        _changed(call).map(lambda message: message.SerializeToString()),
        _changed(call).map(lambda message: message.SerializeToString()),
        messages(call.request.DESCRIPTOR).map(lambda message: message.SerializeToString()),
        st.binary(max_size=BYTES_MAX),
        _damaged(call.request.SerializeToString()),
    )
    many = (
        st.lists(payload, min_size=1, max_size=LIST_MAX)
        if call.sends_stream
        else payload.map(_alone)
    )
    return st.tuples(st.just(call), many)


def _alone(payload: bytes) -> list[bytes]:
    return [payload]


def messages(description: Descriptor, depth: int = DEPTH_MAX) -> st.SearchStrategy[Message]:
    """Any message of a type, with any of its fields set to anything."""

    @st.composite
    def build(draw: st.DrawFn) -> Message:
        message = _new(description)
        if not description.fields:
            return message
        fields = st.sampled_from(_fields(description))
        for field in draw(st.lists(fields, max_size=FIELDS_MAX)):
            _put(draw, message, field, depth)
        return message

    return build()


def _changed(call: Call) -> st.SearchStrategy[Message]:
    """A sound request with a few of its fields, at any depth, changed to anything."""

    @st.composite
    def build(draw: st.DrawFn) -> Message:
        message = cast("Message", type(call.request)())
        message.CopyFrom(call.request)
        if call.takes("request_id"):
            # A request that came before would only be answered again.
            message.request_id = new_id()  # type: ignore[attr-defined]
        for _ in range(draw(st.integers(0, CHANGES_MAX))):
            place = message
            while True:
                field = draw(st.sampled_from(_fields(place.DESCRIPTOR)))
                inner = _inner(place, field)
                if inner is None or not draw(st.booleans()):
                    break
                place = inner
            if place is not message or field.name != "request_id":
                _put(draw, place, field, depth=2)
        return message

    return build()


def _fields(description: Any) -> list[FieldDescriptor]:  # noqa: ANN401 - two classes
    return list(description.fields)


def _inner(message: Message, field: FieldDescriptor) -> Message | None:
    """The message in a field that has one with fields."""
    if field.message_type is None or not field.message_type.fields or _is_map(field):
        return None
    value = getattr(message, field.name)
    if field.is_repeated:
        return value[0] if value else None
    return cast("Message", value)


def _put(draw: st.DrawFn, message: Message, field: FieldDescriptor, depth: int) -> None:
    """Set a field to anything; what cannot be set is left as it is."""
    if _is_map(field) or (field.message_type is not None and depth == 0):
        return
    if field.message_type is not None:
        value = messages(field.message_type, depth - 1)
        if field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(value, max_size=LIST_MAX)))
        else:
            getattr(message, field.name).CopyFrom(draw(value))
    elif field.is_repeated:
        del getattr(message, field.name)[:]
        getattr(message, field.name).extend(draw(st.lists(_scalar(field), max_size=LIST_MAX)))
    else:
        setattr(message, field.name, draw(_scalar(field)))


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    kind = field.cpp_type
    if kind in _RANGES:
        least, most = _RANGES[kind]
        edges = [edge for edge in EDGES if least <= edge <= most]
        return st.one_of(st.sampled_from(edges), st.integers(least, most))
    makers: dict[int, Callable[[], st.SearchStrategy[Any]]] = {
        FieldDescriptor.CPPTYPE_ENUM: lambda: st.sampled_from([0, 1, 2, 3, 99, -1, 2**31 - 1]),
        FieldDescriptor.CPPTYPE_BOOL: st.booleans,
        FieldDescriptor.CPPTYPE_DOUBLE: st.floats,
        FieldDescriptor.CPPTYPE_FLOAT: lambda: st.floats(width=32),
    }
    if kind in makers:
        return makers[kind]()
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=BYTES_MAX)
    return st.one_of(st.sampled_from(WORDS), _TEXT)


@st.composite
def _damaged(draw: st.DrawFn, payload: bytes) -> bytes:
    """Sound bytes with some overwritten, and maybe cut short."""
    damaged = bytearray(payload)
    for _ in range(draw(st.integers(1, CHANGES_MAX))):
        if damaged:
            damaged[draw(st.integers(0, len(damaged) - 1))] = draw(st.integers(0, 255))
    return bytes(damaged[: draw(st.integers(0, len(damaged)))] if draw(st.booleans()) else damaged)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _new(description: Descriptor) -> Message:
    return GetMessageClass(description)()
