"""What is missing is waited for, and said in one line; what is to end is waited for, too."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError

from services.runtime.outages import Reporter, out_of_reach
from services.runtime.settings import SettingsError

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
CANCEL_AGAIN_SECONDS = 1.0

R = TypeVar("R")


async def until_it_works(
    what: str,
    start: Callable[[], Awaitable[R]],
    passing: Callable[[Exception], bool] = lambda _error: True,
) -> R:
    """Try to start something for as long as it takes, saying in one line what is missing, once.

    Raises an error that is not of the passing kind.
    """
    said = ""
    outage = Reporter()
    try:
        while True:
            try:
                return await start()
            except Exception as error:
                if not passing(error):
                    raise
                why = in_one_line(error)
                if what == out_of_reach(error):
                    outage.failed(what, error)
                elif why != said:
                    log.warning("waiting for %s: %s", what, why)
                    said = why
            await asyncio.sleep(RETRY_SECONDS)
    finally:
        outage.works()


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


def in_one_line(error: Exception) -> str:
    """What is wrong, for a line of a log."""
    if isinstance(error, SettingsError):
        return "; ".join(str(error).splitlines())
    cause = error.driver_exception if isinstance(error, DBAPIError) else error
    return f"{type(cause).__name__}: {next(iter(str(cause).splitlines()), '')}"
