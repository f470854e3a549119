"""The moment of a proof: one snapshot of each database, all opened at about the same time."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg

from cli.errors import CommandError
from cli.prove.findings import NAMED_MAX, Position

CONNECT_TIMEOUT_SECONDS = 10.0
QUERY_TIMEOUT_SECONDS = 900.0
# A batch of events on the way from one database to another.
CHUNK_ROWS = 5000
# Every statement has the three parameters, whether or not it uses them.
_HEAD = """
    WITH moment AS (SELECT $1::text AS merchant, $2::timestamptz AS now, $3::timestamptz AS read_time)
"""
_NAMED = f"""
    SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY {{named_by}}) AS number FROM broken)
        AS numbered
    WHERE number <= {NAMED_MAX}
"""  # noqa: S608 - a number of our own
_POSITION = "SELECT read_time, snapshot, event_position FROM audit_v1.position"


class Snapshot:
    """One service's views at one moment. Statements run one after the other."""

    def __init__(self, service: str, connection: asyncpg.Connection, position: Position) -> None:
        self.service = service
        self.position = position
        self._connection = connection
        self._turn = asyncio.Lock()

    async def rows(self, sql: str, *arguments: object) -> list[Any]:
        """All rows of a statement. Raises CommandError if the database does not answer it."""
        async with self._turn:
            with _reading(self.service):
                return await self._connection.fetch(sql, *arguments)

    async def chunks(self, sql: str, *arguments: object) -> AsyncIterator[list[Any]]:
        """As `rows`, so many at a time, whatever else is read meanwhile."""
        async with self._turn:
            with _reading(self.service):
                cursor = await self._connection.cursor(sql, *arguments)
        while True:
            async with self._turn:
                with _reading(self.service):
                    rows = await cursor.fetch(CHUNK_ROWS)
            if not rows:
                return
            yield rows


@dataclass(frozen=True, slots=True)
class Moment:
    """All four databases, and the time of the customers' clock."""

    now: datetime
    # The one merchant that the proof is about; empty: all.
    merchant: str
    snapshots: Mapping[str, Snapshot]
    counts: dict[tuple[str, str], asyncio.Future[list[Any]]] = field(default_factory=dict)

    async def rows(self, service: str, body: str, *more: object) -> list[Any]:
        """What a statement of a clause returns; `more` are its parameters after the common ones."""
        snapshot = self.snapshots[service]
        return await snapshot.rows(f"{_HEAD} {body}", *self._common(snapshot), *more)

    async def broken(self, service: str, body: str, *, named_by: str = "''") -> list[Any]:
        """What breaks clauses: as many rows of a statement as are named, of each value of `named_by`.

        Neither with a cursor, which keeps PostgreSQL from working in parallel, nor with a LIMIT on the
        statement itself, which makes it plan for a few rows that it finds early: there are none.
        """
        broken = f", broken AS MATERIALIZED (WITH clause AS (SELECT) {body})"
        return await self.rows(service, broken + _NAMED.format(named_by=named_by))

    def _common(self, snapshot: Snapshot) -> tuple[object, ...]:
        return self.merchant, self.now, snapshot.position.read_time

    async def count(self, service: str, sql: str) -> int:
        """What a statement counts; of clauses about the same rows once."""
        key = (service, sql)
        if key not in self.counts:
            self.counts[key] = asyncio.ensure_future(self.rows(service, sql))
        [(count,)] = await self.counts[key]
        return int(count)


@asynccontextmanager
async def open_moment(
    urls: Mapping[str, str],
    services: Sequence[str],
    merchant: str,
    now: datetime | None,
    *,
    full: bool,
) -> AsyncIterator[Moment]:
    """Snapshots of the databases of services, by their addresses (postgresql://…).

    Without `now` the customers' clock is that of the databases. A service that calls another is read
    before it: what the call did is then in the other's snapshot. Raises CommandError.
    """
    with ExitStack() as opened:
        connections = []
        for service in services:
            connections.append(await _connect(service, urls.get(service, ""), full=full))
            # Nothing is to be committed, and a statement may still run.
            opened.callback(connections[-1].terminate)
        for service, connection in zip(services, connections, strict=True):
            with _reading(service):
                await connection.transaction(isolation="repeatable_read", readonly=True).start()
        snapshots = {}
        for service, connection in zip(services, connections, strict=True):
            with _reading(service):
                [row] = await connection.fetch(_POSITION)
            snapshots[service] = Snapshot(service, connection, Position(**row))
        times = [snapshot.position.read_time for snapshot in snapshots.values()]
        yield Moment(now or min(times), merchant, snapshots)


async def _connect(service: str, url: str, *, full: bool) -> asyncpg.Connection:
    if not url:
        raise CommandError(
            f"a proof reads the database of {service}: set RECURRING_{service.upper()}_DATABASE_URL"
        )
    # Times are compared as text: it has to be the same in every database.
    settings = {
        "default_transaction_read_only": "on",
        "timezone": "UTC",
        "datestyle": "ISO",
        "jit": "off",
        "work_mem": "256MB",
        # What a proof looks up is of the last days, and in memory.
        "random_page_cost": "1.1",
        # Rows are joined and grouped by long names, which are slow to sort.
        "enable_sort": "off",
        "enable_mergejoin": "off",
        # Where every row is read, none is looked up.
        **({"enable_nestloop": "off"} if full else {}),
    }
    with _reading(service):
        return await asyncpg.connect(
            url,
            timeout=CONNECT_TIMEOUT_SECONDS,
            command_timeout=QUERY_TIMEOUT_SECONDS,
            server_settings=settings,
        )


@contextmanager
def _reading(service: str) -> Iterator[None]:
    """Raise CommandError for whatever keeps a database from being read.

    That is also a connection which ends between two statements (InterfaceError), and an address that
    is none (ValueError).
    """
    try:
        yield
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise CommandError(f"the database of {service} cannot be read: {error!r}") from error
