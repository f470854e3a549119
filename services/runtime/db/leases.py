"""Leases of due rows: a claim ends after so long, and the step that works on the rows ends before it.

So the work of one owner never overlaps with that of the next one. Claims use the database's clock,
since they concern machines, not customers.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from services.runtime.db.pool import Connection, Database

# What is left of a lease when its step is cut off, for the last statement to end.
MARGIN_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Lease:
    """How long a claim is valid."""

    seconds: int

    @property
    def step_deadline_seconds(self) -> int:
        """When a step under this lease is cut off."""
        return self.seconds - MARGIN_SECONDS


# For steps that call other services, each call at most 10 s.
SUITE = Lease(15)
# For the relay, which waits 10 s for the broker to store events and 5 s for the state of its streams.
BROKER = Lease(20)
# For steps that call a provider or a gateway.
OUTSIDE = Lease(30)


@asynccontextmanager
async def released_on_failure(
    database: Database, release: Callable[[Connection], Awaitable[object]]
) -> AsyncIterator[None]:
    """Release the claimed rows if the work on them fails, is cut off or cancelled.

    Otherwise no replica works on them until the lease ends, which it does if the release fails.
    """
    try:
        yield
    except BaseException:
        with suppress(Exception):
            async with asyncio.timeout(MARGIN_SECONDS), database.engine.begin() as tx:
                await release(tx)
        raise
