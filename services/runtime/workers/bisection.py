"""Work in sets that one bad member must not block."""

import logging
import random
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 15.0
MAX_RETRY_SECONDS = 600.0
# Beyond, the one that waits for longest is tried again early.
POSTPONED_MAX_ROWS = 10_000

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


class Postponed(Generic[K]):
    """What has failed alone, and waits before it is tried again, longer after each failure.

    This process remembers it, in real time. Another one that takes over, or is started, tries once.
    """

    def __init__(self) -> None:
        # By key, the failures in a row, and until when it waits.
        self._failed: dict[K, tuple[int, float]] = {}

    def fail(self, key: K) -> None:
        """One has failed alone."""
        failures, _ = self._failed.pop(key, (0, 0.0))
        seconds = min(FIRST_RETRY_SECONDS * 2 ** min(failures, 10), MAX_RETRY_SECONDS)
        # What fails together is not tried again all at once.
        seconds *= random.uniform(1, 1.5)  # noqa: S311 - jitter only
        self._failed[key] = failures + 1, time.monotonic() + seconds
        if len(self._failed) > POSTPONED_MAX_ROWS:
            del self._failed[next(iter(self._failed))]

    def succeed(self, keys: Sequence[K]) -> None:
        """These have not failed."""
        if self._failed:
            for key in keys:
                self._failed.pop(key, None)

    def waiting(self) -> list[K]:
        """What is not to be tried yet."""
        now = time.monotonic()
        return [key for key, (_, until) in self._failed.items() if until > now]


async def bisect_set(
    items: Sequence[T],
    work: Callable[[Sequence[T]], Awaitable[None]],
    is_transient: Callable[[Exception], bool],
    fail: Callable[[T, Exception], None],
) -> None:
    """Work on a set; if that fails, on its halves, until only the members that fail are left out.

    A transient failure (an outage) is raised, since halves would fail like the whole. `fail` is called
    with a member that fails alone, and its error.
    """
    try:
        await work(items)
    except Exception as error:
        if is_transient(error):
            raise
        if len(items) == 1:
            fail(items[0], error)
            return
        middle = len(items) // 2
        await bisect_set(items[:middle], work, is_transient, fail)
        await bisect_set(items[middle:], work, is_transient, fail)


async def bisect_failures(
    items: Sequence[T],
    work: Callable[[Sequence[T]], Awaitable[None]],
    is_transient: Callable[[Exception], bool],
    postponed: Postponed[K],
    key: Callable[[T], K],
) -> None:
    """As `bisect_set`; a member that fails alone is logged and postponed."""

    async def work_and_note(part: Sequence[T]) -> None:
        await work(part)
        postponed.succeed([key(item) for item in part])

    def fail(item: T, error: Exception) -> None:
        log.error("left out what cannot be worked on", exc_info=error)
        postponed.fail(key(item))

    await bisect_set(items, work_and_note, is_transient, fail)
