"""How many rows an import takes, how they are batched, and how long it waits for one."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.errors import Problem
from services.runtime.rpc import imports
from services.scheduler.api.requests import imports as import_stream

Request = scheduler_pb2.ImportStandingOrdersRequest


async def rows(count: int) -> AsyncIterator[Request]:
    for number in range(1, count + 1):
        yield Request(row=scheduler_pb2.ImportRow(standing_order_id=f"old-{number}"))


async def test_rows_come_in_batches_and_are_counted_from_one() -> None:
    sizes = [[row.number for row in batch] async for batch in import_stream.batches(rows(1001))]
    assert [(batch[0], batch[-1]) for batch in sizes] == [(1, 500), (501, 1000), (1001, 1001)]


async def same_rows(count: int, row: scheduler_pb2.ImportRow) -> AsyncIterator[Request]:
    for _ in range(count):
        yield Request(row=row)


def row_of(items: int = 0, title: str = "") -> scheduler_pb2.ImportRow:
    order = scheduler_pb2.StandingOrder(title=title, items=[scheduler_pb2.Item()] * items)
    return scheduler_pb2.ImportRow(standing_order=order)


async def test_a_batch_is_no_larger_than_what_it_takes_to_answer_it() -> None:
    of_items = import_stream.batches(same_rows(101, row_of(items=100)))
    assert [len(batch) async for batch in of_items] == [50, 50, 1]
    of_bytes = import_stream.batches(same_rows(11, row_of(title="x" * 250_000)))
    assert [len(batch) async for batch in of_bytes] == [5, 5, 1]


@pytest.mark.parametrize(
    ("count", "row", "most"),
    [
        (200_001, row_of(), "200000 rows"),
        (4_001, row_of(items=100), "400000 items"),
        (202, row_of(title="x" * 250_000), "50331648 bytes"),
    ],
)
async def test_a_book_that_is_too_large_is_refused_with_the_limit(
    count: int, row: scheduler_pb2.ImportRow, most: str
) -> None:
    batches = import_stream.batches(same_rows(count, row))
    with pytest.raises(Problem) as refusal:
        _ = [batch async for batch in batches]
    assert refusal.value.reason == "IMPORT_TOO_LARGE"
    assert most in refusal.value.message


async def test_a_caller_of_too_large_a_book_has_sent_all_of_it_when_it_is_refused() -> None:
    sent = same_rows(210, row_of(title="x" * 250_000))
    with pytest.raises(Problem):
        _ = [batch async for batch in import_stream.batches(sent)]
    assert [row async for row in sent] == []


async def test_a_caller_who_sends_nothing_any_more_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(imports, "IMPORT_IDLE_SECONDS", 0.05)

    async def two_and_then_none() -> AsyncIterator[Request]:
        async for request in rows(2):
            yield request
        await asyncio.Event().wait()

    sent = imports.never_idle(two_and_then_none())
    assert [await anext(sent), await anext(sent)] == [request async for request in rows(2)]
    with pytest.raises(Problem) as refusal:
        await anext(sent)
    assert refusal.value.reason == "DEADLINE_EXCEEDED"


async def test_what_is_done_with_a_row_may_take_longer_than_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(imports, "IMPORT_IDLE_SECONDS", 0.05)
    async for _ in imports.never_idle(rows(2)):
        await asyncio.sleep(0.1)
