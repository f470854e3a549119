"""Leases: whoever claims due rows has them for so long; a step that works on them ends earlier.

So nothing that an owner still does meets what the next owner does: its step is cut off before its lease
runs out. Claims run on the database's own clock: they concern machines, not customers.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from services.runtime.db.pool import Connection, Database

# What is left of a lease when a step is cut off, for its last statement to end.
MARGIN_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Lease:
    """How long a claim stands."""

    seconds: int

    @property
    def step_deadline_seconds(self) -> int:
        """When a step under this lease is cut off."""
        return self.seconds - MARGIN_SECONDS


# Of steps that ask other services, each call at most 10 s.
SUITE = Lease(15)
# Of the relay, which waits 10 s for the broker to take events and 5 s to hear of its streams.
BROKER = Lease(20)
# Of steps that ask a provider or a gateway.
OUTSIDE = Lease(30)


@asynccontextmanager
async def released_on_failure(
    database: Database, release: Callable[[Connection], Awaitable[object]]
) -> AsyncIterator[None]:
    """Release what was claimed if the work on it fails, is cut off or cancelled.

    The rows are due all the while, and nobody else could work on them before the lease ends. It does
    end if they cannot be released.
    """
    try:
        yield
    except BaseException:
        with suppress(Exception):
            async with asyncio.timeout(MARGIN_SECONDS), database.engine.begin() as tx:
                await release(tx)
        raise
