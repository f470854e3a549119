"""How a process is, for whoever probes it: grpc.health.v1 on an address of its own, in plain text.

It answers from the first moment on, before there are settings, a database or a certificate. The service
"liveness" says that the process runs; the service "" whether it is to be sent calls.
"""

import asyncio
import contextlib
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2
from opentelemetry.metrics import Observation

from services.runtime.observability import metrics
from services.runtime.rpc.server_patches import listener

LIVENESS = "liveness"
SERVICE_NAME = health.SERVICE_NAME
CALLS_MAX = 100
# A probe asks by a connection of its own and goes; nobody else has business there.
CONNECTIONS_MAX = 1000
CONNECTION_IDLE_SECONDS = 10
CONNECTION_MAX_AGE_SECONDS = 60
CONNECTION_MAX_AGE_GRACE_SECONDS = 10
# A question and its headers are a few words.
MESSAGE_MAX_BYTES = METADATA_MAX_BYTES = 4096
_OPTIONS = [
    ("grpc.max_connection_idle_ms", CONNECTION_IDLE_SECONDS * 1000),
    ("grpc.max_connection_age_ms", CONNECTION_MAX_AGE_SECONDS * 1000),
    ("grpc.max_connection_age_grace_ms", CONNECTION_MAX_AGE_GRACE_SECONDS * 1000),
    ("grpc.max_metadata_size", METADATA_MAX_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_MAX_BYTES),
]
# Nobody proves who they are before they ask: so many questions are open at once at one address, and one
# that is not put in time is closed.
QUESTIONS_MAX = 1000
QUESTION_SECONDS = 5.0

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """What probes are told."""

    def __init__(self, address: str) -> None:
        self.ready = False
        self._leaving = False
        self._address = address
        self._servicer = health.aio.HealthServicer()
        self._server = listener(_OPTIONS, connections_max=CONNECTIONS_MAX, calls_max=CALLS_MAX)
        self._started = False
        self.add_to(self._server)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Answer the same at another address: clients that balance over replicas ask there."""
        questions = _Questions(self._servicer)
        read = health_pb2.HealthCheckRequest.FromString
        write = health_pb2.HealthCheckResponse.SerializeToString
        server.add_registered_method_handlers(
            SERVICE_NAME,
            {
                "Check": grpc.stream_unary_rpc_method_handler(questions.check, read, write),
                "Watch": grpc.stream_stream_rpc_method_handler(questions.watch, read, write),
            },
        )

    async def start(self) -> None:
        """Answer probes: alive, and not ready yet. Raises RuntimeError if the address is taken."""
        if self._started:
            return
        await self._servicer.set(LIVENESS, _SERVING)
        await self.report(ready=False)
        self._server.add_insecure_port(self._address)
        await self._server.start()
        self._started = True

    async def report(self, *, ready: bool) -> None:
        """Tell whether the process is to be sent calls; one that leaves is not, whatever is said."""
        self.ready = ready and not self._leaving
        await self._servicer.set("", _SERVING if self.ready else _NOT_SERVING)

    async def leave(self) -> None:
        """Send callers away for good."""
        self._leaving = True
        await self.report(ready=False)

    def export(self) -> None:
        """Export readiness as a metric."""
        metrics.gauge(
            "recurring.ready", "", "Whether the process takes calls",
            lambda: [Observation(int(self.ready))],
        )  # fmt: skip

    async def stop(self) -> None:
        """Answer no more."""
        await self._server.stop(0)


class _Questions:
    """Questions at one address. Even one question comes as a stream, so as not to be waited for."""

    def __init__(self, servicer: health.aio.HealthServicer) -> None:
        self._servicer = servicer
        self._open = 0

    async def check(self, _requests: object, context: Any) -> Any:  # noqa: ANN401
        """How the process is."""
        return await self._answer(self._servicer.Check, context)

    async def watch(self, _requests: object, context: Any) -> None:  # noqa: ANN401
        """How it is, and how it is from now on."""
        await self._answer(self._servicer.Watch, context)

    async def _answer(self, method: Any, context: Any) -> Any:  # noqa: ANN401
        if self._open >= QUESTIONS_MAX:
            # A client goes on without health checks then (gRFC A17).
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "too many ask already")
        self._open += 1
        try:
            return await method(await _asked(context), context)
        finally:
            self._open -= 1


async def _asked(context: Any) -> Any:  # noqa: ANN401
    question = grpc.aio.EOF
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(QUESTION_SECONDS):
            question = await context.read()
    if question is grpc.aio.EOF:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no question came")
    return question


PROBE_INTERVAL_SECONDS = 1.0
