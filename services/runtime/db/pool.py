"""PostgreSQL: one engine a process, short transactions, statements over sets."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from services.runtime.auth import call_context
from services.runtime.crypto.encryption import KEYRING_OPTION, Keyring, keyring
from services.runtime.observability import tracing

# A statement that takes longer than this is stuck: the workers and calls that made it try again.
STATEMENT_TIMEOUT_SECONDS = 15
LOCK_TIMEOUT_SECONDS = 5
IDLE_IN_TRANSACTION_TIMEOUT_SECONDS = 15
CONNECT_TIMEOUT_SECONDS = 5
POOL_TIMEOUT_SECONDS = 5
# For readiness and for gauges, which may take longer.
CHECK_CONNECTIONS = 2
# Statements look for few rows by an index, and many take the first of them in its order. By a bitmap
# all that match are gathered before the first: a claim would read a whole backlog, of which the
# planner's statistics know nothing yet.
PLANNER_SETTINGS = {"enable_bitmapscan": "off"}

# A transaction, or a connection that only reads.
Connection = AsyncConnection


def connect(
    database_url: str, *, application: str, pool_size: int, keyring: Keyring
) -> AsyncEngine:
    """An engine whose connections carry the limits of this module, and the keys of encrypted data."""
    engine = create_async_engine(
        database_url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        # Errors go to logs, and parameters can be phone numbers.
        hide_parameters=True,
        json_deserializer=orjson.loads,
        execution_options={KEYRING_OPTION: keyring},
        connect_args={
            "timeout": CONNECT_TIMEOUT_SECONDS,
            "server_settings": {
                **PLANNER_SETTINGS,
                "application_name": application,
                "timezone": "UTC",
                "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
                "lock_timeout": f"{LOCK_TIMEOUT_SECONDS}s",
                "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_TIMEOUT_SECONDS}s",
            },
        },
    )
    event.listen(engine.sync_engine, "checkout", _replace_closed)
    event.listen(engine.sync_engine, "checkout", _act_for_caller)
    return engine


def _replace_closed(connection: Any, _record: object, _proxy: object) -> None:  # noqa: ANN401
    """Replace a connection that the server has closed, and all that are as old.

    The driver notices a closed connection by itself. SQLAlchemy's `pool_pre_ping` would send the server
    three statements (BEGIN, an empty one, ROLLBACK) before each use.
    """
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError


# A connection sees the rows of its caller's tenant, and no rows without a caller: row-level security
# also covers a query that lacks a condition on the tenant. Work for every tenant uses another role,
# which the administrator of the database has created (deploy/postgres/roles.sql).
_FOR_TENANT = "SELECT set_config('role', 'none', false), set_config('recurring.tenant', $1, false)"
_FOR_ALL = "SELECT set_config('role', session_user || '_workers', false)"


def _act_for_caller(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:  # noqa: ANN401
    tenant = call_context.tenant()
    if record.info.get("tenant") == tenant:
        return
    # Outside of any transaction, whose rollback would undo it.
    if tenant == call_context.ANY_TENANT:
        connection.run_async(lambda driver: driver.execute(_FOR_ALL))
    else:
        connection.run_async(lambda driver: driver.execute(_FOR_TENANT, tenant))
    record.info["tenant"] = tenant


class Database:
    """The database of a service, with separate connections for calls, for workers, and for checks.

    So neither calls nor due work wait for each other, and readiness waits for neither.
    """

    def __init__(
        self,
        calls: AsyncEngine,
        workers: AsyncEngine | None = None,
        checks: AsyncEngine | None = None,
    ) -> None:
        """Without their own pools, workers and checks use that of calls."""
        self._calls = calls
        self._workers = workers or calls
        self._checks = checks or calls
        self._committed: Callable[[], None] = lambda: None

    @property
    def engine(self) -> AsyncEngine:
        """The connections of the current work: of workers, or of calls."""
        return self._workers if call_context.is_due_work() else self._calls

    def on_commit(self, committed: Callable[[], None]) -> None:
        """Set a function that is called after each commit, which wakes the workers."""
        self._committed = committed

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed at the end of the block, rolled back if it raises.

        No network call may be made inside the block. The commit wakes all workers, so a worker that
        only reads uses `read`, or the engine's own transaction.
        """
        async with self.engine.begin() as tx:
            yield tx
        self._committed()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading; each statement is a transaction of its own."""
        async with self.engine.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def check(self) -> AsyncIterator[AsyncConnection]:
        """A connection for readiness and gauges, available however busy the process is."""
        async with self._checks.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def keyring(self) -> Keyring:
        """The keys of the encrypted data."""
        return keyring(self._calls)

    async def close(self) -> None:
        """Close all connections."""
        for engine in {self._calls, self._workers, self._checks}:
            await engine.dispose()


def to_json(data: Any) -> str:  # noqa: ANN401 - any JSON
    """Plain data as the text of a `jsonb` column."""
    return orjson.dumps(data).decode()


async def copy(
    tx: AsyncConnection, table: str, names: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Store new rows by COPY, the cheapest way; a duplicate key is an error.

    For a caller of one tenant they are inserted, since PostgreSQL has no COPY under row-level security.
    The transaction must have executed a statement before, which begins it.
    """
    raw = await tx.get_raw_connection()
    connection: Any = raw.driver_connection
    if not connection.is_in_transaction():
        raise RuntimeError("COPY outside a transaction")
    if call_context.tenant() != call_context.ANY_TENANT:
        values = ", ".join(f"${number}" for number in range(1, len(names) + 1))
        insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"  # noqa: S608
        with tracing.statement(f"INSERT {table}"):
            await connection.executemany(insert, rows)
        return
    with tracing.statement(f"COPY {table}"):
        await connection.copy_records_to_table(table, records=rows, columns=list(names))
