"""Leases of buckets: each replica of a service does the due work of the buckets that it leases.

Due work is divided into BUCKETS by a hash of its shard key: `bucket_of` in SQL, and nowhere else. No
row is marked as taken. A replica leases its share of the buckets for some seconds by the database's
clock, and renews its lease, one row, every RENEW_SECONDS. It takes what is free, and gives up what is
more than its share. Whoever finds that the lease of another one has ended deletes that row, and with it
what it had: should it wake up, it has nothing, and joins again.

A replica that cannot renew begins no step any more, by a clock of its machine that nobody sets, since
before it asked for the last renewal. A step is cut off before the lease can end under which it began,
and asks nobody outside after that time. If a replica stands still in the middle of a step, another one
does the work meanwhile, and what the first one stores afterwards is refused by a version or a state.
"""

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from opentelemetry.metrics import Observation

from services.runtime.db.pool import Connection, Database
from services.runtime.db.statements import Command, Query, scalar
from services.runtime.observability import metrics
from services.runtime.workers.clock import Machine
from services.runtime.workers.loop import Step

log = logging.getLogger(__name__)

# As many as `bucket_of` gives. More replicas than this would have nothing to do.
BUCKETS = 64
RENEW_SECONDS = 2.0
RENEW_TIMEOUT_SECONDS = 5.0
# A step begins only if its lease was renewed so lately.
RENEWED_WITHIN_SECONDS = 5
# What is left of a lease when a step under it is cut off, for the last statement to end.
MARGIN_SECONDS = 3
LEAVE_TIMEOUT_SECONDS = 3.0
# A shorter one leaves a step no time to ask other services; whoever calls a provider or a gateway needs
# more. A longer one ends after what was begun with a provider is looked up.
LEASE_MIN_SECONDS = 15
LEASE_MAX_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Lease:
    """How long buckets are leased."""

    seconds: int

    @property
    def step_deadline_seconds(self) -> int:
        """When a step under this lease is cut off, since it began."""
        return self.seconds - RENEWED_WITHIN_SECONDS - MARGIN_SECONDS


# For steps that call other services, each call at most 10 s, unless the settings say otherwise.
SUITE = Lease(20)
# For steps that call a provider or a gateway.
OUTSIDE = Lease(LEASE_MAX_SECONDS)


class Assignment(NamedTuple):
    """What becomes of a replica's leases at a renewal."""

    keep: frozenset[int]
    take: frozenset[int]
    give_up: frozenset[int]


def assign(
    leases: Mapping[int, uuid.UUID], live: Collection[uuid.UUID], own: uuid.UUID
) -> Assignment:
    """How a replica comes to its share, given the leases and replicas that are live.

    The shares of all replicas add up to BUCKETS and differ by one at most.
    """
    holders = sorted({*live, own})
    rank, (least, left) = holders.index(own), divmod(BUCKETS, len(holders))
    share = least + (rank < left)
    # Each begins at another bucket, so that replicas that come at one moment take different ones.
    first = rank * least + min(rank, left)
    order = [(first + number) % BUCKETS for number in range(BUCKETS)]
    held = [bucket for bucket in order if leases.get(bucket) == own]
    free = [bucket for bucket in order if bucket not in leases]
    return Assignment(
        frozenset(held[:share]),
        frozenset(free[: max(0, share - len(held))]),
        frozenset(held[share:]),
    )


class _HolderRow(NamedTuple):
    holder: uuid.UUID
    # Its lease has ended, and it has not come back.
    has_expired: bool
    buckets: Sequence[int]


# Each statement is a transaction, so that a replica that stands still between two holds no lock.
_JOIN = Command("""
    INSERT INTO lease_holders (holder, name, expire_time)
    VALUES (CAST(:holder AS uuid), :name, now() + make_interval(secs => :lease_seconds))
""")

# The row of the holder itself is there if it is still a holder: only then is what it had still its own.
# It waits for whoever is ending it.
_RENEW = Query(
    """
    WITH renewed AS (
        UPDATE lease_holders SET expire_time = now() + make_interval(secs => :lease_seconds)
        WHERE holder = CAST(:holder AS uuid)
        RETURNING holder
    )
    SELECT holder, holder <> CAST(:holder AS uuid) AND expire_time < now() AS has_expired,
           coalesce(array_agg(bucket) FILTER (WHERE bucket IS NOT NULL), '{}') AS buckets
    FROM lease_holders LEFT JOIN bucket_leases USING (holder)
    WHERE holder <> CAST(:holder AS uuid) OR holder IN (SELECT holder FROM renewed)
    GROUP BY holder
    """,
    _HolderRow,
)

# It has no buckets either then. One that renews at this moment stays.
_END_EXPIRED = Command("DELETE FROM lease_holders WHERE expire_time < now()")

# It takes nothing if it is no holder any more.
_TAKE: Query[int] = Query(
    """
    WITH own AS (
        SELECT holder FROM lease_holders WHERE holder = CAST(:holder AS uuid) FOR KEY SHARE
    )
    INSERT INTO bucket_leases (bucket, holder)
    SELECT bucket, holder FROM unnest(CAST(:buckets AS smallint[])) AS bucket, own ORDER BY bucket
    ON CONFLICT (bucket) DO NOTHING
    RETURNING bucket
    """,
    scalar,
)

_GIVE_UP = Command("""
    DELETE FROM bucket_leases
    WHERE holder = CAST(:holder AS uuid) AND bucket = ANY(CAST(:buckets AS smallint[]))
""")

_LEAVE = Command("DELETE FROM lease_holders WHERE holder = CAST(:holder AS uuid)")

# A process of the same name that was there before is dead: it cannot have had the address as well.
_FORGET = Command("DELETE FROM lease_holders WHERE name = :name")


class BucketLeases:
    """The leases of one process, from its first work to its last."""

    def __init__(
        self, database: Database, lease: Lease, name: str, machine: Machine | None = None
    ) -> None:
        """`name` belongs to one process at a time, and to the one that is started in its place."""
        self._database = database
        self._lease = lease
        self._name = name
        self._holder = uuid.uuid4()
        self._elapsed_seconds = (machine or Machine()).elapsed_seconds
        # Those that steps may begin on, and until when steps may begin.
        self._buckets: frozenset[int] = frozenset()
        self._begin_until = 0.0
        self._in_use: Counter[int] = Counter()
        self._has_joined = False
        self._changed: Callable[[], None] = lambda: None

    @property
    def lease(self) -> Lease:
        """How long the leases are."""
        return self._lease

    @property
    def buckets(self) -> frozenset[int]:
        """The buckets that steps may work on now."""
        return self._usable()

    def export(self) -> None:
        """Export the number of buckets as a metric."""
        metrics.gauge(
            "recurring.buckets.leased", "{bucket}", "Buckets of due work that the process leases",
            lambda: [Observation(len(self.buckets))],
        )  # fmt: skip

    @asynccontextmanager
    async def held(self, changed: Callable[[], None]) -> AsyncIterator[None]:
        """The time in which `renew` is called; afterwards everything is given up.

        `changed` is called when there are new buckets, and wakes the workers.
        """
        self._changed = changed
        try:
            yield
        finally:
            await self.leave()

    async def renew(self) -> Step:
        """Renew the lease, take what is free up to the share, give up what is more.

        A bucket that a step works on is given up after the step. The first time, what a process of the
        same name has left, which crashed, is free.
        """
        async with asyncio.timeout(RENEW_TIMEOUT_SECONDS), self._database.check() as connection:
            if not self._has_joined:
                await _FORGET.run(connection, name=self._name)
                self._has_joined = True
            before_seconds = self._elapsed_seconds()
            holders = await self._renew(connection)
            live = [row for row in holders if not row.has_expired]
            keep, take, give_up = assign(
                {bucket: row.holder for row in live for bucket in row.buckets},
                {row.holder for row in live},
                self._holder,
            )
            before, self._buckets = self._buckets, keep
            self._begin_until = before_seconds + RENEWED_WITHIN_SECONDS
            if len(live) < len(holders):
                await _END_EXPIRED.run(connection)
            if take:
                self._buckets |= frozenset(
                    await _TAKE.all(connection, holder=self._holder, buckets=sorted(take))
                )
            idle = sorted(bucket for bucket in give_up if not self._in_use[bucket])
            if idle:
                await _GIVE_UP.run(connection, holder=self._holder, buckets=idle)
        if self._buckets - before:
            self._changed()
        return Step()

    async def _renew(self, connection: Connection) -> list[_HolderRow]:
        """All holders, this one among them with the buckets that it has."""
        own = {"holder": self._holder, "lease_seconds": self._lease.seconds}
        holders = await _RENEW.all(connection, **own)
        if all(row.holder != self._holder for row in holders):
            self._buckets = frozenset()
            await _JOIN.run(connection, name=self._name, **own)
            holders = await _RENEW.all(connection, **own)
        return holders

    @contextmanager
    def work(self, part: int = 0, parts: int = 1) -> Iterator[frozenset[int]]:
        """The buckets that a step may work on now: all, or every `parts`-th of them.

        Steps that run side by side and take the same work have parts of their own.
        """
        buckets = frozenset(bucket for bucket in self._usable() if bucket % parts == part)
        self._in_use.update(buckets)
        try:
            yield buckets
        finally:
            self._in_use.subtract(buckets)

    async def leave(self) -> None:
        """Give everything up at once, when no step runs any more. If that fails, the leases end."""
        self._buckets = frozenset()
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT_SECONDS), self._database.check() as connection:
                await _LEAVE.run(connection, holder=self._holder)
        except Exception as error:  # noqa: BLE001 - whatever it is, others wait until the leases end
            log.warning("buckets not given up: %s", type(error).__name__)

    def _usable(self) -> frozenset[int]:
        return self._buckets if self._elapsed_seconds() <= self._begin_until else frozenset()
