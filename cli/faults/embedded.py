"""The faults of a stack on this machine: its processes, broker, databases and outside world fail."""

import asyncio
import json
import shutil
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import nats
import psutil
from nats.errors import Error as NatsError
from nats.js.api import DiscardPolicy

from cli.connect import Session, find_stack
from cli.errors import CommandError
from cli.faults.crashes import Crashes, in_thread
from cli.faults.target import Fault
from cli.output import Output
from deploy.embedded import wiring
from deploy.embedded.addresses import SERVICES, Addresses
from deploy.embedded.databases import Databases
from deploy.embedded.keys import Keys
from deploy.embedded.postgres import EmbeddedPostgres
from deploy.embedded.program import Program
from deploy.embedded.stack import EmbeddedStack

POLL_SECONDS = 0.02
TERMINATE_TIMES = 8
LOCK_SECONDS = 1.5
# Of the stream's memory of what it has had, while a fault wants it to forget.
FORGETFUL_SECONDS = 0.1
JETSTREAM_DOMAIN = "events"
PROVIDER_BEHAVIOR = "/provider/behavior"
KINDS = ("unavailable", "throttled", "unauthorized", "conflict", "garbage", "lost_answers")
OUTAGES = (
    *(("provider", kind) for kind in KINDS),
    *(("sms", kind) for kind in KINDS),
    ("mail", "unavailable"),
)

# Streams that a service has a durable on, beside the one of its own name.
DURABLES = (
    *(("SCHEDULER", service) for service in ("catalog", "payments", "notify")),
    *(("PAYMENTS", service) for service in ("scheduler", "notify")),
    *(("NOTIFY", service) for service in ("scheduler", "payments")),
)


class EmbeddedTarget:
    """A stack of its own, in a folder that is deleted with it."""

    simulated = True
    customers: Sequence[Mapping[str, str]] = ()

    def __init__(self, home: Path, processes: int = 1) -> None:
        """With more than one process of each service, all but one are never made to fail."""
        self._processes = processes
        self._replicas: list[Program] = []
        # Stream -> how many bytes it may hold, as its service made it.
        self._stream_sizes: dict[str, int] = {}
        self.stack = EmbeddedStack(home, Addresses.free())
        self._locks = {part: asyncio.Lock() for part in (*SERVICES, "nats", "postgres")}
        self.crashes = Crashes(self.stack, self._locks)
        self.faults = {**self._all_faults(), **self.crashes.faults()}

    async def open(self) -> None:
        """Start the stack."""
        await in_thread(self.stack.up)
        self._replicas = [
            self.stack.replica(service, number)
            for service in SERVICES
            for number in range(3, self._processes + 2)
        ]
        for replica in self._replicas:
            await in_thread(replica.start)

    async def close(self) -> None:
        """End the stack and all that it kept."""
        await self.crashes.close()
        for replica in self._replicas:
            await in_thread(replica.kill)
        await in_thread(self.stack.destroy)

    def session(self, tag: str) -> Session:
        """A session as the merchant of a history."""
        described = find_stack({"RECURRING_HOME": str(self.stack.home)})
        token = self.keys.token("faults", tag, "platform", timedelta(days=1))
        stack = replace(described, token=token, merchant=tag)
        return Session(stack, Output(as_json=True))

    async def restore(self) -> None:
        """See that every part runs as it ever did; each fault has healed what it made."""
        for service in SERVICES:
            await self.crashes.disarm(service)
        await in_thread(self.stack.up)

    @property
    def reached(self) -> Mapping[str, int]:
        """How often a process has come to the crash point of a fault, by the fault's name."""
        return self.crashes.reached

    @property
    def keys(self) -> Keys:
        """The keys and passwords of the stack."""
        return Keys(self.stack.home / "keys")

    def _all_faults(self) -> dict[str, Fault]:
        faults: dict[str, Fault] = {}
        for part in (*SERVICES, "nats", "postgres"):
            faults[f"kill {part}"] = Fault(self._does(self._kill, part), self._heals(part))
        for service in SERVICES:
            faults[f"stop {service}"] = Fault(
                self._does(self._signal, service, "suspend"),
                partial(self._signal, service, "resume"),
            )
            faults[f"terminate backends of {service}"] = Fault(
                self._does(self._terminate, service), _nothing
            )
            faults[f"read-only database of {service}"] = Fault(
                self._does(self._read_only, service, "on"),
                partial(self._read_only, service, "off"),
            )
            faults[f"few connections of {service}"] = Fault(
                self._does(self._connection_limit, service, 3),
                partial(self._connection_limit, service, -1),
            )
            faults[f"roll {service}"] = Fault(self._does(self._roll, service), self._heals(service))
            faults[f"migrate {service}"] = Fault(
                self._does(self._operate, service, "migrate"), _nothing
            )
            faults[f"lock outbox of {service}"] = Fault(self._does(self._lock, service), _nothing)
            faults[f"full stream of {service}"] = Fault(
                self._does(self._fill, service.upper()), partial(self._empty, service.upper())
            )
            faults[f"replay {service}"] = Fault(self._does(self._replay, service), _nothing)
        faults["wipe the broker's store"] = Fault(self._does(self._wipe), self._heals("nats"))
        for stream, service in DURABLES:
            faults[f"delete durable {service} of {stream}"] = Fault(
                self._does(self._delete_durable, stream, service), _nothing
            )
        for part, kind in OUTAGES:
            faults[f"outage of {part}: {kind}"] = Fault(
                self._does(self._put, f"/outages/{part}", {"on": True, "kind": kind}),
                partial(self._put, f"/outages/{part}", {"on": False}),
                lasting=True,
            )
        for behavior, seconds in (
            ("search_lag_seconds", 5400),
            ("keys_forgotten_after_seconds", 86400),
        ):
            faults[f"provider: {behavior}"] = Fault(
                self._does(self._put, PROVIDER_BEHAVIOR, {behavior: seconds}),
                partial(self._put, PROVIDER_BEHAVIOR, {behavior: None}),
                lasting=True,
            )
        return faults

    @staticmethod
    def _does(
        work: Callable[..., Awaitable[None]], *arguments: object
    ) -> Callable[[Mapping[str, Any]], Awaitable[None]]:
        async def make(_step: Mapping[str, Any]) -> None:
            await work(*arguments)

        return make

    # --- processes --------------------------------------------------------------------------------

    def _heals(self, part: str) -> Callable[[], Awaitable[None]]:
        async def heal() -> None:
            async with self._locks[part]:
                await in_thread(self.stack.start, part)

        return heal

    async def _kill(self, part: str) -> None:
        async with self._locks[part]:
            await in_thread(self.stack.kill, part)

    async def _roll(self, service: str) -> None:
        """Replace a process as a new version does: it drains, and the next one starts."""
        async with self._locks[service]:
            await in_thread(self.stack.restart, service)

    async def _signal(self, service: str, what: str) -> None:
        process = self.stack.process_of(service).find()
        if process is None:
            return
        with suppress(psutil.NoSuchProcess):
            for each in (process, *process.children(recursive=True)):
                getattr(each, what)()

    # --- databases --------------------------------------------------------------------------------

    async def _execute(self, sql: str) -> None:
        port = self.stack.addresses.ports["postgres"]
        server = EmbeddedPostgres(self.stack.home / "postgres", port, self.stack.home / "log")
        databases: Databases = server.databases
        for attempt in range(20):
            try:
                await in_thread(databases.execute, sql)
            except CommandError:
                if attempt == 19:  # noqa: PLR2004 - the last
                    raise
                # Another fault may have taken the server away.
                await asyncio.sleep(0.5)
            else:
                return

    async def _terminate(self, service: str) -> None:
        sql = f"""
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = '{wiring.role(service)}' AND pid <> pg_backend_pid()
        """  # noqa: S608 - fixed names
        for _ in range(TERMINATE_TIMES):
            await self._execute(sql)
            await asyncio.sleep(POLL_SECONDS)

    async def _read_only(self, service: str, switch: str) -> None:
        role = wiring.role(service)
        await self._execute(f"ALTER ROLE {role} SET default_transaction_read_only = {switch}")
        await self._execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"  # noqa: S608
        )

    async def _lock(self, service: str) -> None:
        """Keep every transaction with an event waiting, for less than they wait at the most."""
        await self._execute(
            rf"""
            \connect {wiring.role(service)}
            BEGIN; LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE;
            SELECT pg_sleep({LOCK_SECONDS}); COMMIT;
            """
        )

    async def _connection_limit(self, service: str, limit: int) -> None:
        role = wiring.role(service)
        await self._execute(f"ALTER ROLE {role} CONNECTION LIMIT {limit}")
        if limit > 0:
            await self._execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"  # noqa: S608
            )

    # --- broker -----------------------------------------------------------------------------------

    async def _wipe(self) -> None:
        async with self._locks["nats"]:
            await in_thread(self.stack.kill, "nats")
            shutil.rmtree(self.stack.home / "nats" / "store", ignore_errors=True)
            await in_thread(self.stack.start, "nats")

    async def _with_streams(self, work: Callable[[Any], Awaitable[None]]) -> None:
        url = wiring.nats_url(wiring.STREAMS_USER, self.stack.addresses, self.keys)
        with suppress(NatsError, OSError, TimeoutError):
            client = await nats.connect(url, allow_reconnect=False)
            try:
                await work(client.jetstream(domain=JETSTREAM_DOMAIN))
            finally:
                await client.close()

    async def _delete_durable(self, stream: str, service: str) -> None:
        async def delete(jetstream: Any) -> None:  # noqa: ANN401 - untyped in nats-py
            await jetstream.delete_consumer(stream, service)

        await self._with_streams(delete)

    async def _fill(self, stream: str) -> None:
        """Let a stream refuse what is published, as one whose disk is full."""

        async def fill(jetstream: Any) -> None:  # noqa: ANN401 - untyped in nats-py
            info = await jetstream.stream_info(stream)
            self._stream_sizes.setdefault(stream, info.config.max_bytes)
            info.config.max_bytes, info.config.discard = info.state.bytes + 1, DiscardPolicy.NEW
            await jetstream.update_stream(info.config)

        await self._with_streams(fill)

    async def _empty(self, stream: str) -> None:
        """Give a stream its room again."""

        async def empty(jetstream: Any) -> None:  # noqa: ANN401 - untyped in nats-py
            config = (await jetstream.stream_info(stream)).config
            config.max_bytes, config.discard = self._stream_sizes[stream], DiscardPolicy.OLD
            await jetstream.update_stream(config)

        if stream in self._stream_sizes:
            await self._with_streams(empty)

    async def _forget(self, stream: str) -> None:
        """Let a stream forget what it has had, so that it takes it again."""

        async def shorten(jetstream: Any) -> None:  # noqa: ANN401 - untyped in nats-py
            config = (await jetstream.stream_info(stream)).config
            config.duplicate_window = FORGETFUL_SECONDS
            await jetstream.update_stream(config)

        await self._with_streams(shorten)

    async def _replay(self, service: str) -> None:
        """Publish again all that a service ever has, beyond what the stream knows for a duplicate."""
        await self._forget(service.upper())
        since = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        await self._operate(service, "replay", "--since", since)

    async def _operate(self, service: str, *command: str) -> None:
        """Run an operator's command of a service beside it."""
        process = self.stack.process_of(service)
        done = await asyncio.create_subprocess_exec(
            *process.command,
            *command,
            env=dict(process.environment),
            cwd=process.working_folder,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await done.wait()

    # --- the outside world ------------------------------------------------------------------------

    async def _put(self, path: str, body: Mapping[str, object]) -> None:
        request = urllib.request.Request(  # noqa: S310 - of this machine
            f"{self.stack.addresses.sandbox_url}{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method="PUT",
        )
        try:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            await asyncio.to_thread(opener.open, request, timeout=10)
        except OSError as error:
            raise CommandError(f"the sandbox does not answer: {error}") from error


async def _nothing() -> None:
    """What was made is over already."""
