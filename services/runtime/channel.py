"""Channels to other services: balanced, bounded in time, retried where a call did not arrive."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.instrumentation.grpc import aio_client_interceptors

from services.runtime.server import MESSAGE_MAX_BYTES

DEADLINE_SECONDS = 10.0
ATTEMPTS_MAX = 4
KEEPALIVE_SECONDS = 30

# Every call between services is a question or is keyed by what it is about, so all may be retried.
_SERVICE_CONFIG = json.dumps({
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [{
        "name": [{}],
        "timeout": f"{DEADLINE_SECONDS}s",
        "retryPolicy": {
            "maxAttempts": ATTEMPTS_MAX,
            "initialBackoff": "0.05s",
            "maxBackoff": "1s",
            "backoffMultiplier": 3,
            # A server that stops answers CANCELLED to what arrives in its last moment.
            "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
        },
    }],
})  # fmt: skip

_OPTIONS = [
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.enable_retries", 1),
    ("grpc.max_receive_message_length", MESSAGE_MAX_BYTES),
    ("grpc.max_send_message_length", MESSAGE_MAX_BYTES),
    ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
    # A restarted peer is found again within a second.
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


class _Token(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc, unused-ignore]
    """Adds the service's own token; the file is read each time it changes, so it can be rotated."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read_at_ns = 0
        self._token = ""

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,  # noqa: ANN401 - any message
    ) -> Any:  # noqa: ANN401
        """Add the header."""
        changed_ns = self._file.stat().st_mtime_ns
        if changed_ns != self._read_at_ns:
            self._token = self._file.read_text().strip()
            self._read_at_ns = changed_ns
        if client_call_details.metadata is None:
            client_call_details.metadata = grpc.aio.Metadata()
        client_call_details.metadata.add("authorization", f"Bearer {self._token}")
        return await continuation(client_call_details, request)


def open_channel(target: str, token_file: Path) -> grpc.aio.Channel:
    """A channel to a service by its gRPC target, for example dns:///catalog:7401."""
    return grpc.aio.insecure_channel(
        target, options=_OPTIONS, interceptors=[*aio_client_interceptors(), _Token(token_file)]
    )
