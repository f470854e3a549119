"""What every service gets from the runtime, and what it provides."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import grpc

from services.runtime.app.settings import Environment, RuntimeSettings
from services.runtime.auth.authenticator import Access
from services.runtime.auth.tls import Identity
from services.runtime.crypto.encryption import Keyring
from services.runtime.db import leases
from services.runtime.db.key_rotation import EncryptedTable
from services.runtime.db.leases import Lease
from services.runtime.db.pool import CHECK_CONNECTIONS, Database, connect
from services.runtime.messaging.events import Subscriptions
from services.runtime.observability import tracing
from services.runtime.observability.gauges import GaugeQuery
from services.runtime.rpc.channel import open_channel
from services.runtime.workers.clock import Clock, SandboxClock, SystemClock
from services.runtime.workers.loop import Step
from services.runtime.workers.retry import retry_until_success

S = TypeVar("S", bound=RuntimeSettings)


@dataclass(frozen=True)
class Components:
    """The parts that a service provides."""

    servicer: object
    register: Callable[[Any, Any], None]
    # Full name of the gRPC service.
    grpc_service: str
    # Method name -> who may call it.
    access: Mapping[str, Access]
    # Name of a worker -> its step.
    workers: Mapping[str, Callable[[], Awaitable[Step]]] = field(default_factory=dict)
    # The lease of the rows that the steps claim.
    lease: Lease = leases.SUITE
    # The gauges of its database.
    gauge_queries: Sequence[GaugeQuery] = ()
    # The tables with its personal data.
    encrypted: Sequence[EncryptedTable] = ()


@dataclass(frozen=True)
class Runtime(Generic[S]):
    """The parts that a service gets."""

    settings: S
    database: Database
    clock: Clock
    identity: Identity
    # Closed when the process ends, the newest first.
    resources: AsyncExitStack

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
        connect(
            settings.database_url,
            application=f"recurring-{service}",
            pool_size=size,
            keyring=keyring,
        )
        for size in (
            settings.database_call_connections,
            settings.database_worker_connections,
            CHECK_CONNECTIONS,
        )
    ]
    for pool in pools:
        tracing.trace_statements(pool.sync_engine)
    database = Database(*pools)
    resources.push_async_callback(database.close)
    clock: Clock = SystemClock()
    if settings.clock_url:
        clock = SandboxClock(settings.clock_url, service)
        await retry_until_success("sandbox clock", clock.read)

    async def identity() -> Identity:
        production = settings.environment is Environment.PRODUCTION
        return Identity(settings.tls_folder, production=production)

    return Runtime(
        settings, database, clock, await retry_until_success("certificate", identity), resources
    )
