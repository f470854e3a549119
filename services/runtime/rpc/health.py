"""Health of a process: grpc.health.v1 on a separate address, in plain text.

It answers from the start, before there are settings, a database or a certificate. The service
"liveness" says that the process runs; the service "" says whether it should receive calls.
"""

import asyncio
import contextlib
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2
from opentelemetry.metrics import Observation

from services.runtime.observability import metrics
from services.runtime.rpc.server_patches import bounded_server

LIVENESS = "liveness"
SERVICE_NAME = health.SERVICE_NAME
CALLS_MAX = 100
# Each probe opens a connection for one request.
CONNECTIONS_MAX = 1000
CONNECTION_IDLE_SECONDS = 10
CONNECTION_MAX_AGE_SECONDS = 60
CONNECTION_MAX_AGE_GRACE_SECONDS = 10
# A request and its headers are a few words.
MESSAGE_MAX_BYTES = METADATA_MAX_BYTES = 4096
_OPTIONS = [
    ("grpc.max_connection_idle_ms", CONNECTION_IDLE_SECONDS * 1000),
    ("grpc.max_connection_age_ms", CONNECTION_MAX_AGE_SECONDS * 1000),
    ("grpc.max_connection_age_grace_ms", CONNECTION_MAX_AGE_GRACE_SECONDS * 1000),
    ("grpc.max_metadata_size", METADATA_MAX_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_MAX_BYTES),
]
# Callers are not authenticated, so the open requests of an address are limited, and so is the time
# until the message of a request has arrived.
REQUESTS_MAX = 1000
REQUEST_TIMEOUT_SECONDS = 5.0
PROBE_INTERVAL_SECONDS = 1.0

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """The state that probes get."""

    def __init__(self, address: str) -> None:
        self.ready = False
        self._draining = False
        self._address = address
        self._servicer = health.aio.HealthServicer()
        self._server = bounded_server(
            _OPTIONS, connections_max=CONNECTIONS_MAX, calls_max=CALLS_MAX
        )
        self._started = False
        self.add_to(self._server)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Answer on another server as well, where clients that balance over replicas ask."""
        requests = _BoundedRequests(self._servicer)
        read = health_pb2.HealthCheckRequest.FromString
        write = health_pb2.HealthCheckResponse.SerializeToString
        server.add_registered_method_handlers(
            SERVICE_NAME,
            {
                "Check": grpc.stream_unary_rpc_method_handler(requests.check, read, write),
                "Watch": grpc.stream_stream_rpc_method_handler(requests.watch, read, write),
            },
        )

    async def start(self) -> None:
        """Answer probes: alive and not ready. Raises RuntimeError if the address is taken."""
        if self._started:
            return
        await self._servicer.set(LIVENESS, _SERVING)
        await self.report(ready=False)
        self._server.add_insecure_port(self._address)
        await self._server.start()
        self._started = True

    async def report(self, *, ready: bool) -> None:
        """Set readiness; a process that drains stays not ready."""
        self.ready = ready and not self._draining
        await self._servicer.set("", _SERVING if self.ready else _NOT_SERVING)

    async def drain(self) -> None:
        """Be not ready for good."""
        self._draining = True
        await self.report(ready=False)

    def export(self) -> None:
        """Export readiness as a metric."""
        metrics.gauge(
            "recurring.ready", "", "Whether the process takes calls",
            lambda: [Observation(int(self.ready))],
        )  # fmt: skip

    async def stop(self) -> None:
        """Stop answering."""
        await self._server.stop(0)


class _BoundedRequests:
    """Limits the requests of a server; each is read as a stream, so that it must arrive in time."""

    def __init__(self, servicer: health.aio.HealthServicer) -> None:
        self._servicer = servicer
        self._open = 0

    async def check(self, _requests: object, context: Any) -> Any:  # noqa: ANN401
        """The present state."""
        return await self._answer(self._servicer.Check, context)

    async def watch(self, _requests: object, context: Any) -> None:  # noqa: ANN401
        """The present state, and each change of it."""
        await self._answer(self._servicer.Watch, context)

    async def _answer(self, method: Any, context: Any) -> Any:  # noqa: ANN401
        if self._open >= REQUESTS_MAX:
            # A client then goes on without health checks (gRFC A17).
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "too many requests are open")
        self._open += 1
        try:
            return await method(await _request(context), context)
        finally:
            self._open -= 1


async def _request(context: Any) -> Any:  # noqa: ANN401
    request = grpc.aio.EOF
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
            request = await context.read()
    if request is grpc.aio.EOF:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no message arrived")
    return request
