"""Each number and each choice of every request in turn, at the edges of its type and of the calendar.

Chance seldom meets one field's one bad value while all the others are sound.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from deploy.embedded.stack import EmbeddedStack
from services.runtime.rpc.conversions import to_date, to_timestamp
from tests.contract.customer import new_customer
from tests.contract.every_call import Call, platform_calls, suite_calls
from tests.fuzz.test_every_method import OUR_FAULT
from tests.suite import Suite, new_id

# Beyond what 32 and 64 bits have, before and after the years 1 to 9999, and what no enum has.
EDGES = {
    FieldDescriptor.CPPTYPE_INT32: (0, -1, 1, 2**31 - 1, -(2**31)),
    FieldDescriptor.CPPTYPE_INT64: (
        0, -1, 1, 2**63 - 1, -(2**63), 253_402_300_799, 253_402_300_800, -62_135_596_801,
    ),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (0, 99, -1, 2**31 - 1),
}  # fmt: skip
# Whole dates: the first and the last that there are, and those at both ends of the calendar.
DATES = (
    "0001-01-01", "1969-12-31", "1970-01-01", "2100-12-31", "2101-01-01", "9999-12-31",
)  # fmt: skip
MESSAGE_EDGES: dict[str, Sequence[Message]] = {
    "google.type.Date": [to_date(date.fromisoformat(day)) for day in DATES],
    "google.protobuf.Timestamp": [
        to_timestamp(datetime.combine(date.fromisoformat(day), time.max, UTC)) for day in DATES
    ],
}
READING = ("Get", "List", "Preview", "Forecast", "Explain", "Simulate")
DEPTH_MAX = 6
AT_ONCE = 20
Path = tuple[FieldDescriptor, ...]


def paths(description: Descriptor, depth: int = DEPTH_MAX) -> Iterator[Path]:
    """The way to each field that has edges."""
    for field in description.fields:
        if field.message_type is None:
            if field.cpp_type in EDGES:
                yield (field,)
            continue
        if field.message_type.full_name in MESSAGE_EDGES:
            yield (field,)
        if depth:
            yield from ((field, *rest) for rest in paths(field.message_type, depth - 1))


def edges(field: FieldDescriptor) -> Sequence[Message | int]:
    """What to put into a field."""
    if field.message_type is not None:
        return MESSAGE_EDGES[field.message_type.full_name]
    return EDGES[field.cpp_type]


def put(message: Message, path: Path, value: Message | int) -> None:
    for field in path[:-1]:
        inner = getattr(message, field.name)
        if field.is_repeated:
            message = inner[0] if inner else inner.add()
        else:
            inner.SetInParent()
            message = inner
    last = path[-1]
    if isinstance(value, Message):
        getattr(message, last.name).CopyFrom(value)
    elif last.is_repeated:
        getattr(message, last.name)[:] = [value]
    else:
        setattr(message, last.name, value)


def cases(calls: Iterable[Call]) -> Iterator[tuple[str, Call]]:
    """Every call with one field at one edge, and what that is."""
    for call in calls:
        for path in paths(call.request.DESCRIPTOR):
            for value in edges(path[-1]):
                request = type(call.request)()
                request.CopyFrom(call.request)
                put(request, path, value)
                if call.takes("request_id"):
                    request.request_id = new_id()
                where = ".".join(field.name for field in path)
                shown = str(value).replace("\n", " ")
                yield f"{call.id} {where}={shown}", Call(call.service, call.method, request)


@pytest.mark.timeout(300)
async def test_no_edge_is_our_fault(suite_stack: EmbeddedStack) -> None:
    suite = Suite.on(suite_stack)
    ann = await new_customer(suite)
    services = suite.suite_client()
    merchant = ann.shop.merchant
    answers: Counter[str] = Counter()
    ours: list[tuple[str, str]] = []
    semaphore = asyncio.Semaphore(AT_ONCE)

    async def send(case: str, call: Call) -> None:
        async with semaphore:
            try:
                await call.make(services if call.method.startswith("Batch") else ann.shop)
                code = "OK"
            except grpc.aio.AioRpcError as error:
                code = error.code().name
        answers[code] += 1
        if code in OUR_FAULT:
            ours.append((case, code))

    try:
        calls = (*platform_calls(merchant), *suite_calls(merchant))
        await asyncio.gather(*(send(*case) for case in cases(calls)))
        # Nothing that was let in makes what is read or computed of it our fault.
        reads = [call for call in calls if call.method.startswith(READING)]
        await asyncio.gather(*(send(f"{call.id} afterwards", call) for call in reads))
    finally:
        await suite.close()
    assert ours == []
    # Some get as far as they can, or the others would be refused for nothing but what they all lack.
    assert answers["OK"] > 100
    assert answers["INVALID_ARGUMENT"] > 1000
