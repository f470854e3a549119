"""PostgreSQL: connections that a process keeps, short transactions, statements over sets."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg
import orjson
from asyncpg import Record

from services.runtime.auth import call_context
from services.runtime.crypto.encryption import Keyring
from services.runtime.observability import tracing

# A statement that takes longer than this is stuck: the workers and calls that made it try again.
STATEMENT_TIMEOUT_SECONDS = 15
LOCK_TIMEOUT_SECONDS = 5
IDLE_IN_TRANSACTION_TIMEOUT_SECONDS = 15
CONNECT_TIMEOUT_SECONDS = 5
POOL_TIMEOUT_SECONDS = 5
# How long a connection may take to end a transaction that failed; one that takes longer is given up.
ROLLBACK_TIMEOUT_SECONDS = 5
CLOSE_TIMEOUT_SECONDS = 2
# For readiness and for gauges, which may take longer.
CHECK_CONNECTIONS = 2
# More than any service has, so that each connection prepares a statement once.
STATEMENT_CACHE_SIZE = 200
# Statements look for few rows by an index, and many take the first of them in its order. By a bitmap
# all that match are gathered before the first: a step would read a whole backlog, of which the
# planner's statistics know nothing yet. To plan a statement takes as long as to execute it for a few
# rows, so a connection plans it once, and again later, since tables grow: most while it and they are
# young. PostgreSQL has a statement planned again by itself when autovacuum has analyzed its tables,
# for which it looks once a minute (autovacuum_naptime).
PLANNER_SETTINGS = {
    "enable_bitmapscan": "off",
    "enable_seqscan": "off",
    "plan_cache_mode": "force_generic_plan",
}
# The plans of a connection are used for so long at first, then for twice as long each time.
PLANS_FIRST_SECONDS = 10
PLANS_MAX_SECONDS = 60
# The binary form of jsonb has this before its text.
_JSONB_VERSION = b"\x01"

# A connection sees the rows of its caller's tenant, and no rows without a caller: row-level security
# also covers a query that lacks a condition on the tenant. Work for every tenant uses another role,
# which the administrator of the database has created (deploy/postgres/roles.sql).
# A caller who is one customer of the tenant sees that customer's rows alone.
_FOR_TENANT = """
    SELECT set_config('role', 'none', false), set_config('recurring.tenant', $1, false),
           set_config('recurring.customer', $2, false)
"""
_FOR_ALL = "SELECT set_config('role', session_user || '_workers', false)"

# What was prepared no longer fits the schema, or the server has become a standby: other connections
# are as old.
_OUTDATED = (
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
    asyncpg.ReadOnlySQLTransactionError,
)


class PoolTimeoutError(TimeoutError):
    """All connections stayed in use for POOL_TIMEOUT_SECONDS."""


class RolledBackError(Exception):
    """A transaction cannot be committed: one of its statements had failed."""


class Connection:
    """A transaction, or a connection that only reads; for as long as the block that it was made for."""

    __slots__ = ("driver", "keyring")

    def __init__(self, driver: asyncpg.Connection, keyring: Keyring) -> None:
        self.driver = driver
        # The keys of the database's encrypted data.
        self.keyring = keyring

    async def fetch(self, sql: str, *values: object) -> list[Record]:
        """The rows of a statement with the parameters $1, $2 and so on."""
        with tracing.statement(sql):
            return await self.driver.fetch(sql, *values)

    async def execute(self, sql: str, *values: object) -> int:
        """How many rows a statement changed."""
        with tracing.statement(sql):
            return _row_count(await self.driver.execute(sql, *values))


def _row_count(status: str) -> int:
    """The number at the end of a command's status, as in `INSERT 0 5`."""
    count = status.rpartition(" ")[2]
    return int(count) if count.isdecimal() else 0


class _Shown(NamedTuple):
    """Whose rows a connection shows."""

    tenant: str
    # Empty: those of every customer of the tenant.
    customer: str


class _Session:
    """A connection to the server, and whose rows it sees."""

    __slots__ = ("driver", "generation", "planned_since", "plans_seconds", "shown")

    def __init__(self, driver: asyncpg.Connection, generation: int) -> None:
        self.driver = driver
        self.generation = generation
        self.shown: _Shown | None = None
        # By the clock of the event loop.
        self.planned_since = asyncio.get_running_loop().time()
        self.plans_seconds = PLANS_FIRST_SECONDS

    async def forget_old_plans(self) -> None:
        """Have statements planned again that were planned some time ago."""
        now = asyncio.get_running_loop().time()
        if now - self.planned_since > self.plans_seconds:
            await self.driver.execute("DISCARD PLANS")
            self.planned_since = now
            self.plans_seconds = min(2 * self.plans_seconds, PLANS_MAX_SECONDS)

    async def act_for(self, shown: _Shown) -> None:
        if self.shown == shown:
            return
        # Outside of any transaction, whose rollback would undo it.
        if shown.tenant == call_context.ANY_TENANT:
            await self.driver.execute(_FOR_ALL)
        else:
            await self.driver.execute(_FOR_TENANT, shown.tenant, shown.customer)
        self.shown = shown

    async def commit(self) -> None:
        """Commit. Raises RolledBackError if somebody has passed over the failure of a statement."""
        if await self.driver.execute("COMMIT") != "COMMIT":
            raise RolledBackError("a statement of the transaction has failed")

    async def roll_back(self, *, cancelled: bool) -> None:
        """End a transaction that failed; if that fails, the connection.

        A statement that was cancelled, even BEGIN, may be executed all the same.
        """
        if self.driver.is_closed() or not (cancelled or self.driver.is_in_transaction()):
            return
        rolled_back = False
        try:
            async with asyncio.timeout(ROLLBACK_TIMEOUT_SECONDS):
                await self.driver.execute("ROLLBACK")
            rolled_back = True
        except (
            OSError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
        ):
            # What made the transaction fail is raised.
            pass
        finally:
            if not rolled_back:
                self.driver.terminate()


class Pool:
    """Connections to a database with the limits of this module; each is opened when it is needed."""

    def __init__(self, url: str, *, application: str, size: int, keyring: Keyring) -> None:
        self.url = url
        self.keyring = keyring
        self._application = application
        self._free = asyncio.Semaphore(size)
        self._idle: list[_Session] = []
        # Of new connections; older ones are replaced.
        self._generation = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A transaction: committed at the end of the block, rolled back if it raises."""
        session = await self._acquire()
        connection = Connection(session.driver, self.keyring)
        try:
            await session.driver.execute("BEGIN")
            yield connection
            await session.commit()
        except BaseException as error:
            await session.roll_back(cancelled=isinstance(error, asyncio.CancelledError))
            if isinstance(error, _OUTDATED):
                self._retire()
            raise
        finally:
            del connection.driver
            self._release(session)

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[Connection]:
        """A connection of which each statement is a transaction of its own."""
        session = await self._acquire()
        connection = Connection(session.driver, self.keyring)
        try:
            yield connection
        except _OUTDATED:
            self._retire()
            raise
        finally:
            del connection.driver
            self._release(session)

    async def close(self) -> None:
        """Close all connections, those in use when they are released."""
        idle, self._idle = self._idle, []
        self._generation += 1
        for session in idle:
            try:
                await session.driver.close(timeout=CLOSE_TIMEOUT_SECONDS)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                session.driver.terminate()

    async def _acquire(self) -> _Session:
        """A connection that acts for the present caller. Raises PoolTimeoutError, and on outages."""
        await self._wait()
        session = None
        try:
            shown = _Shown(call_context.tenant(), call_context.customer())
            session = self._take(shown) or await self._open()
            await session.act_for(shown)
            await session.forget_old_plans()
        except BaseException:
            if session is not None:
                session.driver.terminate()
            self._free.release()
            raise
        return session

    async def _wait(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout(POOL_TIMEOUT_SECONDS):
                await self._free.acquire()
        except TimeoutError as error:
            message = f"all connections were in use for {POOL_TIMEOUT_SECONDS} s"
            raise PoolTimeoutError(message) from error

    def _take(self, shown: _Shown) -> _Session | None:
        """An open connection, one that shows these rows already if there is one."""
        if any(session.driver.is_closed() for session in self._idle):
            self._retire()
        if not self._idle:
            return None
        for index in reversed(range(len(self._idle))):
            if self._idle[index].shown == shown:
                return self._idle.pop(index)
        return self._idle.pop()

    def _release(self, session: _Session) -> None:
        if session.driver.is_closed():
            if session.generation == self._generation:
                self._retire()
        elif session.generation != self._generation:
            session.driver.terminate()
        else:
            self._idle.append(session)
        self._free.release()

    def _retire(self) -> None:
        """Replace all connections, since one was closed by the server or is outdated."""
        self._generation += 1
        for session in self._idle:
            session.driver.terminate()
        self._idle.clear()

    async def _open(self) -> _Session:
        generation = self._generation
        driver = await asyncpg.connect(
            self.url,
            timeout=CONNECT_TIMEOUT_SECONDS,
            statement_cache_size=STATEMENT_CACHE_SIZE,
            max_cached_statement_lifetime=0,
            max_cacheable_statement_size=0,
            server_settings={
                **PLANNER_SETTINGS,
                "application_name": self._application,
                "timezone": "UTC",
                "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
                "lock_timeout": f"{LOCK_TIMEOUT_SECONDS}s",
                "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_TIMEOUT_SECONDS}s",
            },
        )
        session = _Session(driver, generation)
        await _set_codecs(driver)
        return session


async def _set_codecs(driver: asyncpg.Connection) -> None:
    """JSON is written as text, and read as plain data."""
    await driver.set_type_codec(
        "json", schema="pg_catalog", format="binary", encoder=str.encode, decoder=orjson.loads
    )
    await driver.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda text: _JSONB_VERSION + text.encode(),
        decoder=lambda stored: orjson.loads(stored[len(_JSONB_VERSION) :]),
    )


class Database:
    """The database of a service, with separate connections for calls, for workers, and for checks.

    So neither calls nor due work wait for each other, and readiness waits for neither.
    """

    def __init__(
        self, calls: Pool, workers: Pool | None = None, checks: Pool | None = None
    ) -> None:
        """Without their own pools, workers and checks use that of calls."""
        self._calls = calls
        self._workers = workers or calls
        self._checks = checks or calls
        self._committed: Callable[[], None] = lambda: None

    @property
    def pool(self) -> Pool:
        """The connections of the current work: of workers, or of calls."""
        return self._workers if call_context.is_due_work() else self._calls

    def on_commit(self, committed: Callable[[], None]) -> None:
        """Set a function that is called after each commit, which wakes the workers."""
        self._committed = committed

    @asynccontextmanager
    async def begin(self, *, wake_workers: bool = True) -> AsyncIterator[Connection]:
        """A transaction: committed at the end of the block, rolled back if it raises.

        No network call may be made inside the block. The commit wakes all workers, unless it makes no
        work for them.
        """
        async with self.pool.transaction() as tx:
            yield tx
        if wake_workers:
            self.wake_workers()

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[Connection]:
        """A connection for one statement that is a transaction by itself, and wakes nobody."""
        async with self.pool.autocommit() as connection:
            yield connection

    def wake_workers(self) -> None:
        """Have all workers look for work, since something was committed."""
        self._committed()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """A connection for reading; each statement is a transaction of its own."""
        async with self.pool.autocommit() as connection:
            yield connection

    @asynccontextmanager
    async def check(self) -> AsyncIterator[Connection]:
        """A connection for readiness and gauges, available however busy the process is."""
        async with self._checks.autocommit() as connection:
            yield connection

    @property
    def keyring(self) -> Keyring:
        """The keys of the encrypted data."""
        return self._calls.keyring

    async def close(self) -> None:
        """Close all connections."""
        for pool in {self._calls, self._workers, self._checks}:
            await pool.close()


def to_json(data: Any) -> str:  # noqa: ANN401 - any JSON
    """Plain data as the text of a `jsonb` column; a named tuple is an array of its values."""
    return orjson.dumps(data, default=_unnamed).decode()


def _unnamed(value: object) -> tuple[object, ...]:
    if isinstance(value, tuple):
        return tuple(value)
    raise TypeError


async def copy(
    tx: Connection, table: str, names: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Store new rows by COPY, the cheapest way; a duplicate key is an error.

    For a caller of one tenant they are inserted, since PostgreSQL has no COPY under row-level security.
    """
    if call_context.tenant() != call_context.ANY_TENANT:
        values = ", ".join(f"${number}" for number in range(1, len(names) + 1))
        insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"  # noqa: S608
        with tracing.statement(f"INSERT {table}"):
            await tx.driver.executemany(insert, rows)
        return
    with tracing.statement(f"COPY {table}"):
        await tx.driver.copy_records_to_table(table, records=rows, columns=list(names))
