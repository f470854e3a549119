"""What a process is wired from: what every service is given, and what it is made of."""

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
    """What a service is made of, beyond what every process has."""

    servicer: object
    register: Callable[[Any, Any], None]
    # Full name of the gRPC service.
    grpc_service: str
    # Method name -> who may call it.
    access: Mapping[str, Access]
    # Name of a worker -> its step.
    workers: Mapping[str, Callable[[], Awaitable[Step]]] = field(default_factory=dict)
    # What the steps claim is theirs under this lease.
    lease: Lease = leases.SUITE
    # What operators watch of its database.
    gauge_queries: Sequence[GaugeQuery] = ()
    # Where its personal data are.
    encrypted: Sequence[EncryptedTable] = ()


@dataclass(frozen=True)
class Runtime(Generic[S]):
    """What a service is given to be wired with."""

    settings: S
    database: Database
    clock: Clock
    identity: Identity
    # Whatever is entered here is closed when the process ends.
    resources: AsyncExitStack

    def channel(self, target: str) -> grpc.aio.Channel:
        """A channel to another service."""
        channel = open_channel(target, self.identity)
        self.resources.push_async_callback(channel.close)
        return channel


Assemble = Callable[[Runtime[S]], Awaitable[Components]]
# What a service does with others' events; migrations ask, too, for which those are.
Subscribe = Callable[[Clock], Subscriptions]


async def open_runtime(service: str, settings: S, resources: AsyncExitStack) -> Runtime[S]:
    """What a service is wired with; nothing has been asked of the database yet."""
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
