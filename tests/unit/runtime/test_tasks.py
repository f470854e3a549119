"""Tasks that run together end together, whichever ends first."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from services.runtime.workers.tasks import run_together

GRACE_SECONDS = 5.0


async def endless() -> None:
    await asyncio.Event().wait()


async def ends() -> None:
    await asyncio.sleep(0)


async def is_cancelled_by_somebody() -> None:
    raise asyncio.CancelledError


async def fails() -> None:
    raise ConnectionError("gone")


async def test_the_error_of_one_ends_all() -> None:
    with pytest.raises(ConnectionError, match="gone"):
        async with asyncio.timeout(GRACE_SECONDS):
            await run_together(endless(), fails())


@pytest.mark.parametrize("work", [ends, is_cancelled_by_somebody])
async def test_one_that_ends_without_an_error_is_a_failure_too(
    work: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    with pytest.raises(RuntimeError, match="has ended by itself"):
        async with asyncio.timeout(GRACE_SECONDS):
            await run_together(endless(), work())


async def test_a_cancellation_of_all_stays_one() -> None:
    task = asyncio.create_task(run_together(endless(), endless()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
