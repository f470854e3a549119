"""The gRPC server: admission, access, field rules, deadlines, errors, health, reflection, draining."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection

from services.runtime.auth.authenticator import Authenticator
from services.runtime.auth.call_context import FOR_CALL_HEADER, Caller
from services.runtime.auth.tls import Identity
from services.runtime.rpc.admission import (
    _IDENTITY_PROPERTY,
    CONCURRENT_REFUSALS_MAX,
    STREAM_DEADLINE_MAX_SECONDS,
    Admission,
    Headers,
)
from services.runtime.rpc.health import PROBE_INTERVAL_SECONDS, SERVICE_NAME, Health
from services.runtime.rpc.limits import (
    MESSAGE_MAX_BYTES,
    Limits,
    RateLimit,
)
from services.runtime.rpc.server_patches import listener

log = logging.getLogger(__name__)

# What a platform sends, whose largest request has some 100 KiB. A list of nothing takes two bytes an
# entry on the wire, and in memory some thirty times as much.
PLATFORM_MESSAGE_MAX_BYTES = 256 * 1024
METADATA_MAX_BYTES = 16 * 1024
# Of one address: connections, and calls of one connection and of all.
CONNECTIONS_MAX = 4000
CONCURRENT_STREAMS_MAX = 200
CONNECTION_MAX_AGE_SECONDS = 300
# Whoever asks nothing for so long makes room; a client connects again by itself.
CONNECTION_IDLE_SECONDS = 60
# An old connection goes with its last call, which is never cut short for it.
CONNECTION_MAX_AGE_GRACE_SECONDS = int(STREAM_DEADLINE_MAX_SECONDS)
# A client that pings an idle connection more often is sent away.
PING_INTERVAL_MIN_SECONDS = 10
# For what has come already when a server stops.
LAST_CALLS_SECONDS = 0.2

_OPTIONS = [
    ("grpc.max_send_message_length", MESSAGE_MAX_BYTES),
    ("grpc.max_metadata_size", METADATA_MAX_BYTES),
    ("grpc.max_concurrent_streams", CONCURRENT_STREAMS_MAX),
    # Clients come back through their name, and so find replicas that are new.
    ("grpc.max_connection_age_ms", CONNECTION_MAX_AGE_SECONDS * 1000),
    ("grpc.max_connection_idle_ms", CONNECTION_IDLE_SECONDS * 1000),
    ("grpc.max_connection_age_grace_ms", CONNECTION_MAX_AGE_GRACE_SECONDS * 1000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_INTERVAL_MIN_SECONDS * 1000),
    # A stream's window stays at 64 KiB: it would grow to 16 MiB, which come before they are asked for.
    ("grpc.http2.bdp_probe", 0),
]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a service listens."""

    platforms: str
    peers: str
    # Platforms call without TLS; for development only.
    plaintext: bool = False
    # Platforms call through a proxy, which says whom it passes on.
    behind_proxy: bool = False


class Server:
    """A service's two servers: for platforms and for the other services.

    Platforms prove who they are by a token and services by a certificate. Each server knows only its
    own way and has limits of its own, so that none is shut because too many stand before another.
    """

    def __init__(
        self,
        service: str,
        gate: Authenticator,
        addresses: Addresses,
        identity: Identity,
        health: Health,
        rate_limit: RateLimit,
    ) -> None:
        def by_token(method: str, _context: object, headers: Headers) -> Awaitable[Caller]:
            return gate.admit_platform(method, headers.get("authorization", ""))

        async def by_certificate(method: str, context: Any, headers: Headers) -> Caller:  # noqa: ANN401
            return gate.admit_service(
                method,
                context.auth_context().get(_IDENTITY_PROPERTY, ()),
                for_call=FOR_CALL_HEADER in headers,
            )

        self._platforms = _server(PLATFORM_MESSAGE_MAX_BYTES)
        self._peers = _server(MESSAGE_MAX_BYTES)
        self._admissions = (
            Admission(
                self._platforms,
                service,
                by_token,
                Limits(rate_limit),
                behind_proxy=addresses.behind_proxy,
            ),
            # The suite's own services keep to batches, and have a server to themselves.
            Admission(self._peers, service, by_certificate),
        )
        self._health = health
        shown = None if addresses.plaintext else identity.server_credentials(peers=False)
        self._ports: tuple[tuple[grpc.aio.Server, str, grpc.ServerCredentials | None], ...] = (
            (self._platforms, addresses.platforms, shown),
            (self._peers, addresses.peers, identity.server_credentials(peers=True)),
        )
        # Health and reflection need no token, since they tell nothing about anybody.
        for server, _, _ in self._ports:
            health.add_to(server)

    def add(self, register: Callable[[Any, Any], None], servicer: object) -> None:
        """Serve a servicer by its generated `add_…_to_server`."""
        for admission in self._admissions:
            register(servicer, admission)

    def reflect(self, service_names: Sequence[str]) -> None:
        """Tell platforms the contract (for `buf curl` and the like)."""
        names = (*service_names, SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._platforms)

    async def start(self) -> None:
        """Listen; not ready yet. Raises RuntimeError if an address is taken."""
        await self._health.start()
        for server, address, credentials in self._ports:
            if credentials is None:
                server.add_insecure_port(address)
            else:
                server.add_secure_port(address, credentials)
            await server.start()

    async def ready(self, *, serving: bool) -> None:
        """Answer calls, and say so; or neither."""
        for admission in self._admissions:
            admission.open = serving
        await self._health.report(ready=serving)

    async def wait_for_termination(self) -> None:
        """Return once the servers have stopped; raises the error that stopped one for good."""
        for server, _, _ in self._ports:
            # With a timeout: only then does gRPC shield its own future from this task's cancellation.
            while await server.wait_for_termination(PROBE_INTERVAL_SECONDS):
                pass

    async def stop(self, drain_seconds: float) -> None:
        """Take no new calls and let those under way end."""
        await self.ready(serving=False)
        # gRPC cancels what it has not handed over when it stops. Until then, who calls is told to try
        # again.
        await asyncio.sleep(min(LAST_CALLS_SECONDS, drain_seconds))
        await asyncio.gather(self._platforms.stop(drain_seconds), self._peers.stop(drain_seconds))
        await self._health.stop()


def _server(receive_max_bytes: int) -> grpc.aio.Server:
    options = [*_OPTIONS, ("grpc.max_receive_message_length", receive_max_bytes)]
    return listener(options, connections_max=CONNECTIONS_MAX, calls_max=CONCURRENT_REFUSALS_MAX)
