"""How a process is, for whoever probes it: grpc.health.v1 on an address of its own, in plain text.

It answers from the first moment on, before there are settings, a database or a certificate. The service
"liveness" says that the process runs; the service "" whether it is to be sent calls.
"""

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from opentelemetry.metrics import Observation

from services.runtime import metrics

LIVENESS = "liveness"
SERVICE_NAME = health.SERVICE_NAME
_CALLS_MAX = 100

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """What probes are told."""

    def __init__(self, address: str) -> None:
        self.ready = False
        self._leaving = False
        self._address = address
        self._servicer = health.aio.HealthServicer()
        self._server = grpc.aio.server(maximum_concurrent_rpcs=_CALLS_MAX)
        self._started = False
        self.add_to(self._server)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Tell the same at another door: clients that balance over replicas ask there."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

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

    def show(self) -> None:
        """Tell it as a metric, too."""
        metrics.gauge(
            "recurring.ready", "", "Whether the process takes calls",
            lambda: [Observation(int(self.ready))],
        )  # fmt: skip

    async def stop(self) -> None:
        """Answer no more."""
        await self._server.stop(0)
