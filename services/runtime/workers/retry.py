"""Retries what must succeed before a process can go on."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.runtime.errors import SettingsError
from services.runtime.observability.outages import Reporter, out_of_reach

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0

R = TypeVar("R")


async def retry_until_success(
    what: str,
    start: Callable[[], Awaitable[R]],
    is_transient: Callable[[Exception], bool] = lambda _error: True,
) -> R:
    """Retry until `start` succeeds, and log each cause of failure once, in one line.

    Raises an error that is not transient.
    """
    logged = ""
    outage = Reporter()
    try:
        while True:
            try:
                return await start()
            except Exception as error:
                if not is_transient(error):
                    raise
                reason = in_one_line(error)
                if what == out_of_reach(error):
                    outage.failed(what, error)
                elif reason != logged:
                    log.warning("waiting for %s: %s", what, reason)
                    logged = reason
            await asyncio.sleep(RETRY_SECONDS)
    finally:
        outage.works()


def in_one_line(error: Exception) -> str:
    """An error for a line of a log."""
    if isinstance(error, SettingsError):
        return "; ".join(str(error).splitlines())
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
