"""The whole suite as its users see it: typed clients of the four services, and the sandbox."""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from itertools import count
from typing import Any

import grpc
import nats
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2
from grpc_status import rpc_status
from nats.aio.subscription import Subscription
from recurring.catalog.v1 import catalog_pb2_grpc
from recurring.cloudevents.v1.cloudevents_pb2 import CloudEvent, CloudEventBatch
from recurring.notify.v1 import notify_pb2_grpc
from recurring.payments.v1 import payments_pb2_grpc
from recurring.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc

from cli.sandbox import Sandbox
from deploy.embedded.addresses import SERVICES
from deploy.embedded.keys import Keys
from deploy.embedded.stack import EmbeddedStack
from deploy.embedded.wiring import nats_url
from services.runtime.auth.tls import Identity
from services.runtime.messaging.batches import BATCH_CONTENT_TYPE
from services.runtime.messaging.broker import DOMAIN
from tests.answers import Recorder
from tests.nats_clients import flush

CALL_TIMEOUT_SECONDS = 20.0
EVENT_TIMEOUT_SECONDS = 20.0
CUSTOMER_TOKEN_VALIDITY = timedelta(hours=1)
FETCH_EVENTS = 100

_numbers = count(1)


def new_id() -> str:
    """A request id that nobody has used."""
    return str(uuid.uuid4())


@dataclass(frozen=True)
class Refusal:
    """What a caller learns from an error."""

    code: str
    reason: str
    domain: str
    message: str
    # Field -> the reason of its violation.
    fields: dict[str, str]
    # When a retry may succeed; 0 if time makes no difference.
    retry_seconds: float


def read_refusal(error: grpc.aio.AioRpcError) -> Refusal:
    """An error as its details say it; raises AssertionError if it has none."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type] # it has the same two methods
    assert status is not None, error
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        for known in (info, bad_request, retry):
            detail.Unpack(known)
    fields = {violation.field: violation.reason for violation in bad_request.field_violations}
    code = code_pb2.Code.Name(status.code)
    seconds = retry.retry_delay.ToTimedelta().total_seconds()
    return Refusal(code, info.reason, info.domain, status.message, fields, seconds)


async def refused(call: Awaitable[Any]) -> Refusal:
    """Why a call was refused; raises AssertionError if it was not."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return read_refusal(error)
    raise AssertionError(f"was answered: {answer}")


def _reasons(error: grpc.aio.AioRpcError) -> set[str]:
    """The reasons of an error as a whole and of its fields; none if the transport made it."""
    if rpc_status.from_call(error) is None:  # type: ignore[arg-type]
        return set()
    refusal = read_refusal(error)
    return {refusal.reason, *refusal.fields.values()}


recorder = Recorder(_reasons)


class _Bearer(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc, unused-ignore]
    def __init__(self, token: str) -> None:
        self._header = ("authorization", f"Bearer {token}")

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,  # noqa: ANN401 - any message
    ) -> Any:  # noqa: ANN401
        details = grpc.aio.ClientCallDetails(
            client_call_details.method,
            client_call_details.timeout or CALL_TIMEOUT_SECONDS,
            grpc.aio.Metadata(*(client_call_details.metadata or ()), self._header),
            client_call_details.credentials,
            client_call_details.wait_for_ready,
        )
        return await continuation(details, request)


class Client:
    """A program with one token, and the stubs of the four services."""

    def __init__(
        self,
        targets: dict[str, str],
        merchant: str,
        token: str,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self.merchant = merchant
        self.token = token
        self._targets = targets
        self._credentials = credentials
        self._channels: list[grpc.aio.Channel] = []

    @property
    def name(self) -> str:
        """The resource name of the merchant."""
        return f"merchants/{self.merchant}"

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The token, for calls that send a stream; others get it by themselves."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    @cached_property
    def catalog(self) -> catalog_pb2_grpc.CatalogServiceStub:
        return catalog_pb2_grpc.CatalogServiceStub(self.channel("catalog"))

    @cached_property
    def scheduler(self) -> scheduler_pb2_grpc.SchedulerServiceStub:
        return scheduler_pb2_grpc.SchedulerServiceStub(self.channel("scheduler"))

    @cached_property
    def payments(self) -> payments_pb2_grpc.PaymentsServiceStub:
        return payments_pb2_grpc.PaymentsServiceStub(self.channel("payments"))

    @cached_property
    def notify(self) -> notify_pb2_grpc.NotifyServiceStub:
        return notify_pb2_grpc.NotifyServiceStub(self.channel("notify"))

    def channel(self, service: str) -> grpc.aio.Channel:
        """A channel of its own to a service; closed when the test ends."""
        # The server's limits are tried, not the client's.
        options = [("grpc.max_send_message_length", -1), ("grpc.enable_http_proxy", 0)]
        interceptors = [*recorder.interceptors(), *([_Bearer(self.token)] if self.token else [])]
        target = self._targets[service]
        channel = (
            grpc.aio.secure_channel(target, self._credentials, options, interceptors=interceptors)
            if self._credentials
            else grpc.aio.insecure_channel(target, options, interceptors=interceptors)
        )
        self._channels.append(channel)
        return channel

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()


@dataclass(frozen=True)
class Deployment:
    """The addresses of a suite with a sandbox, and the keys that it trusts."""

    targets: dict[str, str]
    # The addresses by which services call each other.
    peer_targets: dict[str, str]
    sandbox_url: str
    # As the user developer, who may subscribe to everything.
    nats_url: str
    keys: Keys
    # The authorities for calls of platforms; None: no TLS.
    credentials: grpc.ChannelCredentials | None = None
    # The sandbox's address, as services have it, if they have another.
    sandbox_inside_url: str = ""

    @classmethod
    def of(cls, stack: EmbeddedStack) -> "Deployment":
        """The addresses of a stack on this machine."""
        addresses, keys = stack.addresses, Keys(stack.home / "keys")
        return cls(
            {service: addresses.target(service) for service in SERVICES},
            {service: addresses.peer_target(service) for service in SERVICES},
            addresses.sandbox_url,
            nats_url("developer", addresses, keys),
            keys,
        )


class Suite:
    """The running suite, for one test; with its stack, if that was started for the tests."""

    def __init__(self, deployment: Deployment, stack: EmbeddedStack | None = None) -> None:
        self.deployment = deployment
        self.sandbox = Sandbox(deployment.sandbox_url)
        self._stack = stack
        self._clients: list[Client] = []
        self._platforms: list[Client] = []

    @classmethod
    def on(cls, stack: EmbeddedStack) -> "Suite":
        """The suite on a stack of the tests' own."""
        return cls(Deployment.of(stack), stack)

    @property
    def stack(self) -> EmbeddedStack:
        """What is beneath the contracts, for tests that look there or take it away."""
        assert self._stack is not None, "mark the test as one of the embedded stack"
        return self._stack

    def client(self, merchant: str = "", scope: str = "platform") -> Client:
        """A program of a merchant (a new one, if none is named) with a scope."""
        merchant = merchant or f"m{next(_numbers)}-{uuid.uuid4().hex[:8]}"
        client = self.with_token(self.token(merchant, scope), merchant)
        if scope == "platform":
            self._platforms.append(client)
        return client

    def customer_client(self, merchant: str, customer: str, scope: str = "customer") -> Client:
        """A page of one customer of a merchant."""
        token = self.deployment.keys.token(
            "page", merchant, scope, CUSTOMER_TOKEN_VALIDITY, customer=customer
        )
        return self.with_token(token, merchant)

    def suite_client(self, service: str = "scheduler") -> Client:
        """One of the suite's own services, which may ask about every merchant."""
        identity = Identity(self.deployment.keys.certificate_folder(service), production=False)
        client = Client(self.deployment.peer_targets, "*", "", identity.channel_credentials())
        self._clients.append(client)
        return client

    def with_token(self, token: str, merchant: str = "acme") -> Client:
        """A program with any token; with none if it is empty."""
        client = Client(self.deployment.targets, merchant, token, self.deployment.credentials)
        self._clients.append(client)
        return client

    def token(self, merchant: str, scope: str) -> str:
        """A token that the stack's key has signed."""
        subject = f"test-{merchant}-{scope}".replace("*", "any").replace(" ", "-")
        return self.deployment.keys.token_file(subject, merchant=merchant, scope=scope).read_text()

    async def advance(self, by: timedelta) -> None:
        """Move the simulated clock, for every test: others must not rely on it standing still."""
        target = await self.sandbox.now() + by
        async for _ in self.sandbox.advance(target):
            pass

    @asynccontextmanager
    async def subscribe_events(self) -> AsyncIterator["EventSubscription"]:
        """Subscribe to the events that are published from now on."""
        client = await nats.connect(self.deployment.nats_url)
        try:
            subscription = await client.subscribe("recurring.>")
            await flush(client)
            yield EventSubscription(subscription)
        finally:
            await client.close()

    async def events(self, streams: Iterable[str]) -> AsyncIterator["Stored"]:
        """All that these streams hold by now, read as a developer reads them: by their sequence."""
        client = await nats.connect(self.deployment.nats_url)
        jetstream = client.jetstream(domain=DOMAIN)
        try:
            for stream in streams:
                state = (await jetstream.stream_info(stream)).state
                sequences = range(state.first_seq, state.last_seq + 1)
                for first in range(0, len(sequences), FETCH_EVENTS):
                    some = sequences[first : first + FETCH_EVENTS]
                    for message in await asyncio.gather(
                        *(jetstream.get_msg(stream, sequence) for sequence in some)
                    ):
                        yield Stored(
                            message.subject or "", dict(message.headers or {}), message.data or b""
                        )
        finally:
            await client.close()

    async def cancel_standing_orders(self) -> None:
        """Cancel what the test's merchants have active, a page of each: no later test bills it."""
        active = scheduler_pb2.StandingOrder.ACTIVE
        for client in {client.merchant: client for client in self._platforms}.values():
            listed = await client.scheduler.ListStandingOrders(
                scheduler_pb2.ListStandingOrdersRequest(parent=client.name, state=active)
            )
            for standing_order in listed.standing_orders:
                cancel = scheduler_pb2.CancelStandingOrderRequest(
                    name=standing_order.name, request_id=new_id()
                )
                await client.scheduler.CancelStandingOrder(cancel)

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        await self.sandbox.close()


@dataclass(frozen=True)
class Stored:
    """A message as a stream keeps it."""

    subject: str
    headers: dict[str, str]
    data: bytes


@dataclass(frozen=True)
class ReceivedEvent:
    """An event as a subscriber gets it, and its message."""

    event: CloudEvent
    message: Any


class EventSubscription:
    """Receives events as any subscriber of NATS does."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        # Of the batches that have arrived.
        self._received: deque[CloudEvent] = deque()

    async def next(self, message_type: type[Message], merchant: str) -> ReceivedEvent:
        """The next event of a type about a merchant."""
        while True:
            while not self._received:
                message = await self._subscription.next_msg(EVENT_TIMEOUT_SECONDS)
                assert (message.headers or {})["content-type"] == BATCH_CONTENT_TYPE
                events = CloudEventBatch.FromString(message.data).events
                assert {event.type for event in events} == {message.subject}
                self._received += events
            event = self._received.popleft()
            is_about = event.attributes["tenant"].ce_string == merchant
            if is_about and event.type == full_name(message_type):
                return ReceivedEvent(event, message_type.FromString(event.proto_data.value))


def full_name(message_type: type[Message]) -> str:
    """The subject and type of an event."""
    name: str = message_type.DESCRIPTOR.full_name
    return name
