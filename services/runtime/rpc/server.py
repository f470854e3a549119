"""The gRPC server of a service: two addresses, health, reflection, draining."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection

from services.runtime.auth.authenticator import Authenticator
from services.runtime.auth.call_context import ANY_TENANT, FOR_CALL_HEADER, TENANT_HEADER, Caller
from services.runtime.auth.tls import Identity
from services.runtime.rpc.admission import (
    CONCURRENT_REFUSALS_MAX,
    STREAM_DEADLINE_MAX_SECONDS,
    Admission,
    Headers,
)
from services.runtime.rpc.health import PROBE_INTERVAL_SECONDS, SERVICE_NAME, Health
from services.runtime.rpc.limits import MESSAGE_MAX_BYTES, Limits, RateLimit
from services.runtime.rpc.server_patches import bounded_server

log = logging.getLogger(__name__)

# The largest request of a platform has some 100 KiB. A list of empty entries takes two bytes an entry
# on the wire, and some thirty times as much in memory.
PLATFORM_MESSAGE_MAX_BYTES = 256 * 1024
METADATA_MAX_BYTES = 16 * 1024
# Of one address: connections, and calls of one connection.
CONNECTIONS_MAX = 4000
CONCURRENT_STREAMS_MAX = 200
CONNECTION_MAX_AGE_SECONDS = 300
# An idle connection is closed; a client connects again by itself.
CONNECTION_IDLE_SECONDS = 60
# An old connection closes after its last call, which is never cut short.
CONNECTION_MAX_AGE_GRACE_SECONDS = int(STREAM_DEADLINE_MAX_SECONDS)
# A client that pings an idle connection more often is disconnected.
PING_INTERVAL_MIN_SECONDS = 10
# gRPC's property with the SPIFFE ID of a connection's certificate.
_IDENTITY_PROPERTY = "peer_spiffe_id"
# Calls that have arrived when a server stops have so long to be read.
LAST_CALLS_SECONDS = 0.2

_OPTIONS = [
    ("grpc.max_send_message_length", MESSAGE_MAX_BYTES),
    ("grpc.max_metadata_size", METADATA_MAX_BYTES),
    ("grpc.max_concurrent_streams", CONCURRENT_STREAMS_MAX),
    # Clients that reconnect resolve the name again, and so find new replicas.
    ("grpc.max_connection_age_ms", CONNECTION_MAX_AGE_SECONDS * 1000),
    ("grpc.max_connection_idle_ms", CONNECTION_IDLE_SECONDS * 1000),
    ("grpc.max_connection_age_grace_ms", CONNECTION_MAX_AGE_GRACE_SECONDS * 1000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_INTERVAL_MIN_SECONDS * 1000),
    # A stream's window stays at 64 KiB. Otherwise it grows to 16 MiB, which a client may send
    # unrequested.
    ("grpc.http2.bdp_probe", 0),
]


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of a service."""

    platforms: str
    peers: str
    # Platforms call without TLS; for development only.
    plaintext: bool = False
    # Platforms call through a proxy, which adds their address to x-forwarded-for.
    behind_proxy: bool = False


class Server:
    """A service's two servers: one for platforms, one for the other services.

    Platforms authenticate by token and services by certificate. Each server has its own limits, so that
    a flood of one does not close the other.
    """

    def __init__(
        self,
        service: str,
        authenticator: Authenticator,
        addresses: Addresses,
        identity: Identity,
        health: Health,
        rate_limit: RateLimit,
    ) -> None:
        def by_token(method: str, _context: object, headers: Headers) -> Awaitable[Caller]:
            return authenticator.admit_platform(method, headers.get("authorization", ""))

        async def by_certificate(method: str, context: Any, headers: Headers) -> Caller:  # noqa: ANN401
            return authenticator.admit_service(
                method,
                context.auth_context().get(_IDENTITY_PROPERTY, ()),
                tenant=headers.get(TENANT_HEADER, ANY_TENANT),
                for_call=FOR_CALL_HEADER in headers,
            )

        self._platforms = _server(PLATFORM_MESSAGE_MAX_BYTES)
        self._peers = _server(MESSAGE_MAX_BYTES)
        self._admissions = (
            Admission(
                self._platforms,
                service,
                by_token,
                authenticator.check_request,
                Limits(rate_limit),
                behind_proxy=addresses.behind_proxy,
            ),
            # Services call in batches, and are not limited one by one.
            Admission(self._peers, service, by_certificate, authenticator.check_request),
        )
        self._health = health
        credentials = None if addresses.plaintext else identity.server_credentials(peers=False)
        self._ports: tuple[tuple[grpc.aio.Server, str, grpc.ServerCredentials | None], ...] = (
            (self._platforms, addresses.platforms, credentials),
            (self._peers, addresses.peers, identity.server_credentials(peers=True)),
        )
        # Health and reflection need no token, since they show nothing of any merchant.
        for server, _, _ in self._ports:
            health.add_to(server)

    def add(self, register: Callable[[Any, Any], None], servicer: object) -> None:
        """Serve a servicer, by its generated `add_…_to_server`."""
        for admission in self._admissions:
            register(servicer, admission)

    def reflect(self, service_names: Sequence[str]) -> None:
        """Serve the contracts to platforms by reflection (for `buf curl` and the like)."""
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
        """Answer calls and report readiness, or do neither."""
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
        """Refuse new calls, and let running calls end."""
        await self.ready(serving=False)
        # gRPC cancels calls that it has received and not handed over when it stops. Until then they are
        # refused with UNAVAILABLE, so that clients retry.
        await asyncio.sleep(min(LAST_CALLS_SECONDS, drain_seconds))
        await asyncio.gather(self._platforms.stop(drain_seconds), self._peers.stop(drain_seconds))
        await self._health.stop()


def _server(receive_max_bytes: int) -> grpc.aio.Server:
    options = [*_OPTIONS, ("grpc.max_receive_message_length", receive_max_bytes)]
    return bounded_server(
        options, connections_max=CONNECTIONS_MAX, calls_max=CONCURRENT_REFUSALS_MAX
    )
