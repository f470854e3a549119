"""Tasks that run together and are cancelled together."""

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any

CANCEL_AGAIN_SECONDS = 1.0


async def run_together(*works: Coroutine[Any, Any, None]) -> None:
    """Run what has no end until cancelled, or until one of them ends; none of them runs on.

    Raises the error of the one that ended, or RuntimeError if it did so without any.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(tasks)
    for task in done:
        # A cancellation that nobody here asked for must not look like one of the whole.
        if not task.cancelled():
            task.result()
    raise RuntimeError("what was to run until cancelled has ended by itself")


async def end(
    tasks: Collection[asyncio.Task[Any]], again_seconds: float = CANCEL_AGAIN_SECONDS
) -> None:
    """Cancel tasks, again and again, until they have ended.

    Once is not enough, since a cancellation can be lost on its way: `asyncio.wait_for` drops one that
    meets its result (until Python 3.12), and an error in what is done on the way out takes its place.
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=again_seconds)
