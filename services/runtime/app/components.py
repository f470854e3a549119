"""What every service gets from the runtime, and what it provides."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import grpc

from services.runtime.app.settings import Environment, RuntimeSettings
from services.runtime.auth.authenticator import Access
from services.runtime.auth.tls import Identity
from services.runtime.crypto.encryption import Keyring
from services.runtime.db import database_time, leases
from services.runtime.db.due_work import DueWork
from services.runtime.db.key_rotation import EncryptedTable
from services.runtime.db.leases import Lease
from services.runtime.db.pool import CHECK_CONNECTIONS, Database, Pool
from services.runtime.messaging.events import Subscriptions
from services.runtime.observability.gauges import GaugeQuery
from services.runtime.rpc.channel import open_channel
from services.runtime.workers.clock import Clock, DatabaseClock, Machine, SandboxClock
from services.runtime.workers.retry import retry_until_success

# A service without an address for requests by HTTP does without the library that reads them.
if TYPE_CHECKING:
    from services.runtime.http_server import HttpServer

S = TypeVar("S", bound=RuntimeSettings)

# After the start of a process whose machine's clock is to step: it has seen the right time before.
CLOCK_STEP_DELAY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """A server for requests by HTTP, and where it listens."""

    address: str
    server: "HttpServer"


@dataclass(frozen=True, slots=True)
class PeriodicWork:
    """What each replica does at an interval; done by several at once, it is done once."""

    name: str
    work: Callable[[], Awaitable[object]]
    poll_seconds: float
    deadline_seconds: float


@dataclass(frozen=True)
class Components:
    """The parts that a service provides."""

    servicer: object
    register: Callable[[Any, Any], None]
    # Full name of the gRPC service.
    grpc_service: str
    # Method name -> who may call it.
    access: Mapping[str, Access]
    due_work: Sequence[DueWork] = ()
    # How long a replica leases the buckets of its due work, unless the settings say otherwise.
    lease: Lease = leases.SUITE
    periodic_work: Sequence[PeriodicWork] = ()
    # The gauges of its database.
    gauge_queries: Sequence[GaugeQuery] = ()
    # The tables with its personal data.
    encrypted: Sequence[EncryptedTable] = ()
    # What it calls other services with, for its commands.
    clients: object = None
    # Served while the process does, with its certificate.
    http: HttpAddress | None = None


@dataclass(frozen=True)
class Runtime(Generic[S]):
    """The parts that a service gets."""

    settings: S
    database: Database
    clock: Clock
    # As `clock`, but never simulated: what tokens are valid by.
    real_clock: DatabaseClock
    identity: Identity
    # Closed when the process ends, the newest first.
    resources: AsyncExitStack

    def lease(self, usual: Lease) -> Lease:
        """How long buckets are leased, where the work of the service needs as long as `usual`."""
        seconds = self.settings.lease_seconds
        return usual if seconds is None else Lease(seconds)

    async def read_clock(self) -> None:
        """Set the clock by the database's. Raises if the database is away."""
        await self.real_clock.read(partial(database_time.now, self.database))

    def channel(self, target: str) -> grpc.aio.Channel:
        """A channel to another service."""
        channel = open_channel(target, self.identity)
        self.resources.push_async_callback(channel.close)
        return channel


Assemble = Callable[[Runtime[S]], Awaitable[Components]]
# The handlers of other services' events; `migrate` creates consumers for their types.
Subscribe = Callable[[Clock], Subscriptions]


async def open_runtime(service: str, settings: S, resources: AsyncExitStack) -> Runtime[S]:
    """Open the pools, the clock and the certificate. The database is not used yet."""
    keyring = Keyring.parse(settings.data_keys.get_secret_value())
    pools = [
        Pool(
            settings.database_url,
            application=f"recurring-{service}",
            size=size,
            keyring=keyring,
        )
        for size in (
            settings.database_call_connections,
            settings.database_worker_connections,
            CHECK_CONNECTIONS,
        )
    ]
    database = Database(*pools)
    resources.push_async_callback(database.close)
    machine = Machine()
    real_clock = DatabaseClock(machine)
    clock: Clock = real_clock
    if settings.clock_step_seconds:
        step = partial(machine.step, settings.clock_step_seconds)
        asyncio.get_running_loop().call_later(CLOCK_STEP_DELAY_SECONDS, step)
    if settings.clock_url:
        clock = SandboxClock(settings.clock_url, service)
        await retry_until_success("sandbox clock", clock.read)

    async def identity() -> Identity:
        production = settings.environment is Environment.PRODUCTION
        return Identity(settings.tls_folder, production=production)

    return Runtime(
        settings,
        database,
        clock,
        real_clock,
        await retry_until_success("certificate", identity),
        resources,
    )
