"""The faults of a stack on this machine: its processes, broker, databases and outside world fail."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import nats
import psutil
from nats.errors import Error as NatsError
from nats.js.api import DiscardPolicy

from cli.connect import Session, find_stack
from cli.errors import CommandError
from cli.faults.crashes import SETTINGS, Crashes, in_thread
from cli.faults.databases import DURABLES, DatabaseFaults
from cli.faults.poison import PoisonedEvents
from cli.faults.target import Fault, does, nothing
from cli.output import Output
from cli.sandbox import Sandbox
from deploy.embedded import wiring
from deploy.embedded.addresses import SERVICES, Addresses
from deploy.embedded.keys import Keys
from deploy.embedded.program import Program
from deploy.embedded.stack import EmbeddedStack

# Of the stream's memory of what it has had, while a fault wants it to forget.
FORGETFUL_SECONDS = 0.1
JETSTREAM_DOMAIN = "events"
PROVIDER_BEHAVIOR = "/provider/behavior"
OPERATE_TRIES = 20
OPERATE_PAUSE_SECONDS = 1.0
# Of what a command printed that failed.
PROBLEM_MAX_CHARACTERS = 500
KINDS = ("unavailable", "throttled", "unauthorized", "conflict", "garbage", "lost_answers")
OUTAGES = (
    # The provider, and one account alone, of which some customers have their cards.
    *product(("provider", "provider-second"), (*KINDS, "forbidden", "inactive")),
    *(("sms", kind) for kind in (*KINDS, "falsely_delivered", "falsely_undelivered")),
    ("mail", "unavailable"),
)
# Below and beyond what a service waits for an answer: 10 s for the provider, 5 s for a message. A few
# requests each, since what waits in a history is real.
DELAYS = (
    *(("provider", "slow", 2), ("provider", "slow", 12), ("provider", "queued", 11)),
    *(("provider-second", "slow", 12), ("provider-second", "queued", 11)),
    *(("sms", "slow", 2), ("sms", "slow", 6), ("sms", "queued", 6)),
    *(("mail", "slow", 2), ("mail", "slow", 6)),
)
DELAYED_REQUESTS = 3
BEHAVIORS = (
    *(("search_lag_seconds", 5400), ("list_lag_seconds", 5400)),
    ("keys_forgotten_after_seconds", 86400),
    *(("refunds_pending_seconds", 21_600), ("refunds_fail_after_seconds", 108_000)),
    *(("webhooks_late_seconds", 7200), ("webhooks_repeated_after_seconds", 3600)),
    ("webhooks_created_late_seconds", 86400),
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
        # Outage -> how many requests have met it.
        self._met: Counter[str] = Counter()
        self.stack = EmbeddedStack(
            home,
            Addresses.free(),
            settings=SETTINGS,
            second_account=True,
            durables_deletable=True,
        )
        self._locks = {part: asyncio.Lock() for part in (*SERVICES, "nats", "postgres")}
        self._sandbox = Sandbox(self.stack.addresses.sandbox_url)
        self.crashes = Crashes(self.stack, self._locks)
        self._databases = databases = DatabaseFaults(
            self.stack, self._locks, self._publish_again, self._operate, self._sandbox.now
        )
        self._poison = PoisonedEvents(databases.ask)
        self.faults = {
            **self._all_faults(),
            **databases.faults(),
            **self.crashes.faults(),
            **self._poison.faults(),
        }

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
        await self._sandbox.close()
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

    async def redrive(self) -> None:
        """Discard poisoned events; handle again what services gave up that lost their last seconds."""
        # Not before all that was published has come to those who subscribe to it.
        await self._poison.discard()
        for service in self._databases.take_failed_over():
            await self._operate_until_done(service, "dead-letters", "--replay")

    @property
    def reached(self) -> Mapping[str, int]:
        """How often a process has come to a crash point, and a request to an outage."""
        return self.crashes.reached + self._met

    @property
    def discarded_events(self) -> Collection[str]:
        """The ids of poisoned events."""
        return self._poison.event_ids

    @property
    def keys(self) -> Keys:
        """The keys and passwords of the stack."""
        return Keys(self.stack.home / "keys")

    def _all_faults(self) -> dict[str, Fault]:
        faults: dict[str, Fault] = {}
        for part in (*SERVICES, "nats", "postgres"):
            faults[f"kill {part}"] = Fault(does(self._kill, part), self._heals(part))
        for service in SERVICES:
            faults[f"stop {service}"] = Fault(
                does(self._signal, service, "suspend"),
                partial(self._signal, service, "resume"),
            )
            faults[f"roll {service}"] = Fault(does(self._roll, service), self._heals(service))
            faults[f"migrate {service}"] = Fault(does(self._migrate, service), nothing)
            for days in (-2, 2):
                faults[f"clock of {service} steps {days:+} days"] = Fault(
                    does(self._step_clock, service, days),
                    partial(self._restart, service),
                    lasting=True,
                )
            faults[f"full stream of {service}"] = Fault(
                does(self._fill, service.upper()), partial(self._empty, service.upper())
            )
            faults[f"replay {service}"] = Fault(does(self._replay, service), nothing)
        faults["wipe the broker's store"] = Fault(does(self._wipe), self._heals("nats"))
        for stream, service in DURABLES:
            faults[f"delete durable {service} of {stream}"] = Fault(
                does(self._delete_durable, stream, service), nothing
            )
        for part, kind in OUTAGES:
            name = f"outage of {part}: {kind}"
            faults[name] = self._outage(name, part, {"kind": kind})
        for part, kind, seconds in DELAYS:
            name = f"outage of {part}: {kind} {seconds} s"
            trouble = {"kind": kind, "seconds": seconds, "times": DELAYED_REQUESTS}
            faults[name] = self._outage(name, part, trouble)
        for behavior, seconds in BEHAVIORS:
            faults[f"provider: {behavior}"] = Fault(
                does(self._sandbox.put, PROVIDER_BEHAVIOR, {behavior: seconds}),
                partial(self._sandbox.put, PROVIDER_BEHAVIOR, {behavior: None}),
                lasting=True,
            )
        return faults

    def _outage(self, name: str, part: str, trouble: Mapping[str, object]) -> Fault:
        return Fault(
            does(self._sandbox.put, f"/outages/{part}", {"on": True, **trouble}),
            partial(self._end_outage, name, part),
            lasting=True,
            waits=True,
        )

    async def _end_outage(self, name: str, part: str) -> None:
        shown = await self._sandbox.get("/outages")
        await self._sandbox.put(f"/outages/{part}", {"on": False})
        self._met[name] += shown[part]["met"]

    # --- processes --------------------------------------------------------------------------------

    def _heals(self, part: str) -> Callable[[], Awaitable[None]]:
        async def heal() -> None:
            async with self._locks[part]:
                await in_thread(self.stack.start, part)

        return heal

    async def _kill(self, part: str) -> bool:
        async with self._locks[part]:
            runs = self.stack.process_of(part).find() is not None
            await in_thread(self.stack.kill, part)
        return runs

    async def _roll(self, service: str) -> None:
        """Replace a process as a new version does: it drains, and the next one starts."""
        async with self._locks[service]:
            await in_thread(self.stack.restart, service)

    async def _step_clock(self, service: str, days: int) -> None:
        """Let the clock of a service's machine step: by more than tokens and leases are valid."""
        seconds = timedelta(days=days).total_seconds()
        await self._restart(service, {"RECURRING_CLOCK_STEP_SECONDS": f"{seconds:g}"})

    async def _restart(self, service: str, settings: Mapping[str, str] | None = None) -> None:
        async with self._locks[service]:
            await in_thread(self.stack.kill, service)
            await in_thread(self.stack.start, service, settings or {})

    async def _migrate(self, service: str) -> bool:
        """Migrate a database again; nothing is done while another fault has taken it away."""
        return not await self._operate(service, "migrate")

    async def _signal(self, service: str, what: str) -> bool:
        process = self.stack.process_of(service).find()
        if process is None:
            return False
        with suppress(psutil.NoSuchProcess):
            for target in (process, *process.children(recursive=True)):
                getattr(target, what)()
            return True
        return False

    # --- broker -----------------------------------------------------------------------------------

    async def _wipe(self) -> None:
        async with self._locks["nats"]:
            await in_thread(self.stack.kill, "nats")
            shutil.rmtree(self.stack.home / "nats" / "store", ignore_errors=True)
            await in_thread(self.stack.start, "nats")

    async def _with_streams(self, work: Callable[[Any], Awaitable[None]]) -> bool:
        """Do something to streams; returns whether it was done: another fault may be the broker's."""
        url = wiring.nats_url(wiring.STREAMS_USER, self.stack.addresses, self.keys)
        with suppress(NatsError, OSError, TimeoutError):
            client = await nats.connect(url, allow_reconnect=False)
            try:
                await work(client.jetstream(domain=JETSTREAM_DOMAIN))
            finally:
                await client.close()
            return True
        return False

    async def _delete_durable(self, stream: str, service: str) -> bool:
        async def delete(jetstream: Any) -> None:  # noqa: ANN401 - untyped in nats-py
            await jetstream.delete_consumer(stream, service)

        return await self._with_streams(delete)

    async def _fill(self, stream: str) -> bool:
        """Let a stream refuse what is published, as one whose disk is full."""

        async def fill(jetstream: Any) -> None:  # noqa: ANN401 - untyped in nats-py
            info = await jetstream.stream_info(stream)
            self._stream_sizes.setdefault(stream, info.config.max_bytes)
            info.config.max_bytes, info.config.discard = info.state.bytes + 1, DiscardPolicy.NEW
            await jetstream.update_stream(info.config)

        return await self._with_streams(fill)

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

    async def _is_forgetful(self, stream: str) -> bool:
        """Whether a stream takes again what it has had, and is there."""
        windows: list[float] = []

        async def read(jetstream: Any) -> None:  # noqa: ANN401 - untyped in nats-py
            windows.append((await jetstream.stream_info(stream)).config.duplicate_window)

        await self._with_streams(read)
        return windows == [FORGETFUL_SECONDS]

    async def _replay(self, service: str) -> None:
        """Publish again all that a service ever has."""
        await self._publish_again(service, datetime.now(UTC) - timedelta(days=1))

    async def _publish_again(self, service: str, since: datetime) -> None:
        """Publish again what a service has since, beyond what the stream knows for a duplicate.

        A service that finds the broker again meanwhile makes its stream as it was: it drops what comes
        then. Raises CommandError if that goes on.
        """
        stream = service.upper()
        for _ in range(OPERATE_TRIES):
            await self._forget(stream)
            problem = await self._operate(service, "replay", "--since", since.isoformat())
            await asyncio.sleep(OPERATE_PAUSE_SECONDS)
            if not problem and await self._is_forgetful(stream):
                return
        raise CommandError(f"{service} does not publish again what {stream} has had")

    async def _operate_until_done(self, service: str, *command: str) -> None:
        """Run an operator's command until it succeeds: another fault may have taken a server away.

        Raises CommandError if it never does.
        """
        problem = ""
        for _ in range(OPERATE_TRIES):
            problem = await self._operate(service, *command)
            if not problem:
                return
            await asyncio.sleep(OPERATE_PAUSE_SECONDS)
        raise CommandError(f"{service}: `{' '.join(command)}` does not succeed: {problem}")

    async def _operate(self, service: str, *command: str) -> str:
        """Run an operator's command of a service beside it; returns why it failed, or nothing."""
        process = self.stack.process_of(service)
        done = await asyncio.create_subprocess_exec(
            *process.command,
            *command,
            env=dict(process.environment),
            cwd=process.working_folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await done.communicate()
        if done.returncode == 0:
            return ""
        said = output.decode(errors="replace").strip()[-PROBLEM_MAX_CHARACTERS:]
        return said or f"exit status {done.returncode}"
