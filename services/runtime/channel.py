"""Channels to other services: balanced, bounded in time, retried where a call did not arrive."""

import json

import grpc
from opentelemetry.instrumentation.grpc import aio_client_interceptors

from services.runtime.identity import Identity, PeerChannel
from services.runtime.server import MESSAGE_MAX_BYTES

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


def open_channel(target: str, identity: Identity) -> PeerChannel:
    """A channel to a service by its gRPC target, for example dns:///catalog:7402."""

    def connect() -> grpc.aio.Channel:
        return grpc.aio.secure_channel(
            target,
            identity.channel_credentials(),
            options=_OPTIONS,
            interceptors=aio_client_interceptors(),
        )

    return PeerChannel(identity, connect, DEADLINE_SECONDS)
