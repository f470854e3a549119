"""Work in sets that one bad member must not hold up."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


async def bisect_failures(
    items: Sequence[T],
    work: Callable[[Sequence[T]], Awaitable[None]],
    passes: Callable[[Exception], bool],
) -> None:
    """Work on a set as one; if it fails, on its halves, until only what cannot be done is left out.

    `passes` tells a failure that will pass by itself (an outage): it is raised, since halves would fail
    like the whole. A member that fails alone is logged, and left for a later step.
    """
    try:
        await work(items)
    except Exception as error:
        if passes(error):
            raise
        if len(items) == 1:
            log.exception("left out what cannot be worked on")
            return
        middle = len(items) // 2
        await bisect_failures(items[:middle], work, passes)
        await bisect_failures(items[middle:], work, passes)
