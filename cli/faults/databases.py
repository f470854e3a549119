"""What happens to the databases of a stack on this machine."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psutil

from cli.errors import CommandError
from cli.faults.crashes import in_thread
from cli.faults.target import Fault, does, nothing
from cli.prove.motion import SUBSCRIBERS
from deploy.embedded import wiring
from deploy.embedded.addresses import SERVICES
from deploy.embedded.databases import PROGRAMS, wheel_root
from deploy.embedded.keys import Keys
from deploy.embedded.postgres import EmbeddedPostgres
from deploy.embedded.stack import EmbeddedStack

POLL_SECONDS = 0.02
TERMINATE_TIMES = 8
EXECUTE_TRIES = 20
EXECUTE_PAUSE_SECONDS = 0.5
LOCK_SECONDS = 1.5
# Recovery of a database of this size takes less than a second.
RECOVERY_SECONDS = 10.0
# As in the runbook: what was published before the backup may have been handled after it. No fault of
# the suite keeps an event waiting for longer.
REPLAY_MARGIN = timedelta(minutes=1)
# As in the runbook, too: pg_restore cannot drop what partitions inherit.
EMPTY_SCHEMAS = "DROP SCHEMA IF EXISTS public, audit_v1 CASCADE; CREATE SCHEMA public"
# No file may grow beyond: PostgreSQL and NATS take it for a full disk.
FULL_DISK_BYTES = {"postgres": 1_000_000, "nats": 1}

# What the catalog holds for orders has run out, as after 45 days.
HOLDS_RUN_OUT = "holds run out in catalog"
_RUN_OUT = """
    UPDATE stock_holds SET expire_time = '{0}' WHERE state = 'HELD';
    UPDATE slot_bookings SET expire_time = '{0}' WHERE state = 'HELD'
"""

# Streams, and the services that have a durable on each.
DURABLES = sorted(
    {
        (event_type.split(".")[1].upper(), service)
        for event_type, services in SUBSCRIBERS.items()
        for service in services
    }
)


class DatabaseFaults:
    """The faults of PostgreSQL, and of the database of each service."""

    def __init__(
        self,
        stack: EmbeddedStack,
        locks: Mapping[str, asyncio.Lock],
        publish_again: Callable[[str, datetime], Awaitable[None]],
        operate: Callable[..., Awaitable[str]],
        customers_now: Callable[[], Awaitable[datetime]],
    ) -> None:
        self._stack = stack
        self._locks = locks
        self._publish_again = publish_again
        self._operate = operate
        self._customers_now = customers_now
        # Service -> when the standby of its database saw it last.
        self._backup_times: dict[str, datetime] = {}
        # Those that have gone on with their standby.
        self._failed_over: set[str] = set()
        # As that of the catalog, by the clock of the customers.
        self._catalog_lost_since: datetime | None = None

    @property
    def _keys(self) -> Keys:
        """Only of a stack that there is: they are made where they are missing."""
        return Keys(self._stack.home / "keys")

    @property
    def _server(self) -> EmbeddedPostgres:
        """The one of the stack."""
        port = self._stack.addresses.ports["postgres"]
        return EmbeddedPostgres(self._stack.home / "postgres", port, self._stack.home / "log")

    def faults(self) -> dict[str, Fault]:
        """All of them, by name."""
        faults = {
            f"full disk of {part}": Fault(
                does(self._fill_disk, part), partial(self._empty_disk, part)
            )
            for part in FULL_DISK_BYTES
        }
        for service in SERVICES:
            faults[f"terminate backends of {service}"] = Fault(
                does(self._terminate, service), nothing
            )
            faults[f"read-only database of {service}"] = Fault(
                does(self._read_only, service, "on"),
                partial(self._read_only, service, "off"),
            )
            faults[f"few connections of {service}"] = Fault(
                does(self._connection_limit, service, 3),
                partial(self._connection_limit, service, -1),
            )
            for table in ("inbox", "outbox"):
                faults[f"lock {table} of {service}"] = Fault(
                    does(self._lock, service, table), nothing
                )
        faults[HOLDS_RUN_OUT] = Fault(does(self._run_holds_out), nothing, lasting=True)
        for service in SERVICES:
            faults[f"lose the last second of {service}"] = Fault(
                does(self._back_up, service),
                partial(self._fail_over, service),
                forgets=service,
                settle=self._ask_again if service == "catalog" else None,
            )
        return faults

    async def _fill_disk(self, part: str) -> bool:
        return await self._limit_files(part, str(FULL_DISK_BYTES[part]))

    async def _empty_disk(self, part: str) -> None:
        """Give the disk room again, and start what ended or gave up when it could not write."""
        await self._limit_files(part, "unlimited")
        async with self._locks[part]:
            # NATS writes nothing any more after the first error, until it is started again.
            if part == "nats" or not await self._goes_on():
                await in_thread(self._stack.kill, part)
            await in_thread(self._stack.start, part)

    async def _goes_on(self) -> bool:
        """Whether PostgreSQL accepts connections before long, or has ended.

        If its recovery fails for want of room in the moment at which it begins, its postmaster takes
        that for a part of the crash before, and waits for it for good.
        """
        until = time.monotonic() + RECOVERY_SECONDS
        while self._stack.process_of("postgres").find() is not None:
            if await in_thread(self._server.is_ready):
                return True
            if time.monotonic() > until:
                return False
            await asyncio.sleep(POLL_SECONDS)
        return True

    async def _limit_files(self, part: str, size: str) -> bool:
        """Limit the size of a server's files, as its own account may: root need not.

        Returns whether there is a server whose files are limited.
        """
        server = self._stack.process_of(part).find()
        if server is None:
            return False
        with suppress(psutil.NoSuchProcess):
            is_limited = await _limit_files(server, [server], size)
            # What it starts from now on has its limit. What it had started before is among these.
            children = await in_thread(partial(server.children, recursive=True))
            await _limit_files(server, children, size)
            return is_limited
        return False

    async def _back_up(self, service: str) -> bool:
        """Keep what a standby of a service's database would have by now; returns whether it is kept."""
        backup = self._backup_file(service)
        since, customers_since = datetime.now(UTC), await self._customers_now()
        options = ("--format=custom", f"--file={backup}")
        if await self._run_on_database("pg_dump", service, *options):
            return False
        self._backup_times[service] = since
        if service == "catalog":
            self._catalog_lost_since = customers_since
        return True

    async def _fail_over(self, service: str) -> None:
        """Go on with the standby, and do what the runbook says: others publish again what it lost."""
        since = self._backup_times.pop(service, None)
        if since is None:
            return
        if service == "catalog":
            # Before it has asked for what the catalog held, it holds nothing for others.
            async with self._locks["scheduler"]:
                await in_thread(self._stack.kill, "scheduler")
        async with self._locks[service]:
            await in_thread(self._stack.kill, service)
            await self._end_sessions("datname", service)
            await self._restore(service)
            self._failed_over.add(service)
            await in_thread(self._stack.start, service)
        for publisher in sorted(
            stream.lower() for stream, durable in DURABLES if durable == service
        ):
            await self._publish_again(publisher, since - REPLAY_MARGIN)

    def take_failed_over(self) -> list[str]:
        """The services that have gone on with their standby since this was asked last."""
        services, self._failed_over = sorted(self._failed_over), set()
        return services

    async def _ask_again(self) -> None:
        """Have the scheduler ask for what the catalog held, and start it."""
        if self._catalog_lost_since is None:
            return
        since = self._catalog_lost_since.isoformat()
        await self._operate("scheduler", "restore-catalog", "--since", since)
        async with self._locks["scheduler"]:
            await in_thread(self._stack.start, "scheduler")

    async def _restore(self, service: str) -> None:
        for tries_left in reversed(range(EXECUTE_TRIES)):
            failure = await self._run_on_database(
                "psql", service, f"--command={EMPTY_SCHEMAS}"
            ) or await self._run_on_database(
                *("pg_restore", service, "--no-owner", "--single-transaction"),
                str(self._backup_file(service)),
            )
            if not failure:
                return
            if not tries_left:
                raise CommandError(f"the database of {service} is not restored: {failure}")
            # Another fault may have taken the server away.
            await asyncio.sleep(EXECUTE_PAUSE_SECONDS)

    def _backup_file(self, service: str) -> Path:
        return self._stack.home / f"{service}.dump"

    async def _run_on_database(self, program: str, service: str, *arguments: str) -> str:
        """Run one of PostgreSQL's own programs on the database of a service; returns why it failed."""
        url = wiring.database_url(service, self._stack.addresses, self._keys, "_migrator")
        done = await asyncio.create_subprocess_exec(
            str(wheel_root() / PROGRAMS / program),
            f"--dbname={url}",
            *arguments,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await done.communicate()
        return errors.decode().strip() or "no reason given" if done.returncode else ""

    async def ask(self, service: str, sql: str) -> str:
        """What a statement prints on the database of a service."""
        return await self._execute(f"\\connect {wiring.role(service)}\n{sql}")

    async def _execute(self, sql: str) -> str:
        databases = self._server.databases
        for _ in range(EXECUTE_TRIES - 1):
            with suppress(CommandError):
                return await in_thread(databases.execute, sql)
            # Another fault may have taken the server away.
            await asyncio.sleep(EXECUTE_PAUSE_SECONDS)
        return await in_thread(databases.execute, sql)

    async def _run_holds_out(self) -> None:
        now = await self._customers_now()
        await self.ask("catalog", _RUN_OUT.format(now.isoformat()))

    async def _terminate(self, service: str) -> bool:
        ended = 0
        for _ in range(TERMINATE_TIMES):
            ended += await self._end_sessions("datname", service)
            await asyncio.sleep(POLL_SECONDS)
        return ended > 0

    async def _read_only(self, service: str, switch: str) -> None:
        await self._execute(
            f"ALTER ROLE {wiring.role(service)} SET default_transaction_read_only = {switch}"
        )
        await self._end_sessions("usename", service)

    async def _lock(self, service: str, table: str) -> None:
        """Keep every transaction with an event waiting, for less than they wait at the most."""
        await self._execute(
            rf"""
            \connect {wiring.role(service)}
            BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE;
            SELECT pg_sleep({LOCK_SECONDS}); COMMIT;
            """
        )

    async def _connection_limit(self, service: str, limit: int) -> None:
        await self._execute(f"ALTER ROLE {wiring.role(service)} CONNECTION LIMIT {limit}")
        if limit > 0:
            await self._end_sessions("usename", service)

    async def _end_sessions(self, column: str, service: str) -> int:
        """End those of `pg_stat_activity` that have its name in a column; returns how many."""
        ended = await self._execute(f"""
            SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE {column} = '{wiring.role(service)}' AND pid <> pg_backend_pid()
        """)  # noqa: S608 - fixed names
        return int(ended)


async def _limit_files(
    server: psutil.Process, processes: Sequence[psutil.Process], size: str
) -> bool:
    """Limit the size of files of processes of a server, by its account, those left out that ended.

    Returns whether that of the last one is limited.
    """
    command = "; ".join(f"prlimit --pid={each.pid} --fsize={size}:" for each in processes)
    owner = (f"--reuid={server.uids().real}", f"--regid={server.gids().real}")
    account = ("setpriv", *owner, "--clear-groups") if os.geteuid() == 0 else ()
    limiting = await asyncio.create_subprocess_exec(
        *account, "sh", "-c", command, stderr=asyncio.subprocess.DEVNULL
    )
    return await limiting.wait() == 0
