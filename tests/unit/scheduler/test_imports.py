"""How many rows an import takes, and how they are batched."""

from collections.abc import AsyncIterator

import pytest
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.errors import Problem
from services.scheduler.api import imports

Request = scheduler_pb2.ImportStandingOrdersRequest


async def rows(count: int) -> AsyncIterator[Request]:
    for number in range(1, count + 1):
        yield Request(row=scheduler_pb2.ImportRow(standing_order_id=f"old-{number}"))


async def test_rows_come_in_batches_and_are_counted_from_one() -> None:
    sizes = [[row.number for row in batch] async for batch in imports.batches(rows(1001))]
    assert [(batch[0], batch[-1]) for batch in sizes] == [(1, 500), (501, 1000), (1001, 1001)]


async def test_a_book_that_is_too_large_is_refused_with_the_limit() -> None:
    batches = imports.batches(rows(imports.IMPORT_MAX_ROWS + 1))
    with pytest.raises(Problem) as refusal:
        _ = [batch async for batch in batches]
    assert refusal.value.reason == "IMPORT_TOO_LARGE"
    assert str(imports.IMPORT_MAX_ROWS) in refusal.value.message
