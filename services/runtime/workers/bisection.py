"""Work in sets that one bad member must not block."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


async def bisect_failures(
    items: Sequence[T],
    work: Callable[[Sequence[T]], Awaitable[None]],
    is_transient: Callable[[Exception], bool],
) -> None:
    """Work on a set; if that fails, on its halves, until only the members that fail are left out.

    A transient failure (an outage) is raised, since halves would fail like the whole. A member that
    fails alone is logged, and left for a later step.
    """
    try:
        await work(items)
    except Exception as error:
        if is_transient(error):
            raise
        if len(items) == 1:
            log.exception("left out what cannot be worked on")
            return
        middle = len(items) // 2
        await bisect_failures(items[:middle], work, is_transient)
        await bisect_failures(items[middle:], work, is_transient)
