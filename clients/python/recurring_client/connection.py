"""Channels to the four services: balanced, with deadlines, retries and a token that renews itself."""

import re
import uuid
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import grpc
from recurring.catalog.v1 import catalog_pb2_grpc
from recurring.notify.v1 import notify_pb2_grpc
from recurring.payments.v1 import payments_pb2_grpc
from recurring.scheduler.v1 import scheduler_pb2_grpc

from recurring_client.channel_policy import CHANNEL_OPTIONS
from recurring_client.tokens import Token, TokenSource

# Targets to which nothing leaves this machine.
_HERE = re.compile(
    r"unix:.+|(dns:(///)?|ipv4:|ipv6:)?(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?"
)


class Recurring:
    """The four services by their gRPC targets, for example `{"catalog": "dns:///catalog:7401", …}`.

    Without `credentials` the connection is not encrypted, as on the stack of one machine. Whoever reads
    a token on its way can use it, so ValueError is raised for a target that is elsewhere.
    """

    def __init__(
        self,
        targets: Mapping[str, str],
        *,
        token: TokenSource,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        for service, target in targets.items():
            if credentials is None and not _HERE.fullmatch(target):
                raise ValueError(
                    f"{service} is not on this machine ({target}): give credentials, "
                    "for example grpc.ssl_channel_credentials(), so that nobody reads the token"
                )
        self._targets = targets
        self._token = Token(token)
        self._credentials = credentials
        self._closing = AsyncExitStack()
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._closing.aclose()

    @property
    def catalog(self) -> catalog_pb2_grpc.CatalogServiceStub:
        """Products, prices, stock."""
        return catalog_pb2_grpc.CatalogServiceStub(self.channel("catalog"))

    @property
    def scheduler(self) -> scheduler_pb2_grpc.SchedulerServiceStub:
        """Standing orders, cycles, orders."""
        return scheduler_pb2_grpc.SchedulerServiceStub(self.channel("scheduler"))

    @property
    def payments(self) -> payments_pb2_grpc.PaymentsServiceStub:
        """Payment methods, mandates, charges, refunds, ledger."""
        return payments_pb2_grpc.PaymentsServiceStub(self.channel("payments"))

    @property
    def notify(self) -> notify_pb2_grpc.NotifyServiceStub:
        """Contacts, bound phones, notices."""
        return notify_pb2_grpc.NotifyServiceStub(self.channel("notify"))

    def channel(self, service: str) -> grpc.aio.Channel:
        """The channel to a service, opened when it is first asked for."""
        if service not in self._channels:
            target = self._targets[service]
            interceptors = [_Unary(self._token), _Stream(self._token)]
            channel = (
                grpc.aio.secure_channel(
                    target, self._credentials, options=CHANNEL_OPTIONS, interceptors=interceptors
                )
                if self._credentials
                else grpc.aio.insecure_channel(
                    target, options=CHANNEL_OPTIONS, interceptors=interceptors
                )
            )
            self._channels[service] = channel
            self._closing.push_async_callback(channel.close)
        return self._channels[service]


class _Unary(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc, unused-ignore]
    """Gives a mutation its request id before it is first sent, and every call the token."""

    def __init__(self, token: Token) -> None:
        self._token = token

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,  # noqa: ANN401 - any message
    ) -> Any:  # noqa: ANN401
        """Call, and once more with a new token if the token was refused."""
        if getattr(request, "request_id", None) == "":
            request.request_id = str(uuid.uuid4())
        call = await continuation(await _with(self._token, client_call_details), request)
        if await call.code() is grpc.StatusCode.UNAUTHENTICATED and await self._token.renew():
            call = await continuation(await _with(self._token, client_call_details), request)
        return call


class _Stream(grpc.aio.StreamUnaryClientInterceptor):  # type: ignore[misc, unused-ignore]
    """Gives a call that sends a stream the token; it is never repeated."""

    def __init__(self, token: Token) -> None:
        self._token = token

    async def intercept_stream_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Call."""
        return await continuation(await _with(self._token, client_call_details), request_iterator)


async def _with(token: Token, details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    metadata["authorization"] = f"Bearer {await token.current()}"
    return grpc.aio.ClientCallDetails(
        method=details.method,
        timeout=details.timeout,
        metadata=metadata,
        credentials=details.credentials,
        wait_for_ready=details.wait_for_ready,
    )
