"""Tasks that run together and are cancelled together."""

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any

CANCEL_AGAIN_SECONDS = 1.0


async def run_together(*works: Coroutine[Any, Any, None]) -> None:
    """Run endless tasks until cancelled, or until one of them ends, which cancels the others.

    Raises the error of the task that ended, or RuntimeError if it had none.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(tasks)
    for task in done:
        # A task that cancelled itself must not look like a cancellation of all.
        if not task.cancelled():
            task.result()
    raise RuntimeError("a task that runs until cancelled has ended by itself")


async def end(
    tasks: Collection[asyncio.Task[Any]], again_seconds: float = CANCEL_AGAIN_SECONDS
) -> None:
    """Cancel tasks repeatedly until they have ended.

    A cancellation can be lost: `asyncio.wait_for` drops one that coincides with its result (until
    Python 3.12), and an error during clean-up replaces it.
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=again_seconds)
