"""How many rows an import takes, how they are batched, and how long it waits for one."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.errors import Problem
from services.scheduler.api import import_stream

Request = scheduler_pb2.ImportStandingOrdersRequest


async def rows(count: int) -> AsyncIterator[Request]:
    for number in range(1, count + 1):
        yield Request(row=scheduler_pb2.ImportRow(standing_order_id=f"old-{number}"))


async def test_rows_come_in_batches_and_are_counted_from_one() -> None:
    sizes = [[row.number for row in batch] async for batch in import_stream.batches(rows(1001))]
    assert [(batch[0], batch[-1]) for batch in sizes] == [(1, 500), (501, 1000), (1001, 1001)]


async def test_a_book_that_is_too_large_is_refused_with_the_limit() -> None:
    batches = import_stream.batches(rows(import_stream.IMPORT_MAX_ROWS + 1))
    with pytest.raises(Problem) as refusal:
        _ = [batch async for batch in batches]
    assert refusal.value.reason == "IMPORT_TOO_LARGE"
    assert str(import_stream.IMPORT_MAX_ROWS) in refusal.value.message


async def test_a_caller_who_sends_nothing_any_more_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(import_stream, "IMPORT_IDLE_SECONDS", 0.05)

    async def two_and_then_none() -> AsyncIterator[Request]:
        async for request in rows(2):
            yield request
        await asyncio.Event().wait()

    sent = import_stream.never_idle(two_and_then_none())
    assert [await anext(sent), await anext(sent)] == [request async for request in rows(2)]
    with pytest.raises(Problem) as refusal:
        await anext(sent)
    assert refusal.value.reason == "DEADLINE_EXCEEDED"


async def test_what_is_done_with_a_row_may_take_longer_than_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(import_stream, "IMPORT_IDLE_SECONDS", 0.05)
    async for _ in import_stream.never_idle(rows(2)):
        await asyncio.sleep(0.1)
