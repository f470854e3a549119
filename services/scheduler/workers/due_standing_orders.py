"""Due work on standing orders: they are read, decided about with other services, and then stored."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from operator import attrgetter

from services.runtime.db.due_work import Batch
from services.runtime.db.pool import Connection, Database
from services.runtime.observability import tracing
from services.runtime.workers.bisection import Postponed, bisect_failures
from services.scheduler.application.evaluation.context import Context
from services.scheduler.clients import Clients, is_transient
from services.scheduler.domain.ids import StandingOrderKey
from services.scheduler.domain.standing_order import StandingOrder

# From a connection: so many standing orders of some buckets, due by an instant, but for these.
Read = Callable[
    [Connection, Sequence[int], datetime, int, Sequence[StandingOrderKey]],
    Awaitable[Sequence[StandingOrder]],
]
# Asks other services without a transaction, and stores all at once.
Step = Callable[[Context, Sequence[StandingOrder]], Awaitable[None]]


class DueStandingOrders:
    """Works on standing orders of one kind of due work; those that fail alone wait."""

    def __init__(
        self,
        database: Database,
        clients: Clients,
        kind: str,
        batch_max: int,
        read: Read,
        step: Step,
    ) -> None:
        self._database = database
        self._clients = clients
        self._kind = kind
        self._batch_max = batch_max
        self._read = read
        self._step = step
        self._postponed: Postponed[StandingOrderKey] = Postponed()

    async def work(self, batch: Batch) -> int:
        """Work on a batch; returns how many standing orders it has."""
        left_out = self._postponed.waiting()
        async with self._database.read() as connection:
            found = await self._read(
                connection, batch.buckets, batch.now, self._batch_max, left_out
            )
        if not found:
            return 0

        async def work(some: Sequence[StandingOrder]) -> None:
            by_key = {standing_order.key: standing_order for standing_order in some}
            await self._step(Context(self._database, self._clients, by_key, batch.now), some)

        with tracing.working(self._kind, len(found)):
            await bisect_failures(found, work, is_transient, self._postponed, attrgetter("key"))
        return len(found)
