"""Channels to other services: balanced, with deadlines, and retried if a call did not arrive."""

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Self

import grpc

from services.runtime.auth import call_context
from services.runtime.auth.tls import Identity
from services.runtime.observability import tracing
from services.runtime.rpc.limits import MESSAGE_MAX_BYTES

DEADLINE_SECONDS = 10.0
# Some two seconds with their pauses: enough for a client to find new replicas.
ATTEMPTS_MAX = 5
KEEPALIVE_SECONDS = 30

# Every call between services reads, or is idempotent by its key, so all may be retried.
_SERVICE_CONFIG = json.dumps({
    "loadBalancingConfig": [{"round_robin": {}}],
    # Replicas that are not ready get no calls.
    "healthCheckConfig": {"serviceName": ""},
    "methodConfig": [{
        "name": [{}],
        "timeout": f"{DEADLINE_SECONDS}s",
        "retryPolicy": {
            "maxAttempts": ATTEMPTS_MAX,
            "initialBackoff": "0.1s",
            "maxBackoff": "1s",
            "backoffMultiplier": 3,
            # A stopping server answers CANCELLED to calls that arrive at the last moment.
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
    # New addresses of replicas are resolved as soon.
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
]


class _CallHeaders(grpc.aio.UnaryUnaryClientInterceptor):
    """Sends the trace of a call, and whether it is made to answer another call."""

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,  # noqa: ANN401 - any message
    ) -> Any:  # noqa: ANN401 - a call
        """Make the call in a span of its own, which lasts until the answer."""
        with tracing.client_span(client_call_details.method) as span:
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


def _rebound(kind: str) -> Any:  # noqa: ANN401 - a method of a channel, of any signature
    """A method of a channel whose stub calls the channel that is current at each call."""

    def method(channel: "PeerChannel", *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        @lru_cache(maxsize=1)
        def bind(current: grpc.aio.Channel) -> Any:  # noqa: ANN401
            return getattr(current, kind)(*args, **kwargs)

        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            return bind(channel.current())(*args, **kwargs)

        return call

    return method


class PeerChannel(grpc.aio.Channel):
    """A channel that reconnects when the certificate changes; running calls end on the old one."""

    def __init__(
        self, identity: Identity, open_channel: Callable[[], grpc.aio.Channel], grace_seconds: float
    ) -> None:
        self._identity = identity
        self._open = open_channel
        self._grace_seconds = grace_seconds
        self._channel = open_channel()
        self._version = identity.version
        self._closing: set[asyncio.Task[None]] = set()

    unary_unary = _rebound("unary_unary")
    unary_stream = _rebound("unary_stream")
    stream_unary = _rebound("stream_unary")
    stream_stream = _rebound("stream_stream")

    def current(self) -> grpc.aio.Channel:
        """The channel for a call that begins now."""
        self._identity.current()
        if self._version != self._identity.version:
            self._version = self._identity.version
            old, self._channel = self._channel, self._open()
            closing = asyncio.create_task(old.close(self._grace_seconds))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        return self._channel

    async def close(self, grace: float | None = None) -> None:
        """Close the channel, and wait for the old ones."""
        await self._channel.close(grace)
        await asyncio.gather(*self._closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002
        """The state of the current channel."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the current channel has another state."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the current channel is connected."""
        await self._channel.channel_ready()


def open_channel(target: str, identity: Identity) -> PeerChannel:
    """A channel to a service by its gRPC target, for example dns:///catalog:7402."""

    def connect() -> grpc.aio.Channel:
        return grpc.aio.secure_channel(
            target,
            identity.channel_credentials(),
            options=_OPTIONS,
            interceptors=[_CallHeaders()],
        )

    return PeerChannel(identity, connect, DEADLINE_SECONDS)
