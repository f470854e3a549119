"""Channels to other services: balanced, bounded in time, retried where a call did not arrive."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import grpc

from services.runtime.auth import call_context
from services.runtime.auth.tls import Identity, PeerChannel
from services.runtime.observability import tracing
from services.runtime.rpc.limits import MESSAGE_MAX_BYTES

DEADLINE_SECONDS = 10.0
# With their pauses, some two seconds: enough to find the replicas that have taken the place of others.
ATTEMPTS_MAX = 5
KEEPALIVE_SECONDS = 30

# Every call between services is a question or is keyed by what it is about, so all may be retried.
_SERVICE_CONFIG = json.dumps({
    "loadBalancingConfig": [{"round_robin": {}}],
    # A replica that says it is not ready is not asked.
    "healthCheckConfig": {"serviceName": ""},
    "methodConfig": [{
        "name": [{}],
        "timeout": f"{DEADLINE_SECONDS}s",
        "retryPolicy": {
            "maxAttempts": ATTEMPTS_MAX,
            "initialBackoff": "0.1s",
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
    # And where replicas have come and gone, their new addresses are asked for as soon.
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
]


class Traced(grpc.aio.UnaryUnaryClientInterceptor):
    """Tells whoever is called the trace that the call is in, and whether it is to answer another."""

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,  # noqa: ANN401 - any message
    ) -> Any:  # noqa: ANN401 - a call
        """Make the call below a span of its own, which lasts until it is answered."""
        with tracing.asking(client_call_details.method) as span:
            parent = tracing.traceparent(span.get_span_context())
            headers = {tracing.TRACEPARENT_HEADER: parent} if parent else {}
            if not call_context.is_due_work():
                headers[call_context.FOR_CALL_HEADER] = "1"
            call = await continuation(_with(headers, client_call_details), request)
            if span.is_recording():
                tracing.answered(span, (await call.code()).name)
            return call


def _with(
    headers: Mapping[str, str], details: grpc.aio.ClientCallDetails
) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    for name, value in headers.items():
        metadata.add(name, value)
    return grpc.aio.ClientCallDetails(
        details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
    )


def open_channel(target: str, identity: Identity) -> PeerChannel:
    """A channel to a service by its gRPC target, for example dns:///catalog:7402."""

    def connect() -> grpc.aio.Channel:
        return grpc.aio.secure_channel(
            target,
            identity.channel_credentials(),
            options=_OPTIONS,
            interceptors=[Traced()],
        )

    return PeerChannel(identity, connect, DEADLINE_SECONDS)
