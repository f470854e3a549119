"""How a channel to the services behaves: balanced, renewed soon, retried where a call may be repeated.

Every client of the suite has this policy: this package, the `recurring` command and, with health checks
beside it, the services' own channels. It is a gRPC service config
(https://github.com/grpc/grpc/blob/master/doc/service_config.md).
"""

import json
from collections.abc import Iterator
from typing import Any

from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

DEADLINE_SECONDS = 10.0
# With their pauses, some two seconds: enough to find the replicas that have taken the place of others.
ATTEMPTS_MAX = 5
MESSAGE_MAX_BYTES = 4 * 1024**2
KEEPALIVE_SECONDS = 30
RECONNECT_MIN_SECONDS, RECONNECT_MAX_SECONDS = 0.1, 1.0
# A name is asked for again this soon after a connection has gone; gRPC's own limit is 30 s.
RESOLUTION_INTERVAL_MIN_SECONDS = 1.0
# A server that stops answers CANCELLED to what arrives in its last moment. A call that its own caller
# cancels is never retried.
RETRYABLE_CODES = ("UNAVAILABLE", "CANCELLED")
RETRY_POLICY = {
    "maxAttempts": ATTEMPTS_MAX,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 3,
    "retryableStatusCodes": RETRYABLE_CODES,
}
_CONTRACTS = (catalog_pb2, scheduler_pb2, payments_pb2, notify_pb2)


def _retried() -> Iterator[dict[str, str]]:
    """Every method that sends one message: all ask, or are done once for each request id."""
    for contract in _CONTRACTS:
        for service in contract.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                if not method.client_streaming:
                    yield {"service": service.full_name, "method": method.name}


SERVICE_CONFIG: dict[str, Any] = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [{
        "name": list(_retried()),
        "timeout": f"{DEADLINE_SECONDS}s",
        "retryPolicy": RETRY_POLICY,
    }],
}  # fmt: skip

CHANNEL_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.enable_retries", 1),
    ("grpc.max_receive_message_length", MESSAGE_MAX_BYTES),
    ("grpc.max_send_message_length", MESSAGE_MAX_BYTES),
    ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
    ("grpc.min_reconnect_backoff_ms", int(RECONNECT_MIN_SECONDS * 1000)),
    ("grpc.max_reconnect_backoff_ms", int(RECONNECT_MAX_SECONDS * 1000)),
    ("grpc.dns_min_time_between_resolutions_ms", int(RESOLUTION_INTERVAL_MIN_SECONDS * 1000)),
)
