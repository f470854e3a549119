"""What is missing is waited for, and said in one line; what is to end is waited for, too."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from services.runtime.errors import SettingsError
from services.runtime.observability.outages import Reporter, out_of_reach

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0

R = TypeVar("R")


async def retry_until_success(
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


def in_one_line(error: Exception) -> str:
    """What is wrong, for a line of a log."""
    if isinstance(error, SettingsError):
        return "; ".join(str(error).splitlines())
    cause = error.driver_exception if isinstance(error, DBAPIError) else error
    return f"{type(cause).__name__}: {next(iter(str(cause).splitlines()), '')}"
